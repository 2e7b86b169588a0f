//! A look at the machine from outside: for status pages, steppers and tests. Nothing decides on it.

use super::action::Why;
use super::entry::{InFlight, Phase, Storage};
use super::ids::{EntryId, TaskKey};
use super::input::Outcome;
use super::kind::Kind;
use super::lifecycle::Lifecycle;
use super::time::Instant;
use super::worker::Machine;

/// The state of a worker at its latest step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// The latest time seen.
    pub now: Instant,
    /// How far the worker is towards its end.
    pub lifecycle: Lifecycle,
    /// Entries in the table.
    pub capacity: u16,
    /// Tasks held: running, or done and not accepted.
    pub held: u16,
    /// Tasks whose code runs.
    pub running: u16,
    /// Tasks that may be asked for now.
    pub room: u16,
    /// Server calls in flight.
    pub calls_in_flight: u16,
    /// A poll is among them.
    pub polling: bool,
    /// A token refresh is among them.
    pub refreshing: bool,
    /// A token is wanted and not there.
    pub token_missing: bool,
    /// The generation of the present token.
    pub token_generation: u16,
    /// When the queue may be asked again, as far as earlier polls go.
    pub poll_gate: Instant,
    /// Which of them decides that.
    pub poll_gate_why: Why,
    /// Empty polls in a row.
    pub empty_polls: u32,
    /// Failed polls in a row.
    pub failed_polls: u32,
    /// Failed authorisations in a row.
    pub auth_failures: u32,
    /// Failures to reach the server in a row.
    pub link_failures: u32,
    /// Calls made since the start, modulo 2^32.
    pub calls_made: u32,
}

/// One held task, as seen from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldTask {
    /// Its entry.
    pub entry: EntryId,
    /// Which task.
    pub key: TaskKey,
    /// Where it stands.
    pub phase: Phase,
    /// What is reported; meaningful in [`Phase::Reporting`].
    pub outcome: Outcome,
    /// Failed reports so far.
    pub attempt: u16,
    /// When the next report is due, or `None` if a call is in flight or nothing is to be reported.
    pub report_due: Option<Instant>,
    /// When the lease is extended next, or `None` if a call is in flight or there is no lease to keep.
    pub lease_due: Option<Instant>,
}

impl<S: Storage, M: Kind> Machine<S, M> {
    /// Returns whether the give-back of a surplus task is in flight, or will be asked for again: until then
    /// the driver keeps what it needs for it.
    #[must_use]
    pub fn gives_back(&self, key: TaskKey) -> bool {
        self.give_back.as_ref().is_some_and(|give_back| give_back.key == key)
    }

    /// Returns the state of the worker, in numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            now: self.now,
            lifecycle: self.lifecycle.into(),
            capacity: self.table.capacity(),
            held: self.table.held(),
            running: self.table.running(),
            room: self.room(),
            calls_in_flight: self.calls,
            polling: self.poll.is_some(),
            refreshing: self.auth.refreshing(),
            token_missing: self.auth.is_missing(),
            token_generation: self.auth.generation(),
            poll_gate: self.gate.at,
            poll_gate_why: self.gate.why,
            empty_polls: self.gate.empties,
            failed_polls: self.gate.failures,
            auth_failures: self.auth.failures(),
            link_failures: self.link.failures(),
            calls_made: self.serial,
        }
    }

    /// Returns the tasks held, in the order of their entries. Looks through the table: not for the hot path.
    pub fn held_tasks(&self) -> impl Iterator<Item = HeldTask> + '_ {
        let held = self.table.entries().iter().zip(0_u16..);
        held.filter(|(entry, _)| entry.phase != Phase::Free).map(|(entry, index)| {
            let reporting = entry.phase == Phase::Reporting;
            let idle = entry.report.in_flight == InFlight::Nothing;
            HeldTask {
                entry: entry.id(index),
                key: entry.key,
                phase: entry.phase,
                outcome: entry.report.outcome(),
                attempt: entry.report.attempt,
                report_due: (reporting && idle).then_some(entry.report.at),
                lease_due: (entry.lease.length > 0 && entry.lease.call.is_idle()).then_some(entry.lease.at),
            }
        })
    }
}
