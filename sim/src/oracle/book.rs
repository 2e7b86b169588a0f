//! The book: what the record says of each worker. Kept from inputs and actions alone, by the rules of
//! docs/invariants.md; nothing here looks into a machine.

use std::time::Duration;

use downbeat_core::machine::{
    Action, CallId, Control, Fault, Input, Instant, Outcome, Policy, Reply, Rules, SlotId, TaskKey, TaskMeta,
    Why,
};

use super::gates::{LinkGate, PollGate, PollKind, Range, TokenGate, four_fifths, retry_after};

/// One worker's page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its policy.
    pub policy: Policy,
    /// Places in its table.
    pub capacity: u16,
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
    call: Option<CallId>,
    own_lane: bool,
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
}

impl Held {
    /// Whether its outcome is final.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.outcome == Some(Outcome::Final)
    }
}

impl Page {
    pub(super) fn new(policy: Policy, capacity: u16) -> Self {
        Self {
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

    /// Whether a call could be sent at once: a lane is free, the server can be reached, the token is good.
    #[must_use]
    pub fn is_unhindered(&self) -> bool {
        self.lanes_taken() < usize::from(self.policy.max_calls)
            && self.link.failures == 0
            && self.token.surely_allows(self.latest)
            && !matches!(self.mode, Mode::Aborted | Mode::Stopped)
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

    // ---------------------------------------------------------------- inputs

    /// Takes an input into account.
    pub(super) fn hear(&mut self, at: Instant, local: Instant, input: &Input) {
        self.latest = self.latest.max(local);
        self.ended = None;
        self.freed = None;
        self.stale = false;
        self.known = false;
        match input {
            Input::Tick | Input::Token(_) => {}
            Input::Leased { call, task } => {
                // A call that is not open brings nothing.
                if self.calls.iter().any(|open| open.id == *call) {
                    self.hear_of_task(task.key);
                } else {
                    self.stale = true;
                }
                return;
            }
            Input::Replied { call, reply } => self.replied(at, *call, reply),
            Input::Finished { slot, outcome } => self.finished(at, *slot, *outcome),
            Input::Control(control) => self.control(*control),
        }
        self.advance_mode();
    }

    fn control(&mut self, control: Control) {
        self.mode = match (self.mode, control) {
            (mode @ (Mode::Stopped | Mode::Aborted), _) => mode,
            (_, Control::Abort) => Mode::Aborted,
            (mode @ (Mode::Draining { .. } | Mode::Recalling { .. }), _) => mode,
            (_, Control::Drain) => {
                Mode::Draining { recall_at: self.policy.drain_timeout.map(|limit| self.latest.after(limit)) }
            }
            (_, Control::Pause) => Mode::Paused,
            (_, Control::Resume) => Mode::Open,
        };
    }

    fn advance_mode(&mut self) {
        if matches!(self.mode, Mode::Draining { recall_at: Some(at) } if at <= self.latest) {
            self.mode = Mode::Recalling { abort_at: self.latest.after(self.policy.recall_timeout) };
        }
        if matches!(self.mode, Mode::Recalling { abort_at } if abort_at <= self.latest) {
            self.mode = Mode::Aborted;
        }
        if self.mode == Mode::Aborted {
            // Reports in flight are not waited for any more.
            self.calls.retain(|call| !matches!(call.kind, CallKind::Update { .. }));
        }
    }

    fn hear_of_task(&mut self, key: TaskKey) {
        let Some(held) = self.places.iter_mut().flatten().find(|held| held.key == key && !held.settled)
        else {
            return;
        };
        if matches!(held.outcome, Some(Outcome::Yield { .. })) {
            if held.reporting {
                held.settled = true;
            } else {
                let slot = held.slot;
                self.free(slot);
            }
        } else {
            self.known = true;
        }
    }

    fn finished(&mut self, at: Instant, slot: SlotId, outcome: Outcome) {
        let due = Range::at(self.latest.after(self.policy.update.first().copied().unwrap_or_default()));
        let place = self.places.get_mut(usize::from(slot.index())).and_then(Option::as_mut);
        match place.filter(|held| held.slot == slot && held.outcome.is_none()) {
            Some(held) => {
                held.outcome = Some(outcome);
                held.ended_at = at;
                held.report = due;
                self.running = self.running.saturating_sub(1);
            }
            None => self.stale = true,
        }
    }

    fn replied(&mut self, at: Instant, id: CallId, reply: &Reply) {
        let Some(position) = self.calls.iter().position(|call| call.id == id) else {
            self.stale = true;
            return;
        };
        let call = self.calls.swap_remove(position);
        self.ended = Some(call);
        self.note_trouble(at, &call, reply);
        match call.kind {
            CallKind::Poll { count, kind, .. } => self.poll_replied(&call, kind, count, reply),
            CallKind::Refresh => {
                let policy = self.policy;
                self.token.refreshed(self.latest, reply, &policy);
                self.observe(&call, reply, false);
            }
            CallKind::Refuse => self.refusal_replied(&call, reply),
            CallKind::Update { slot, take_next } => self.update_replied(&call, slot, take_next, reply),
            CallKind::Extend { slot } => self.extend_replied(&call, slot, reply),
            CallKind::Spill { slot } => self.spill_replied(slot, reply),
        }
    }

    fn note_trouble(&mut self, at: Instant, call: &Call, reply: &Reply) {
        let wait = if let CallKind::Poll { wait, .. } = call.kind { wait } else { Duration::ZERO };
        let slow = call.sent_at.until(at) > wait + Duration::from_millis(50);
        if reply.is_err() || slow {
            self.trouble_at = Some(at);
        }
    }

    /// What every answer says of link and token.
    fn observe(&mut self, call: &Call, reply: &Reply, token_too: bool) {
        let policy = self.policy;
        self.link.replied(self.latest, call.id, reply, &policy);
        if token_too {
            self.token.replied(self.latest, call.token, reply, &policy);
        }
    }

    fn poll_replied(&mut self, call: &Call, kind: PollKind, count: u16, reply: &Reply) {
        if let Some(refusal) = self.refusal.as_mut().filter(|refusal| refusal.call.is_some()) {
            refusal.own_lane = true;
        }
        let policy = self.policy;
        self.observe(call, reply, true);
        match reply {
            Ok(_) if call.got > 0 => self.gate.brought(self.latest, kind, call.got, count, &policy),
            Ok(_) => self.gate.empty(call.sent, self.latest, kind, &policy),
            Err(_) => self.gate.failed(self.latest, reply, &policy),
        }
    }

    fn refusal_replied(&mut self, call: &Call, reply: &Reply) {
        let Some(refusal) = self.refusal.filter(|refusal| refusal.call == Some(call.id)) else { return };
        let again = |fault| matches!(fault, Fault::NotSent | Fault::Unauthorized | Fault::Throttled);
        self.refusal = match reply {
            Err(error) if again(error.fault) => Some(Refusal { call: None, own_lane: false }),
            Ok(_) | Err(_) => None,
        };
        let policy = self.policy;
        self.token.replied(self.latest, call.token, reply, &policy);
        if refusal.own_lane {
            self.link.replied(self.latest, call.id, reply, &policy);
        }
    }

    fn update_replied(&mut self, call: &Call, slot: SlotId, take_next: bool, reply: &Reply) {
        let policy = self.policy;
        self.observe(call, reply, true);
        if take_next && call.got > 0 {
            self.gate.brought(self.latest, PollKind::Short, 1, 1, &policy);
        } else if take_next && reply.is_ok() {
            self.gate.empty(call.sent, self.latest, PollKind::Short, &policy);
        }
        let latest = self.latest;
        let place = self.places.get_mut(usize::from(slot.index())).and_then(Option::as_mut);
        let Some(held) = place.filter(|held| held.slot == slot) else { return };
        held.reporting = false;
        match reply {
            Err(_) if held.settled => self.free(slot),
            Ok(_) => self.free(slot),
            Err(error) => {
                held.report = Range::at(latest);
                match error.fault {
                    Fault::Rejected => held.rejected = true,
                    Fault::Unauthorized | Fault::Unsupported => {}
                    Fault::NotSent | Fault::Unknown | Fault::Throttled | Fault::Server => {
                        if matches!(error.fault, Fault::Unknown | Fault::Server) {
                            held.unsure_since = held.unsure_since.or(Some(call.sent));
                        }
                        held.attempt = held.attempt.saturating_add(1);
                        held.report = Range::at(latest.after(update_delay(&policy, held.attempt)));
                        if let Some(asked) = retry_after(latest, reply, &policy) {
                            held.report = held.report.max(asked);
                        }
                    }
                }
            }
        }
    }

    fn spill_replied(&mut self, slot: SlotId, reply: &Reply) {
        if reply.is_ok() {
            return self.free(slot);
        }
        let due = self.latest.after(update_delay(&self.policy, u16::MAX));
        if let Some(held) = self.places.get_mut(usize::from(slot.index())).and_then(Option::as_mut) {
            held.reporting = false;
            held.store_failed = true;
            held.report = Range::at(due);
        }
    }

    fn extend_replied(&mut self, call: &Call, slot: SlotId, reply: &Reply) {
        self.observe(call, reply, true);
        let (latest, policy) = (self.latest, self.policy);
        let place = self.places.get_mut(usize::from(slot.index())).and_then(Option::as_mut);
        let Some(held) = place.filter(|held| held.slot == slot) else { return };
        held.extend = match reply {
            Ok(_) => Range::at(call.sent.after(four_fifths(held.lease))),
            Err(error) if error.fault == Fault::Unauthorized => Range::at(latest),
            Err(error) if error.fault == Fault::Rejected => {
                held.lease = Duration::ZERO;
                return;
            }
            Err(_) => {
                let (least, most) = (Duration::from_millis(50), Duration::from_secs(30));
                let pause = Range::at(latest.after((held.lease / 16).clamp(least, most)));
                pause.max(retry_after(latest, reply, &policy).unwrap_or(Range::OPEN))
            }
        };
    }

    fn free(&mut self, slot: SlotId) {
        let Some(place) = self.places.get_mut(usize::from(slot.index())) else { return };
        if place.is_some_and(|held| held.slot == slot)
            && let Some(held) = place.take()
        {
            self.held = self.held.saturating_sub(1);
            if held.outcome.is_none() {
                self.running = self.running.saturating_sub(1);
            }
            self.freed = Some(held);
        }
    }

    // ---------------------------------------------------------------- actions

    /// Takes an action into account, after it was judged.
    pub(super) fn note(&mut self, at: Instant, input: &Input, action: &Action) {
        match *action {
            Action::Run { slot, key } => self.run(input, slot, key),
            Action::Refuse { call, .. } => self.refuse(at, input, call),
            Action::Refresh { call } => {
                self.token.refreshing = true;
                self.send(at, call, CallKind::Refresh);
            }
            Action::Extend { call, slot } => self.send(at, call, CallKind::Extend { slot }),
            Action::Update { call, slot, take_next, .. } => {
                self.mark_reporting(slot);
                self.send(at, call, CallKind::Update { slot, take_next });
            }
            Action::Spill { call, slot } => {
                self.mark_reporting(slot);
                self.push(at, call, CallKind::Spill { slot });
            }
            Action::Poll { call, count, wait } => {
                let kind = self.gate.kind(&self.policy);
                self.send(at, call, CallKind::Poll { count, kind, wait });
            }
            Action::Recall { slot } => {
                let place = self.places.get_mut(usize::from(slot.index())).and_then(Option::as_mut);
                if let Some(held) = place {
                    held.recalled = true;
                }
            }
            Action::Discard { slot, .. } => self.free(slot),
            Action::Stopped => self.mode = Mode::Stopped,
            Action::Wait { until: Some(until), why: Why::Auth } => self.token.told(until),
            Action::Ignore { .. } | Action::Wait { .. } => {}
        }
    }

    fn mark_reporting(&mut self, slot: SlotId) {
        let place = self.places.get_mut(usize::from(slot.index())).and_then(Option::as_mut);
        if let Some(held) = place {
            held.reporting = true;
        }
    }

    fn send(&mut self, at: Instant, call: CallId, kind: CallKind) {
        self.link.sent(call);
        self.push(at, call, kind);
    }

    fn push(&mut self, at: Instant, id: CallId, kind: CallKind) {
        let (sent, token) = (self.latest, self.token.generation);
        self.calls.push(Call { id, kind, sent, sent_at: at, token, got: 0 });
    }

    fn bringer(&mut self, input: &Input) -> Option<(&mut Call, TaskMeta)> {
        let Input::Leased { call, task } = input else { return None };
        self.calls.iter_mut().find(|open| open.id == *call).map(|open| (open, *task))
    }

    fn run(&mut self, input: &Input, slot: SlotId, key: TaskKey) {
        let latest = self.latest;
        let keeps = self.policy.extend;
        let Some((call, task)) = self.bringer(input) else { return };
        call.got = call.got.saturating_add(1);
        let lease = task.response_timeout.filter(|_| keeps).unwrap_or_default();
        let extend = Range::at(call.sent.after(four_fifths(lease)));
        let held = Held {
            slot,
            key,
            outcome: None,
            ended_at: Instant::ZERO,
            recalled: false,
            attempt: 0,
            report: Range::at(latest),
            reporting: false,
            unsure_since: None,
            rejected: false,
            store_failed: false,
            settled: false,
            lease,
            extend,
        };
        if let Some(place) = self.places.get_mut(usize::from(slot.index())) {
            if place.is_none() {
                self.held += 1;
            }
            *place = Some(held);
            self.running += 1;
        }
    }

    fn refuse(&mut self, at: Instant, input: &Input, id: CallId) {
        let polled = self.bringer(input).map(|(call, _)| {
            call.got = call.got.saturating_add(1);
            matches!(call.kind, CallKind::Poll { .. })
        });
        match (polled, self.refusal) {
            // It shares the lane of the poll that is being answered.
            (Some(true), None) => {
                self.refusal = Some(Refusal { call: Some(id), own_lane: false });
                self.push(at, id, CallKind::Refuse);
            }
            // Nobody waits for these.
            (Some(_), _) => self.push(at, id, CallKind::Refuse),
            (None, _) if matches!(input, Input::Leased { .. }) => self.push(at, id, CallKind::Refuse),
            (None, _) => {
                self.refusal = Some(Refusal { call: Some(id), own_lane: true });
                self.send(at, id, CallKind::Refuse);
            }
        }
    }
}

/// The delay before a report after so many failed ones; the last repeats.
fn update_delay(policy: &Policy, attempt: u16) -> Duration {
    let last = policy.update.last().copied().unwrap_or_default();
    policy.update.get(usize::from(attempt)).copied().unwrap_or(last)
}
