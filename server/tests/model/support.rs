//! A server with one queue, and short words for what workers say.

use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, TaskKey};
use downbeat_server::model::Report;
use downbeat_server::model::{Backend, Definition, Refusal, Server, Setup, Stage, Ticket, Update};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// One unit of time.
pub(crate) const UNIT: Duration = Duration::from_micros(1);

pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

pub(crate) fn server(backend: Backend, definition: Definition) -> Server {
    let setup = Setup { seed: 7, backend, update_v2: true, token_life: None };
    Server::new(setup, vec![definition])
}

pub(crate) fn ticket(call: u64) -> Ticket {
    Ticket { worker: 0, life: 1, call: CallId::from_bits(call) }
}

/// A poll without a wait.
pub(crate) fn take(server: &mut Server, now: Instant, count: u16) -> Vec<TaskKey> {
    let polled = server.poll(now, ticket(0), None, 0, count, Duration::ZERO);
    polled.expect("no token is wanted").expect("it does not wait").into_iter().map(|(key, _)| key).collect()
}

/// Schedules a task and takes it.
pub(crate) fn taken(server: &mut Server, now: Instant) -> TaskKey {
    server.schedule(now, 0).expect("a definition");
    server.advance(now);
    take(server, now, 1)[0]
}

pub(crate) fn report(
    server: &mut Server,
    now: Instant,
    key: TaskKey,
    report: Report,
    callback_after: Duration,
) -> Result<(), Refusal> {
    let update = Update { key, report, callback_after, take_next: false };
    server.update(now, ticket(1), None, None, update).map(drop)
}

pub(crate) fn stage(server: &Server, key: TaskKey) -> Stage {
    server.view(key).expect("the task is known").stage
}
