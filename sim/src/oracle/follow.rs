//! How the model follows the record: what each input and each action of the record changes.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, EntryId, Fault, Input, Instant, Instead, OnLapse, Outcome,
    RecallReason, Reply, TaskKey, TaskMeta, Why,
};

use super::gates::{PollKind, Range, four_fifths, retry_after};
use super::model::{Call, CallKind, GIVE_BACK_MARGIN, GiveBack, HeldTask, Lifecycle, Model};
use super::outcome::{OTHERS, stored_after, update_delay};

impl Model {
    /// Takes an input into account.
    pub(super) fn hear(&mut self, at: Instant, local: Instant, input: &Input) {
        self.latest = self.latest.max(local);
        self.ended = None;
        self.freed = None;
        self.stale = false;
        self.known = false;
        match input {
            Input::Tick | Input::Token(_) => {}
            Input::Recovered { .. } => return,
            Input::Leased { call, task } => {
                // A call that is not open, or asks for nothing, brings nothing.
                if self.brings(*call) {
                    self.hear_of_task(task.key);
                } else {
                    self.stale = true;
                }
                return;
            }
            Input::Replied { call, reply } => self.replied(at, *call, reply),
            Input::Finished { entry, outcome } => self.finished(at, *entry, *outcome),
            Input::Control(control) => self.control(*control),
        }
        self.advance_lifecycle();
        let now = self.latest;
        self.give_back =
            self.give_back.filter(|give_back| give_back.call.is_some() || give_back.expires > now);
    }

    fn control(&mut self, control: Control) {
        self.lifecycle = match (self.lifecycle, control) {
            (lifecycle @ (Lifecycle::Stopped | Lifecycle::Aborted), _) => lifecycle,
            (_, Control::Abort) => Lifecycle::Aborted,
            (lifecycle @ (Lifecycle::Draining { .. } | Lifecycle::Recalling { .. }), _) => lifecycle,
            (_, Control::Drain) => Lifecycle::Draining {
                recall_at: self.policy.drain_timeout.map(|limit| self.latest.saturating_add(limit)),
            },
            (_, Control::Pause) => Lifecycle::Paused,
            (_, Control::Resume) => Lifecycle::Open,
        };
    }

    fn advance_lifecycle(&mut self) {
        if matches!(self.lifecycle, Lifecycle::Draining { recall_at: Some(at) } if at <= self.latest) {
            self.lifecycle =
                Lifecycle::Recalling { abort_at: self.latest.saturating_add(self.policy.recall_timeout) };
        }
        if matches!(self.lifecycle, Lifecycle::Recalling { abort_at } if abort_at <= self.latest) {
            self.lifecycle = Lifecycle::Aborted;
        }
        if self.lifecycle == Lifecycle::Aborted {
            // Reports in flight are not waited for any more.
            self.calls.retain(|call| !matches!(call.kind, CallKind::Update { .. }));
        }
    }

    fn hear_of_task(&mut self, key: TaskKey) {
        let Some(held) = self.entries.iter_mut().flatten().find(|held| held.key == key && !held.settled)
        else {
            return;
        };
        if matches!(held.outcome, Some(Outcome::Yield { .. })) {
            if held.reporting {
                held.settled = true;
            } else {
                let entry = held.entry;
                self.free(entry);
            }
        } else {
            self.known = true;
        }
    }

    /// When what is finished now goes to the store.
    fn store_by(&self) -> Instant {
        if self.policy.store {
            self.latest.saturating_add(stored_after(&self.policy))
        } else {
            Instant::FAR_FUTURE
        }
    }

    fn finished(&mut self, at: Instant, entry: EntryId, outcome: Outcome) {
        let latest = self.latest;
        let due = Range::at(latest.saturating_add(self.policy.update.first().copied().unwrap_or_default()));
        let late_by = self.store_by();
        let store_by = if outcome == Outcome::Final { late_by } else { Instant::FAR_FUTURE };
        let place = self.entries.get_mut(usize::from(entry.index())).and_then(Option::as_mut);
        match place.filter(|held| held.entry == entry && held.outcome.is_none()) {
            Some(held) => {
                held.outcome = Some(outcome);
                held.yielded = outcome != Outcome::Final;
                held.store_by = store_by;
                if held.yielded && held.is_late(latest) {
                    // The machine takes it for a failure from here on.
                    held.outcome = Some(Outcome::Final);
                    held.instead = Some(Instead::PollTimeout);
                    held.store_by = late_by;
                }
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
                if !self.token.surely_allows(self.latest) {
                    // Until now nothing else could be sent.
                    self.trouble_at = Some(at);
                }
                self.token.refreshed(self.latest, reply, &policy);
                self.observe(&call, reply, false);
            }
            CallKind::GiveBack => self.give_back_replied(&call, reply),
            CallKind::Update { entry, take_next, .. } => self.update_replied(&call, entry, take_next, reply),
            CallKind::Extend { entry } => self.extend_replied(&call, entry, reply),
            CallKind::Ask { entry } => self.ask_replied(&call, entry, reply),
            CallKind::Spill { entry } => self.spill_replied(entry, reply),
        }
    }

