//! The model: what the record says of each worker. Kept only from inputs and actions, by the rules of
//! docs/invariants.md; nothing here looks into a machine.

#![expect(clippy::wildcard_enum_match_arm, reason = "no other input brings a task")]

use std::time::Duration;

use downbeat_core::machine::{CallId, EntryId, Input, Instant, Instead, Outcome, Policy, Rules, TaskKey};

use super::gates::{LinkGate, PollGate, PollKind, Range, TokenGate};

/// A give-back that would arrive later than so long before its end is not sent.
pub(super) const GIVE_BACK_MARGIN: Duration = Duration::from_secs(1);

/// One worker's model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its policy.
    pub policy: Policy,
    /// Entries in its table.
    pub capacity: u16,
    /// Its number, if it is behind a hub.
    pub held_as: Option<u32>,
    /// What its token and its link go by, if that is its hub's policy.
    pub(super) shared: Option<Box<Policy>>,
    /// Its clock and its lifecycle before the latest input.
    pub(super) before: Instant,
    pub(super) lifecycle_before: Lifecycle,
    /// Whether its process runs.
    pub alive: bool,
    /// How far it is towards its end.
    pub lifecycle: Lifecycle,
    /// The latest time that its clock has shown at a step.
    pub latest: Instant,
    /// Calls in flight.
    pub calls: Vec<Call>,
    /// Its entries.
    pub entries: Vec<Option<HeldTask>>,
    /// Entries taken.
    pub held: u16,
    /// Tasks whose code runs.
    pub running: u16,
    /// The gate before polls.
    pub gate: PollGate,
    /// The gate before all calls.
    pub link: LinkGate,
    /// The token.
    pub token: TokenGate,
    /// A give-back that is on its way, or to be repeated.
    pub give_back: Option<GiveBack>,
    /// The call that this step's input ended.
    pub ended: Option<Call>,
    /// What this step's input took from its entry.
    pub freed: Option<HeldTask>,
    /// This step's input is about nothing that is open.
    pub stale: bool,
    /// The task that this step tells of is here already.
    pub known: bool,
    /// When a call last failed or took long, in true time.
    pub trouble_at: Option<Instant>,
    /// The latest report took so long that no task should travel in the answer to the next.
    pub slow: bool,
    /// When a report was accepted last, or `ZERO` for never.
    pub accepted: Instant,
    /// When `update-v2` may be used: the server did not know it when it was last asked.
    pub take_next_from: Instant,
}

/// How far a worker is towards its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifecycle {
    /// Polls, runs, reports.
    Open,
    /// As open, without polls.
    Paused,
    /// Finishes what it holds.
    Draining {
        /// When the rest is recalled.
        recall_at: Option<Instant>,
    },
    /// What runs was asked to end.
    Recalling {
        /// When it gives up.
        abort_at: Instant,
    },
    /// Gives up what it holds.
    Aborted,
    /// Ended.
    Stopped,
}

impl Lifecycle {
    /// Returns whether it is draining or beyond.
    #[must_use]
    pub const fn is_ending(self) -> bool {
        !matches!(self, Self::Open | Self::Paused)
    }
}

/// A call in flight.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Which.
    pub id: CallId,
    /// What for.
    pub kind: CallKind,
    /// When it was sent, by the worker's clock.
    pub sent: Instant,
    /// When it was sent, in true time.
    pub sent_at: Instant,
    /// The token that it carries.
    pub token: u32,
    /// Tasks that it brought and that were not here already.
    pub got: u16,
    /// One of them was run.
    pub ran: bool,
}

impl Call {
    /// Returns whether its answer may bring tasks.
    #[must_use]
    pub const fn brings(&self) -> bool {
        matches!(self.kind, CallKind::Poll { .. } | CallKind::Update { take_next: true, .. })
    }
}

/// What a call is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallKind {
    /// A poll.
    Poll {
        /// How many tasks it asks for.
        count: u16,
        /// How it asks.
        kind: PollKind,
        /// How long the server may hold it.
        wait: Duration,
    },
    /// A report.
    Update {
        /// The entry that it is about.
        entry: EntryId,
        /// It is a poll too.
        take_next: bool,
        /// It says that the task failed, in its outcome's place.
        instead: Option<Instead>,
    },
    /// A lease extension.
    Extend {
        /// The entry that it is about.
        entry: EntryId,
    },
    /// A question about the task.
    Ask {
        /// The entry that it is about.
        entry: EntryId,
    },
    /// A token refresh.
    Refresh,
    /// A give-back.
    GiveBack,
    /// A write to the store.
    Spill {
        /// The entry that it is about.
        entry: EntryId,
    },
}

