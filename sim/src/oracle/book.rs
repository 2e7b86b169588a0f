//! The book: what the record says of each worker. Kept from inputs and actions alone, by the rules of
//! docs/invariants.md; nothing here looks into a machine.

use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, Outcome, Policy, Rules, SlotId, TaskKey};

use super::gates::{LinkGate, PollGate, PollKind, Range, TokenGate};

/// One worker's page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its policy.
    pub policy: Policy,
    /// Places in its table.
    pub capacity: u16,
    /// Its number, where it is behind a hub.
    pub held_as: Option<u32>,
    /// What its token and its link go by, where that is its hub's policy.
    pub(super) shared: Option<Box<Policy>>,
    /// Its clock and its mode before the latest input.
    pub(super) before: Instant,
    pub(super) mode_before: Mode,
    /// Whether its process runs.
    pub alive: bool,
    /// How far it is towards its end.
    pub mode: Mode,
    /// The latest time that its clock has shown at a step.
    pub latest: Instant,
    /// Calls in flight.
    pub calls: Vec<Call>,
    /// Its places.
    pub places: Vec<Option<Held>>,
    /// Places taken.
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
    pub refusal: Option<Refusal>,
    /// The call that this step's input ended.
    pub ended: Option<Call>,
    /// What this step's input took from its place.
    pub freed: Option<Held>,
    /// This step's input is about nothing that is open.
    pub stale: bool,
    /// The task that this step tells of is here already.
    pub known: bool,
    /// When a call last failed or took long, in true time.
    pub trouble_at: Option<Instant>,
}

/// How far a worker is towards its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
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

impl Mode {
    /// Draining or beyond.
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
    /// Whether its answer may bring tasks.
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
        /// Of this place.
        slot: SlotId,
        /// It is a poll too.
        take_next: bool,
    },
    /// A lease extension.
    Extend {
        /// Of this place.
        slot: SlotId,
    },
    /// A token refresh.
    Refresh,
    /// A give-back.
    Refuse,
    /// A write to the store.
    Spill {
        /// Of this place.
        slot: SlotId,
    },
}

/// A give-back with a lane.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
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

/// A task in a place.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The place, with its generation.
    pub slot: SlotId,
    /// Which task.
    pub key: TaskKey,
    /// What it ended with; `None`: its code runs.
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
    /// When the first report was sent whose effect nobody knows.
    pub unsure_since: Option<Instant>,
    /// The server will never take it.
    pub rejected: bool,
    /// The store did not take it.
    pub store_failed: bool,
    /// The server delivered it again: its yield was accepted.
    pub settled: bool,
    /// Length of its lease; zero: none to keep.
    pub lease: Duration,
    /// When the lease has to be extended.
    pub extend: Range,
    /// Reports that were answered with 401.
    pub(super) refusals: u32,
    /// The latest extension was.
    pub(super) extension_refused: bool,
}

impl Held {
    /// A task of which no more is known.
    pub(super) fn of_state(slot: SlotId, key: TaskKey) -> Self {
        Self {
            slot,
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
            store_failed: true,
            settled: false,
            lease: Duration::ZERO,
            extend: Range::OPEN,
            refusals: 0,
            extension_refused: false,
        }
    }

    /// Whether its outcome is final.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.outcome == Some(Outcome::Final)
    }
}

impl Page {
    pub(super) fn new(policy: Policy, capacity: u16) -> Self {
        Self {
            held_as: None,
            shared: None,
            before: Instant::ZERO,
            mode_before: Mode::Open,
            alive: true,
            mode: Mode::Open,
            latest: Instant::ZERO,
            calls: Vec::new(),
            places: vec![None; usize::from(capacity)],
            held: 0,
            running: 0,
            gate: PollGate::OPEN,
            link: LinkGate::OPEN,
            token: TokenGate::new(policy.authenticated),
            refusal: None,
            ended: None,
            freed: None,
            stale: false,
            known: false,
            trouble_at: None,
            policy,
            capacity,
        }
    }

    /// An empty page for the same worker.
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