    fn note_trouble(&mut self, at: Instant, call: &Call, reply: &Reply) {
        let wait = if let CallKind::Poll { wait, .. } = call.kind { wait } else { Duration::ZERO };
        let slow = at.saturating_duration_since(call.sent_at) > wait + Duration::from_millis(50);
        if reply.is_err() || slow {
            self.trouble_at = Some(at);
        }
    }

    /// What every answer says of link and token.
    fn observe(&mut self, call: &Call, reply: &Reply, token_too: bool) {
        let (policy, tag) = (self.shared(), self.tag(call.id));
        self.link.replied(self.latest, tag, reply, &policy);
        if token_too {
            self.token.replied(self.latest, call.token, reply, &policy);
        }
    }

    fn poll_replied(&mut self, call: &Call, kind: PollKind, count: u16, reply: &Reply) {
        self.keep_lane(call.id);
        let policy = self.policy;
        self.observe(call, reply, true);
        match reply {
            Ok(_) if call.ran => self.gate.brought(self.latest, kind, call.got, count, &policy),
            Ok(_) => self.gate.empty(call.sent, self.latest, kind, &policy),
            Err(_) => self.gate.failed(self.latest, reply, &policy),
        }
    }

    /// A give-back outlives the call that it shares a lane with.
    fn keep_lane(&mut self, with: CallId) {
        let shares = |give_back: &&mut GiveBack| give_back.call.is_some() && give_back.with == with;
        if let Some(give_back) = self.give_back.as_mut().filter(shares) {
            give_back.own_lane = true;
        }
    }

    fn give_back_replied(&mut self, call: &Call, reply: &Reply) {
        let Some(give_back) = self.give_back.filter(|give_back| give_back.call == Some(call.id)) else {
            // If the one before was forgotten, this one counts: an answer opens the gate that a 401 has closed.
            if reply.is_ok() && self.give_back.is_some_and(|give_back| give_back.unsure) {
                self.token.opens.lo = Instant::ZERO;
            }
            return;
        };
        let again = |fault| {
            matches!(fault, Fault::NotSent | Fault::Unauthorized | Fault::Forbidden | Fault::Throttled)
        };
        self.give_back = match reply {
            Err(error) if again(error.fault) => self.repeat_give_back(give_back, reply),
            Ok(_) | Err(_) => None,
        };
        let (policy, tag) = (self.shared(), self.tag(call.id));
        self.token.replied(self.latest, call.token, reply, &policy);
        if give_back.own_lane {
            self.link.replied(self.latest, tag, reply, &policy);
        }
    }

    /// It is repeated if its lease has not ended by then.
    fn repeat_give_back(&self, give_back: GiveBack, reply: &Reply) -> Option<GiveBack> {
        let (attempt, failing) = (give_back.attempt + 1, self.policy.failing);
        let due = Range::shortened(self.latest, failing.ceiling(attempt), failing.jitter);
        let due = due.max(retry_after(self.latest, reply, &self.policy).unwrap_or(Range::OPEN));
        let unsure = due.hi >= give_back.expires;
        let again = GiveBack { call: None, own_lane: false, attempt, unsure, ..give_back };
        (due.lo < give_back.expires).then_some(again)
    }

    fn update_replied(&mut self, call: &Call, entry: EntryId, take_next: bool, reply: &Reply) {
        let policy = self.policy;
        self.observe(call, reply, true);
        if take_next {
            self.keep_lane(call.id);
            self.gate.report_failed(self.latest, reply, &policy);
            match self.gate.is_failing(self.latest) {
                Some(true) => {}
                None => self.gate.make_vague(),
                Some(false) if call.ran => self.gate.brought(self.latest, PollKind::Short, 1, 1, &policy),
                Some(false) if reply.is_ok() => {
                    self.gate.empty(call.sent, self.latest, PollKind::Short, &policy);
                }
                Some(false) => {}
            }
        }
        self.slow = self.latest.saturating_duration_since(call.sent) >= policy.call_timeout / 2;
        if reply.is_ok() {
            self.accepted = self.latest;
        }
        let Some(held) = self.held_mut(entry) else { return };
        held.reporting = false;
        match reply {
            Err(error) if !held.settled => self.report_failed(call, entry, take_next, *error),
            Ok(_) | Err(_) => self.free(entry),
        }
    }

