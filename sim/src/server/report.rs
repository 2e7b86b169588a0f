//! Reports and lease extensions (R-UPDATE-1 to R-UPDATE-9, R-LEASE-1).

use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, TaskKey};

use super::{Alarm, End, Handed, Refusal, Server, State, Ticket, ends};
use crate::event::{Effect, Report};

/// What a report says of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Update {
    /// Which task.
    pub key: TaskKey,
    /// What is said.
    pub report: Report,
    /// `callbackAfterSeconds` of a yield.
    pub callback_after: Duration,
    /// By `update-v2`.
    pub take_next: bool,
}

impl Server {
    /// Takes a report, and with `take_next` polls the task's queue too. `call`: `None` for the store's resender.
    ///
    /// A report of a task that has ended is accepted and changes nothing (R-UPDATE-2). A yield puts the task back
    /// whoever holds it now (R-UPDATE-3).
    ///
    /// # Errors
    /// The token is not good, the task is unknown, or there is no `update-v2`.
    pub fn update(
        &mut self,
        now: Instant,
        ticket: Ticket,
        token: Option<u64>,
        call: Option<CallId>,
        update: Update,
    ) -> Result<Vec<Handed>, Refusal> {
        self.authorise(now, ticket.worker, token)?;
        if update.take_next && !self.setup.update_v2 {
            return Err(Refusal::NoUpdateV2);
        }
        let task = self.tasks.get(&update.key).ok_or(Refusal::NoSuchTask)?;
        let (definition, applied) = (task.definition, !matches!(task.state, State::Ended(_)));
        let (worker, key, report) = (ticket.worker, update.key, update.report);
        self.effects.push(Effect::Reported { key, worker, call, report, applied });
        if applied {
            match ends(report) {
                Some(again) => self.end(now, key, End::Reported(report), again),
                None => self.postpone(now, key, update.callback_after),
            }
        }
        // R-UPDATE-9: it polls for a terminal report, also for a repeated one.
        let polls = update.take_next && ends(report).is_some();
        Ok(if polls { self.hand_out(now, ticket, self.queue_of(definition), 1) } else { Vec::new() })
    }

    /// Extends a lease: the time of the last sign of life is now. Silently nothing for a task that has ended.
    ///
    /// # Errors
    /// The token is not good, or the task is unknown.
    pub fn extend(
        &mut self,
        now: Instant,
        worker: u32,
        token: Option<u64>,
        key: TaskKey,
    ) -> Result<(), Refusal> {
        self.authorise(now, worker, token)?;
        let task = self.tasks.get_mut(&key).ok_or(Refusal::NoSuchTask)?;
        let timeout = self.definitions.get(task.definition).map_or(Duration::ZERO, |d| d.response_timeout);
        let known = if let State::Leased { until, .. } = &mut task.state {
            *until = now.after(timeout);
            self.alarms.insert((*until, Alarm::Lease(key)));
            true
        } else {
            false
        };
        self.effects.push(Effect::Extended { key, worker, known });
        Ok(())
    }

    /// The length of a task's lease.
    #[must_use]
    pub fn lease_of(&self, key: TaskKey) -> Option<Duration> {
        let task = self.tasks.get(&key)?;
        self.definitions.get(task.definition).map(|definition| definition.response_timeout)
    }
}
