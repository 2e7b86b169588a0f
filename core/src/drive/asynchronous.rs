//! The loop over async streams: the same demands, awaited.

use super::idle::AsyncIdle;
use super::session::{Demand, Session};
use crate::http::{AsyncLink, cause_of};
use crate::machine::Clock;
use crate::ports::Executor;

/// Drives `session` until it has stopped: after a drain or an abort, which [`AsyncIdle::control`] brings.
///
/// The future may be dropped at any time, which is an abort without a word: leases lapse, what was not reported is
/// not reported.
pub async fn run_async<const N: usize, const R: usize>(
    session: &mut Session<'_, N, R>,
    link: &mut (impl AsyncLink + ?Sized),
    idle: &mut (impl AsyncIdle + ?Sized),
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
                let connected = link.reconnect().await;
                session.connected(connected);
            }
            Demand::Write(bytes) => {
                let wrote = link.write(bytes).await.map_err(|error| cause_of(&error));
                session.wrote(wrote);
            }
            Demand::Flush => {
                let flushed = link.flush().await.map_err(|error| cause_of(&error));
                session.flushed(flushed);
            }
            Demand::Read(room) => {
                let read = link.read(room).await.map_err(|error| cause_of(&error));
                session.received(read);
            }
            Demand::Wait { until } => idle.wait(until).await,
            Demand::Stopped => return,
        }
    }
}