    fn report_failed(&mut self, call: &Call, entry: EntryId, take_next: bool, error: CallError) {
        let (latest, policy) = (self.latest, self.policy);
        let failing = self.gate.is_failing(latest);
        let others = self.accepted > Instant::ZERO && self.accepted.saturating_add(OTHERS) > latest;
        if error.fault == Fault::Unsupported && take_next {
            self.take_next_from = latest.saturating_add(TAKE_NEXT_REST);
        }
        let (ruby, store_by) = (self.is_ruby(), self.store_by());
        let Some(held) = self.held_mut(entry) else { return };
        held.report = Range::at(latest);
        held.poisoned = false;
        match error.fault {
            Fault::Gone if !ruby => held.ended = true,
            Fault::Rejected | Fault::TooLarge if !ruby => {
                held.reject(error.fault == Fault::TooLarge, store_by);
            }
            Fault::Unauthorized => {
                let delay = policy.auth.ceiling(held.unauthorized);
                held.report = Range::shortened(latest, delay, policy.auth.jitter);
                held.unauthorized += 1;
            }
            Fault::Unsupported if take_next => {}
            Fault::Unknown
            | Fault::Slow
            | Fault::Server
            | Fault::Internal
            | Fault::NotSent
            | Fault::Throttled
            | Fault::Unsupported
            | Fault::Forbidden
            | Fault::Rejected
            | Fault::TooLarge
            | Fault::Gone => held.fail(call.sent, latest, error, (failing, others), &policy),
        }
    }

    fn spill_replied(&mut self, entry: EntryId, reply: &Reply) {
        if reply.is_ok() {
            return self.free(entry);
        }
        let due = self.latest.saturating_add(update_delay(&self.policy, u16::MAX));
        let store_by = due.saturating_add(stored_after(&self.policy));
        if let Some(held) = self.entries.get_mut(usize::from(entry.index())).and_then(Option::as_mut) {
            held.reporting = false;
            held.store_failed = true;
            held.store_waits = false;
            held.store_by = store_by;
            held.report = Range::at(due);
        }
    }

    fn extend_replied(&mut self, call: &Call, entry: EntryId, reply: &Reply) {
        self.observe(call, reply, true);
        let (latest, policy) = (self.latest, self.policy);
        let place = self.entries.get_mut(usize::from(entry.index())).and_then(Option::as_mut);
        let Some(held) = place.filter(|held| held.entry == entry) else { return };
        let was = held.extension_unauthorized;
        held.extension_unauthorized = matches!(reply, Err(error) if error.fault == Fault::Unauthorized);
        held.extend = match reply {
            _ if held.lease.is_zero() => return,
            Ok(_) => {
                held.lapses = call.sent.saturating_add(held.lease);
                Range::at(call.sent.saturating_add(four_fifths(held.lease)))
            }
            Err(error) if error.fault == Fault::Unauthorized && !was => Range::at(latest),
            Err(error) if error.fault == Fault::Gone => {
                held.lease = Duration::ZERO;
                held.ended |= !held.reporting;
                return;
            }
            Err(_) => {
                let (least, most) = (Duration::from_millis(50), Duration::from_secs(30));
                let pause = Range::at(latest.saturating_add((held.lease / 16).clamp(least, most)));
                pause.max(retry_after(latest, reply, &policy).unwrap_or(Range::OPEN))
            }
        };
    }

    fn ask_replied(&mut self, call: &Call, entry: EntryId, reply: &Reply) {
        self.observe(call, reply, true);
        let (latest, interval) = (self.latest, self.policy.ask_interval);
        if self.held(entry).is_none_or(|held| held.outcome.is_some() || held.ended) {
            return;
        }
        let finishes = self.policy.on_lapse == OnLapse::Finish;
        let Some(held) = self.held_mut(entry) else { return };
        let over = match reply {
            // The server's clock has the last word on a lease.
            Ok(Answer::TimedOut) if finishes => {
                held.lapses = held.lapses.min(latest);
                held.ask = None;
                return;
            }
            Ok(answer) => matches!(answer, Answer::Ended | Answer::TimedOut),
            Err(error) => error.fault == Fault::Gone,
        };
        if over {
            held.ended = true;
            held.lease = Duration::ZERO;
        } else {
            held.ask = question(latest, interval);
        }
    }

