//! The loop over blocking streams.

use super::idle::Idle;
use super::session::{Demand, Session};
use crate::http::{Link, cause_of};
use crate::machine::Clock;
use crate::ports::Executor;

/// Drives `session` until it has stopped: after a drain or an abort, which [`Idle::control`] brings.
pub fn run<const N: usize, const R: usize>(
    session: &mut Session<'_, N, R>,
    link: &mut (impl Link + ?Sized),
    idle: &mut (impl Idle + ?Sized),
    clock: &(impl Clock + ?Sized),
    executor: &mut (impl Executor + ?Sized),
) {
    loop {
        if let Some(control) = idle.control() {
            session.control(control);
        }
        link.set_deadline(session.deadline());
        match session.next(clock.now(), executor) {
            Demand::Turn => {}
            Demand::Check => {
                let stale = link.is_stale();
                session.checked(stale);
            }
            Demand::Connect => {
                let connected = link.reconnect();
                session.connected(connected);
            }
            Demand::Write(bytes) => {
                let wrote = link.write(bytes).map_err(|error| cause_of(&error));
                session.wrote(wrote);
            }
            Demand::Flush => {
                let flushed = link.flush().map_err(|error| cause_of(&error));
                session.flushed(flushed);
            }
            Demand::Read(room) => {
                let read = link.read(room).map_err(|error| cause_of(&error));
                session.received(read);
            }
            Demand::Wait { until } => idle.wait(until),
            Demand::Stopped => return,
        }
    }
}