/// A give-back with a lane.
#[derive(Clone, Copy, Debug)]
pub struct GiveBack {
    pub(super) call: Option<CallId>,
    /// The call that brought the task, whose lane it shares.
    pub(super) with: CallId,
    pub(super) own_lane: bool,
    /// How often it failed without effect.
    pub(super) attempt: u32,
    /// When the task's lease ends.
    pub(super) expires: Instant,
    /// Jitter decides whether it is repeated before that, or forgotten.
    pub(super) unsure: bool,
}

/// A task in an entry.
#[derive(Clone, Copy, Debug)]
pub struct HeldTask {
    /// The entry, with its generation.
    pub entry: EntryId,
    /// Which task.
    pub key: TaskKey,
    /// What it ended with, or `None` if its code runs.
    pub outcome: Option<Outcome>,
    /// When it was run, in true time.
    pub run_at: Instant,
    /// When its code ended, in true time.
    pub ended_at: Instant,
    /// Its code was asked to end.
    pub recalled: bool,
    /// Failed reports so far, 401s apart.
    pub attempt: u16,
    /// When the next report is due.
    pub report: Range,
    /// A report or a write to the store is in flight.
    pub reporting: bool,
    /// When the first report whose effect nobody knows was sent.
    pub unsure_since: Option<Instant>,
    /// The server will never take it, nor the report that the task failed.
    pub rejected: bool,
    /// The server has ended it, or its worker stopped it when its lease was over: its outcome is nobody's.
    pub ended: bool,
    /// What the next report has to say in the outcome's place, and what the latest one said.
    pub instead: Option<Instead>,
    /// How many of the failed reports were a well server's refusals of this very outcome: at the least, at the most.
    pub refused: (u16, u16),
    /// The report that the task failed is due, as far as that is certain, because of the latest refusal.
    pub poisoned: bool,
    /// The outcome was a yield, whatever is reported in its place.
    pub yielded: bool,
    /// When its result goes to the store, whatever else is due, as far as that is certain, or `FAR_FUTURE`
    /// for never.
    pub store_by: Instant,
    /// Until when it may be given back, or yield.
    pub give_back_until: Instant,
    /// The store did not take it.
    pub store_failed: bool,
    /// A refusal of it has put its time for the store off, or may have.
    pub(super) store_waits: bool,
    /// The server delivered it again: its yield was accepted.
    pub settled: bool,
    /// Length of its lease, or zero if there is none to keep.
    pub lease: Duration,
    /// When the lease has to be extended.
    pub extend: Range,
    /// When the lease is over.
    pub lapses: Instant,
    /// When the server is to be asked about the task; never before.
    pub ask: Option<Range>,
    /// Reports that were answered with 401.
    pub(super) unauthorized: u32,
    /// The latest extension was.
    pub(super) extension_unauthorized: bool,
}

impl GiveBack {
    /// Returns whether it is too late to give its task back.
    #[must_use]
    pub fn is_late(&self, now: Instant) -> bool {
        self.expires <= now
    }
}

impl HeldTask {
    /// A task of which no more is known.
    pub(super) fn from_state(entry: EntryId, key: TaskKey) -> Self {
        Self {
            entry,
            key,
            outcome: None,
            run_at: Instant::ZERO,
            ended_at: Instant::ZERO,
            recalled: false,
            attempt: 0,
            report: Range::OPEN,
            reporting: false,
            unsure_since: None,
            rejected: false,
            ended: false,
            instead: None,
            refused: (0, 0),
            poisoned: false,
            yielded: false,
            store_by: Instant::FAR_FUTURE,
            give_back_until: Instant::FAR_FUTURE,
            store_failed: true,
            store_waits: false,
            settled: false,
            lease: Duration::ZERO,
            extend: Range::OPEN,
            lapses: Instant::FAR_FUTURE,
            ask: None,
            unauthorized: 0,
            extension_unauthorized: false,
        }
    }

    /// Returns whether its outcome is final.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.outcome == Some(Outcome::Final)
    }

    /// Returns whether it is too late to give it back, or for it to yield.
    #[must_use]
    pub fn is_late(&self, now: Instant) -> bool {
        self.give_back_until <= now.saturating_add(GIVE_BACK_MARGIN)
    }
}

impl Model {
    pub(super) fn new(policy: Policy, capacity: u16) -> Self {
        Self {
            held_as: None,
            shared: None,
            before: Instant::ZERO,
            lifecycle_before: Lifecycle::Open,
            alive: true,
            lifecycle: Lifecycle::Open,
            latest: Instant::ZERO,
            calls: Vec::new(),
            entries: vec![None; usize::from(capacity)],
            held: 0,
            running: 0,
            gate: PollGate::OPEN,
            link: LinkGate::OPEN,
            token: TokenGate::new(policy.authenticated),
            give_back: None,
            ended: None,
            freed: None,
            stale: false,
            known: false,
            trouble_at: None,
            slow: false,
            accepted: Instant::ZERO,
            take_next_from: Instant::ZERO,
            policy,
            capacity,
        }
    }