    fn held_mut(&mut self, entry: EntryId) -> Option<&mut HeldTask> {
        let place = self.entries.get_mut(usize::from(entry.index())).and_then(Option::as_mut);
        place.filter(|held| held.entry == entry)
    }

    fn free(&mut self, entry: EntryId) {
        let Some(place) = self.entries.get_mut(usize::from(entry.index())) else { return };
        if place.is_some_and(|held| held.entry == entry)
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
            Action::Run { entry, key } => self.run(at, input, entry, key),
            Action::GiveBack { call, .. } => self.give_back(at, input, call),
            Action::Refresh { call } => {
                self.token.asked();
                self.send(at, call, CallKind::Refresh);
            }
            Action::Extend { call, entry } => self.send(at, call, CallKind::Extend { entry }),
            Action::Ask { call, entry } => self.send(at, call, CallKind::Ask { entry }),
            Action::Update { call, entry, take_next, instead, .. } => {
                self.mark_reporting(entry);
                let store_by = self.store_by();
                if let Some(held) = self.held_mut(entry) {
                    held.say(instead, store_by);
                }
                if take_next {
                    self.gate.passed();
                }
                self.send(at, call, CallKind::Update { entry, take_next, instead });
            }
            Action::Spill { call, entry, .. } => {
                self.mark_reporting(entry);
                self.push(at, call, CallKind::Spill { entry });
            }
            Action::Poll { call, count, wait } => {
                self.gate.polled();
                let kind = self.gate.sent_kind(&self.policy, wait);
                self.send(at, call, CallKind::Poll { count, kind, wait });
            }
            Action::Recall { entry, why } => {
                let place = self.entries.get_mut(usize::from(entry.index())).and_then(Option::as_mut);
                if let Some(held) = place {
                    held.recalled = true;
                    if why == RecallReason::Lapsed {
                        held.ended = true;
                        held.lease = Duration::ZERO;
                    }
                }
            }
            Action::Lapsed { entry } => {
                if let Some(held) = self.held_mut(entry) {
                    held.lease = Duration::ZERO;
                }
            }
            Action::Adopt { entry, key } => self.adopt(input, entry, key),
            Action::Discard { entry, .. } => self.free(entry),
            Action::Stopped => self.lifecycle = Lifecycle::Stopped,
            // The poll gate waits for authorisation too, after two 401s in a row.
            Action::Wait { until: Some(until), why: Why::Auth } if self.gate.why != Why::Auth => {
                self.token.told(until);
            }
            Action::Wait { until: Some(until), why: why @ (Why::Empty | Why::Failing | Why::RetryAfter) } => {
                let policy = self.policy;
                self.gate.told(until, why, &policy);
            }
            Action::Ignore { .. } => {
                let known = self.known;
                if let Some((call, _)) = self.bringer(input).filter(|_| !known) {
                    call.got = call.got.saturating_add(1);
                }
            }
            Action::Wait { .. } => {}
        }
    }

    fn mark_reporting(&mut self, entry: EntryId) {
        let place = self.entries.get_mut(usize::from(entry.index())).and_then(Option::as_mut);
        if let Some(held) = place {
            held.reporting = true;
        }
    }

    fn send(&mut self, at: Instant, call: CallId, kind: CallKind) {
        self.link.sent(self.tag(call));
        self.push(at, call, kind);
    }

    fn push(&mut self, at: Instant, id: CallId, kind: CallKind) {
        let (sent, token) = (self.latest, self.token.generation);
        self.calls.push(Call { id, kind, sent, sent_at: at, token, got: 0, ran: false });
    }

    fn bringer(&mut self, input: &Input) -> Option<(&mut Call, TaskMeta)> {
        let Input::Leased { call, task } = input else { return None };
        self.calls.iter_mut().find(|open| open.id == *call && open.brings()).map(|open| (open, *task))
    }

    fn run(&mut self, at: Instant, input: &Input, entry: EntryId, key: TaskKey) {
        let (latest, ask) = (self.latest, question(self.latest, self.policy.ask_interval));
        let keeps = self.policy.extend;
        let (sent, task, extend, ask) = match (self.bringer(input), input) {
            (Some((call, task)), _) => {
                call.got = call.got.saturating_add(1);
                call.ran = true;
                let lease = task.response_timeout.unwrap_or_default();
                (call.sent, task, Range::at(call.sent.saturating_add(four_fifths(lease))), ask)
            }
            // How much of its lease is left nobody knows.
            (None, Input::Recovered { task }) => (latest, *task, Range::at(latest), None),
            _ => return,
        };
        let lease = task.response_timeout.filter(|_| keeps).unwrap_or_default();
        let held = HeldTask {
            run_at: at,
            report: Range::at(latest),
            give_back_until: give_back_until(sent, &task),
            store_failed: false,
            store_waits: false,
            lease,
            extend,
            lapses: sent.saturating_add(lease),
            ask,
            ..HeldTask::from_state(entry, key)
        };
        if let Some(place) = self.entries.get_mut(usize::from(entry.index())) {
            if place.is_none() {
                self.held += 1;
            }
            *place = Some(held);
            self.running += 1;
        }
    }

    /// The retry of a running task goes on where that runs.
    fn adopt(&mut self, input: &Input, entry: EntryId, key: TaskKey) {
        let ask = question(self.latest, self.policy.ask_interval);
        let keeps = self.policy.extend;
        let Some((call, task)) = self.bringer(input) else { return };
        call.got = call.got.saturating_add(1);
        call.ran = true;
        let sent = call.sent;
        // What is in flight for the former task says nothing of this one.
        let former = EntryId::new(entry.index(), entry.generation().wrapping_sub(1));
        for call in &mut self.calls {
            match &mut call.kind {
                CallKind::Extend { entry: of } | CallKind::Ask { entry: of } if *of == entry => *of = former,
                _ => {}
            }
        }
        let Some(held) = self.held_mut(entry) else { return };
        held.key = key;
        held.lease = task.response_timeout.filter(|_| keeps).unwrap_or_default();
        held.extend = Range::at(sent.saturating_add(four_fifths(held.lease)));
        held.lapses = sent.saturating_add(held.lease);
        held.give_back_until = give_back_until(sent, &task);
        held.ask = ask;
    }

    fn give_back(&mut self, at: Instant, input: &Input, id: CallId) {
        let brought = self.bringer(input).map(|(call, task)| {
            call.got = call.got.saturating_add(1);
            let lease = task.response_timeout.filter(|lease| !lease.is_zero());
            let lapses = lease.map_or(Instant::FAR_FUTURE, |lease| call.sent.saturating_add(lease));
            (call.id, lapses.min(give_back_until(call.sent, &task).saturating_sub(GIVE_BACK_MARGIN)))
        });
        if brought.is_none() && matches!(input, Input::Leased { .. }) {
            // The task of a call that is not open: its number is given back too, and may be that of another give-back.
            if !self.calls.iter().any(|open| open.id == id) {
                self.push(at, id, CallKind::GiveBack);
            }
            return;
        }
        self.calls.retain(|open| open.id != id);
        match (brought, self.give_back) {
            // It shares the lane of the call that is being answered.
            (Some((with, expires)), None) => {
                self.give_back = Some(GiveBack {
                    call: Some(id),
                    with,
                    own_lane: false,
                    attempt: 0,
                    expires,
                    unsure: false,
                });
                self.push(at, id, CallKind::GiveBack);
            }
            // Nobody waits for these.
            (Some(_), Some(_)) => self.push(at, id, CallKind::GiveBack),
            (None, Some(give_back)) => {
                self.give_back =
                    Some(GiveBack { call: Some(id), own_lane: true, unsure: false, ..give_back });
                self.send(at, id, CallKind::GiveBack);
            }
            (None, None) => {
                let expires = Instant::FAR_FUTURE;
                self.give_back = Some(GiveBack {
                    call: Some(id),
                    with: id,
                    own_lane: true,
                    attempt: 1,
                    expires,
                    unsure: false,
                });
                self.send(at, id, CallKind::GiveBack);
            }
        }
    }
}

/// How long `update-v2` is left alone when the server did not know it.
const TAKE_NEXT_REST: Duration = Duration::from_secs(600);
/// Questions come up to so many percent early.
const ASK_JITTER: u8 = 10;

fn question(latest: Instant, interval: Option<Duration>) -> Option<Range> {
    interval.map(|interval| Range::shortened(latest, interval, ASK_JITTER))
}

fn give_back_until(sent: Instant, task: &TaskMeta) -> Instant {
    task.give_back_within.map_or(Instant::FAR_FUTURE, |within| sent.saturating_add(within))
}
