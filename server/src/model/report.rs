//! Reports and lease extensions (R-UPDATE-1 to R-UPDATE-9, R-LEASE-1).

use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, TaskKey};

use super::alarm::Alarm;
use super::{Effect, Report};
use super::{End, Handed, Refusal, Server, State, Ticket, ends};

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

/// What servers of three generations make of `extendLease` (R-LEASE-4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Generation {
    /// Before 2022-08: the member is unknown, so that IN_PROGRESS with it is a give-back like any other.
    BeforeExtendLease,
    /// An update without a status is a 500, also one that extends a lease.
    DemandsStatus,
    /// `extendLease` moves the time, and whatever else the update says is ignored.
    #[default]
    Now,
}

/// What an update with `extendLease` says besides.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Beat {
    /// Its `status`, which should be IN_PROGRESS ([`Report::Yield`]).
    pub status: Option<Report>,
    /// Its `callbackAfterSeconds`.
    pub callback_after: Duration,
}

/// What a server makes of an update with `extendLease`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// An extension: [`Server::extend`].
    Extension,
    /// A report like any other: [`Server::update`].
    Report(Report),
    /// 500: it has no status.
    Failure,
}

impl Generation {
    /// Returns what this generation makes of an update with `extendLease` (R-LEASE-4).
    #[must_use]
    pub const fn takes(self, beat: Beat) -> Taken {
        match (self, beat.status) {
            (Self::BeforeExtendLease, Some(report)) => Taken::Report(report),
            (Self::BeforeExtendLease | Self::DemandsStatus, None) => Taken::Failure,
            (Self::DemandsStatus, Some(_)) | (Self::Now, _) => Taken::Extension,
        }
    }
}

impl Server {
    /// Takes an update with `extendLease`, as a server of that generation does; what it made of it.
    ///
    /// # Errors
    /// The token is not good, or the task is unknown.
    pub fn beat(
        &mut self,
        now: Instant,
        ticket: Ticket,
        token: Option<u64>,
        key: TaskKey,
        beat: Beat,
    ) -> Result<Taken, Refusal> {
        self.authorise(now, ticket.worker, token)?;
        let taken = self.generation.takes(beat);
        match taken {
            Taken::Extension => self.extend(now, ticket.worker, token, key)?,
            Taken::Report(report) => {
                let update = Update { key, report, callback_after: beat.callback_after, take_next: false };
                self.update(now, ticket, token, Some(ticket.call), update)?;
            }
            Taken::Failure => {
                self.tasks.get(&key).ok_or(Refusal::NoSuchTask)?;
            }
        }
        Ok(taken)
    }

    /// Takes a report, and with `take_next` polls the task's queue too. `call`: `None` for the store's sender.
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
    /// A real server may undo a report that it handles meanwhile (R-LEASE-5); this one handles one request at a time.
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
            *until = now.saturating_add(timeout);
            self.alarms.insert((*until, Alarm::Lease(key)));
            true
        } else {
            false
        };
        self.effects.push(Effect::Extended { key, worker, known });
        Ok(())
    }

    /// Returns the length of a task's lease.
    #[must_use]
    pub fn lease_of(&self, key: TaskKey) -> Option<Duration> {
        let task = self.tasks.get(&key)?;
        self.definitions.get(task.definition).map(|definition| definition.response_timeout)
    }
}