    /// Whether it is behind a hub: then what is waited for is the hub's affair.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_as.is_some()
    }

    /// Whether it follows the seed's rules.
    #[must_use]
    pub fn is_seed(&self) -> bool {
        self.policy.rules == Rules::Seed
    }

    /// The task in a place, of that generation.
    #[must_use]
    pub fn held(&self, slot: SlotId) -> Option<&Held> {
        self.at(slot).filter(|held| held.slot == slot)
    }

    /// The task in a place, whatever its generation.
    #[must_use]
    pub fn at(&self, slot: SlotId) -> Option<&Held> {
        self.places.get(usize::from(slot.index()))?.as_ref()
    }

    /// All tasks held.
    pub fn all(&self) -> impl Iterator<Item = &Held> {
        self.places.iter().take(if self.held == 0 { 0 } else { self.places.len() }).flatten()
    }

    /// Whether this call is open and its answer may bring tasks.
    #[must_use]
    pub fn brings(&self, call: CallId) -> bool {
        self.calls.iter().any(|open| open.id == call && open.brings())
    }

    /// The poll in flight.
    #[must_use]
    pub fn poll(&self) -> Option<&Call> {
        self.calls.iter().find(|call| matches!(call.kind, CallKind::Poll { .. }))
    }

    /// Whether a lease extension is in flight for a place.
    #[must_use]
    pub fn extends(&self, index: u16) -> bool {
        self.calls.iter().any(|call| matches!(call.kind, CallKind::Extend { slot } if slot.index() == index))
    }

    /// Calls to the server in flight, those apart that share another's lane.
    #[must_use]
    pub fn lanes_taken(&self) -> usize {
        let takes = |call: &&Call| match call.kind {
            CallKind::Spill { .. } => false,
            CallKind::Refuse => self.refusal.is_some_and(|it| it.call == Some(call.id) && it.own_lane),
            CallKind::Poll { .. } | CallKind::Update { .. } | CallKind::Extend { .. } | CallKind::Refresh => {
                true
            }
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
                | CallKind::Refresh
                | CallKind::Refuse
                | CallKind::Spill { .. } => 0,
            })
            .sum();
        let free = self.capacity.saturating_sub(self.held);
        self.policy.concurrency.saturating_sub(self.running).min(free).saturating_sub(promised)
    }

    /// Whether a call could be sent at once: a lane is free, the server can be reached, the token is good. For a worker
    /// behind a hub [`super::hubs::HubPage::lets_call`] says that.
    #[must_use]
    pub fn is_unhindered(&self) -> bool {
        !self.is_held() && self.has_lane() && self.link.failures == 0 && self.token.surely_allows(self.latest)
    }

    /// Whether one of its own lanes is free, and it has not given up.
    #[must_use]
    pub fn has_lane(&self) -> bool {
        self.lanes_taken() < usize::from(self.policy.max_calls)
            && !matches!(self.mode, Mode::Aborted | Mode::Stopped)
    }

    /// Whether it may owe the server a call by now: a lease, a report, a task to be given back.
    #[must_use]
    pub fn may_owe(&self, now: Instant) -> bool {
        let due = |held: &Held| {
            let extends = !held.lease.is_zero() && !held.settled && !held.rejected;
            let report = held.outcome.is_some() && !held.reporting && held.report.lo <= now;
            report || (extends && held.extend.lo <= now && !self.extends(held.slot.index()))
        };
        self.refusal.is_some_and(|refusal| refusal.call.is_none()) || self.all().any(due)
    }

    /// Whether nothing keeps it from its end. Behind a hub that is the end: it says `Stopped` for all alone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let done = self.held == 0;
        match self.mode {
            Mode::Open | Mode::Paused => false,
            Mode::Draining { .. } | Mode::Recalling { .. } => {
                done && self.poll().is_none() && self.refusal.is_none()
            }
            Mode::Aborted | Mode::Stopped => done,
        }
    }

    /// Whether it would poll now or later, if nothing were in its way but the poll gate.
    #[must_use]
    pub fn wants_poll(&self) -> bool {
        self.mode == Mode::Open && self.poll().is_none() && self.room() > 0 && !self.gate.vague
    }

    /// The task whose lease has to be extended first, with the latest time for it.
    #[must_use]
    pub fn next_extension(&self) -> Option<(&Held, Instant)> {
        self.all()
            .filter(|held| !held.lease.is_zero() && !held.settled && !held.rejected)
            .filter(|held| !self.extends(held.slot.index()))
            .map(|held| (held, held.extend.hi))
            .min_by_key(|(_, at)| *at)
    }

    /// The task whose outcome has to be reported first, with the latest time for it.
    #[must_use]
    pub fn next_report(&self) -> Option<(&Held, Instant)> {
        self.all()
            .filter(|held| held.outcome.is_some() && !held.reporting)
            .map(|held| (held, held.report.hi))
            .min_by_key(|(_, at)| *at)
    }
}