    /// An empty model for the same worker.
    pub(super) fn anew(&self) -> Self {
        Self { held_as: self.held_as, shared: self.shared.clone(), ..Self::new(self.policy, self.capacity) }
    }

    /// What its token and its link go by.
    pub(super) fn shared(&self) -> Policy {
        self.shared.as_deref().copied().unwrap_or(self.policy)
    }

    /// A number that tells a call from all others of the process.
    pub(super) fn tag(&self, call: CallId) -> u64 {
        match self.held_as {
            Some(number) => (u64::from(number) + 1) << 32 | u64::from(call.serial()),
            None => call.to_bits(),
        }
    }

    /// Returns whether it is behind a hub: then what is waited for is the hub's affair.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_as.is_some()
    }

    /// Returns whether it follows the Ruby SDK's rules.
    #[must_use]
    pub fn is_ruby(&self) -> bool {
        self.policy.rules == Rules::RubySdk
    }

    /// Returns the task in an entry, of that generation.
    #[must_use]
    pub fn held(&self, entry: EntryId) -> Option<&HeldTask> {
        self.at(entry).filter(|held| held.entry == entry)
    }

    /// Returns the task in an entry, whatever its generation.
    #[must_use]
    pub fn at(&self, entry: EntryId) -> Option<&HeldTask> {
        self.entries.get(usize::from(entry.index()))?.as_ref()
    }

    /// Returns all tasks held.
    pub fn all(&self) -> impl Iterator<Item = &HeldTask> {
        self.entries.iter().take(if self.held == 0 { 0 } else { self.entries.len() }).flatten()
    }

    /// Returns whether this call is open and its answer may bring tasks.
    #[must_use]
    pub fn brings(&self, call: CallId) -> bool {
        self.calls.iter().any(|open| open.id == call && open.brings())
    }

    /// Returns the poll in flight.
    #[must_use]
    pub fn poll(&self) -> Option<&Call> {
        self.calls.iter().find(|call| matches!(call.kind, CallKind::Poll { .. }))
    }

    /// Returns whether a lease extension is in flight for an entry.
    #[must_use]
    pub fn extends(&self, index: u16) -> bool {
        self.calls
            .iter()
            .any(|call| matches!(call.kind, CallKind::Extend { entry } if entry.index() == index))
    }

    /// Returns whether the lease extension of this very task is in flight.
    #[must_use]
    pub fn extends_own(&self, entry: EntryId) -> bool {
        self.calls.iter().any(|call| call.kind == CallKind::Extend { entry })
    }

    /// Returns until when the report, or the extension, of this task that is in flight is the only call that writes to it (S29).
    #[must_use]
    pub fn alone_until(&self, held: &HeldTask) -> Option<Instant> {
        let writes = |call: &&Call| match call.kind {
            CallKind::Update { entry, .. } | CallKind::Extend { entry } => entry == held.entry,
            _ => false,
        };
        let tenth = held.lease / 10;
        let last = held.lapses.saturating_sub(tenth);
        self.calls.iter().filter(writes).map(|call| call.sent.saturating_add(tenth).max(last)).max()
    }

    /// The latest time for what is due at one, if it writes to this task.
    fn behind_the_other(&self, held: &HeldTask, due: Instant) -> Instant {
        self.alone_until(held).map_or(due, |until| due.max(until))
    }

    /// Returns whether a question is in flight for an entry.
    #[must_use]
    pub fn asks(&self, index: u16) -> bool {
        self.calls.iter().any(|call| matches!(call.kind, CallKind::Ask { entry } if entry.index() == index))
    }

    /// Returns whether the task that this step tells of came too late to be given back.
    #[must_use]
    pub fn is_late_delivery(&self, input: &Input) -> bool {
        let (call, task) = match input {
            Input::Leased { call, task } => (call, task),
            // There may be no room for what an earlier life had in hand.
            Input::Recovered { .. } => return true,
            _ => return false,
        };
        let sent = self.calls.iter().find(|open| open.id == *call).map(|open| open.sent);
        let until = sent.zip(task.give_back_within).map(|(sent, within)| sent.saturating_add(within));
        until.is_some_and(|until| until <= self.latest.saturating_add(GIVE_BACK_MARGIN))
    }

    /// Returns the running task that the one that this step tells of is the server's retry of.
    #[must_use]
    pub fn retried(&self, input: &Input) -> Option<&HeldTask> {
        let Input::Leased { call, task } = input else { return None };
        let of = task.retry_of.filter(|_| self.brings(*call))?;
        self.all().find(|held| held.key == of && held.outcome.is_none())
    }

    /// Calls to the server in flight, those apart that share another's lane.
    #[must_use]
    pub fn lanes_taken(&self) -> usize {
        let takes = |call: &&Call| match call.kind {
            CallKind::Spill { .. } => false,
            CallKind::GiveBack => self.give_back.is_some_and(|it| it.call == Some(call.id) && it.own_lane),
            CallKind::Poll { .. }
            | CallKind::Update { .. }
            | CallKind::Extend { .. }
            | CallKind::Ask { .. }
            | CallKind::Refresh => true,
        };
        self.calls.iter().filter(takes).count()
    }

    /// Tasks that may still be asked for.
    #[must_use]
    pub fn room(&self) -> u16 {
        let promised: u16 = self
            .calls
            .iter()
            .map(|call| match call.kind {
                CallKind::Poll { count, .. } => count.saturating_sub(call.got),
                CallKind::Update { take_next: true, .. } => 1_u16.saturating_sub(call.got),
                CallKind::Update { .. }
                | CallKind::Extend { .. }
                | CallKind::Ask { .. }
                | CallKind::Refresh
                | CallKind::GiveBack
                | CallKind::Spill { .. } => 0,
            })
            .sum();
        let free = self.capacity.saturating_sub(self.held);
        self.policy.concurrency.saturating_sub(self.running).min(free).saturating_sub(promised)
    }

    /// Returns whether a call could be sent at once: a lane is free, the server can be reached, the token is
    /// good. For a worker behind a hub [`super::hubs::HubModel::lets_call`] says that.
    #[must_use]
    pub fn is_unhindered(&self) -> bool {
        !self.is_held() && self.has_lane() && self.link.failures == 0 && self.token.surely_allows(self.latest)
    }

    /// Returns whether one of its own lanes is free, and it has not given up.
    #[must_use]
    pub fn has_lane(&self) -> bool {
        self.lanes_taken() < usize::from(self.policy.max_calls)
            && !matches!(self.lifecycle, Lifecycle::Aborted | Lifecycle::Stopped)
    }

    /// Returns whether it may owe the server a call by now: a lease, a report, a task to be given back.
    #[must_use]
    pub fn may_owe(&self, now: Instant) -> bool {
        let due = |held: &HeldTask| {
            let extends = !held.lease.is_zero() && !held.settled && !held.rejected;
            let report = held.outcome.is_some() && !held.reporting && held.report.lo <= now;
            report || (extends && held.extend.lo <= now && !self.extends(held.entry.index()))
        };
        self.give_back.is_some_and(|give_back| give_back.call.is_none()) || self.all().any(due)
    }

    /// Returns whether nothing keeps it from its end. Behind a hub that is the end, because only the hub says
    /// `Stopped`, for all.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let done = self.held == 0;
        match self.lifecycle {
            Lifecycle::Open | Lifecycle::Paused => false,
            Lifecycle::Draining { .. } | Lifecycle::Recalling { .. } => {
                done && self.poll().is_none() && self.give_back.is_none()
            }
            Lifecycle::Aborted | Lifecycle::Stopped => done,
        }
    }

    /// Returns whether it would poll now or later, if nothing were in its way but the poll gate.
    #[must_use]
    pub fn wants_poll(&self) -> bool {
        self.lifecycle == Lifecycle::Open && self.poll().is_none() && self.room() > 0 && !self.gate.vague
    }

    /// Returns the task whose lease has to be extended first, with the latest time for it.
    #[must_use]
    pub fn next_extension(&self) -> Option<(&HeldTask, Instant)> {
        self.all()
            .filter(|held| !held.lease.is_zero() && !held.settled && !held.rejected)
            .filter(|held| !self.extends(held.entry.index()))
            .map(|held| (held, self.behind_the_other(held, held.extend.hi)))
            .min_by_key(|(_, at)| *at)
    }

    /// Returns the task that the server has to be asked about first, with the latest time for it.
    #[must_use]
    pub fn next_question(&self) -> Option<(&HeldTask, Instant)> {
        self.all()
            .filter(|held| held.outcome.is_none() && !held.ended && !self.asks(held.entry.index()))
            .filter_map(|held| Some((held, held.ask?.hi)))
            .min_by_key(|(_, at)| *at)
    }

    /// Returns the task whose outcome has to be reported first, with the latest time for it.
    #[must_use]
    pub fn next_report(&self) -> Option<(&HeldTask, Instant)> {
        self.all()
            .filter(|held| held.outcome.is_some() && !held.reporting)
            .map(|held| (held, self.behind_the_other(held, held.report.hi)))
            .min_by_key(|(_, at)| *at)
    }
}
