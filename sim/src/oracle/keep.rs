//! How the book is kept: what each input and each action of the record changes.

use std::time::Duration;

use downbeat_core::machine::{
    Action, CallId, Control, Fault, Input, Instant, Outcome, Policy, Reply, SlotId, TaskKey, TaskMeta, Why,
};

use super::book::{Call, CallKind, Held, Mode, Page, Refusal};
use super::gates::{PollKind, Range, four_fifths, retry_after};

impl Page {
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
                // A call that is not open, or asks for nothing, brings nothing.
                if self.brings(*call) {
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
        let now = self.latest;
        self.refusal = self.refusal.filter(|refusal| refusal.call.is_some() || refusal.expires > now);
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
                if !self.token.surely_allows(self.latest) {
                    // Until now nothing else could be sent.
                    self.trouble_at = Some(at);
                }
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
        let shares = |refusal: &&mut Refusal| refusal.call.is_some() && refusal.with == with;
        if let Some(refusal) = self.refusal.as_mut().filter(shares) {
            refusal.own_lane = true;
        }
    }

    fn refusal_replied(&mut self, call: &Call, reply: &Reply) {
        let Some(refusal) = self.refusal.filter(|refusal| refusal.call == Some(call.id)) else {
            // If the one before was forgotten, this one counts: an answer opens the gate that a 401 has closed.
            if reply.is_ok() && self.refusal.is_some_and(|refusal| refusal.unsure) {
                self.token.opens.lo = Instant::ZERO;
            }
            return;
        };
        let again = |fault| matches!(fault, Fault::NotSent | Fault::Unauthorized | Fault::Throttled);
        self.refusal = match reply {
            Err(error) if again(error.fault) => self.repeat_refusal(refusal, reply),
            Ok(_) | Err(_) => None,
        };
        let (policy, tag) = (self.shared(), self.tag(call.id));
        self.token.replied(self.latest, call.token, reply, &policy);
        if refusal.own_lane {
            self.link.replied(self.latest, tag, reply, &policy);
        }
    }

    /// It is repeated where its lease has not ended by then.
    fn repeat_refusal(&self, refusal: Refusal, reply: &Reply) -> Option<Refusal> {
        let (attempt, failing) = (refusal.attempt + 1, self.policy.failing);
        let due = Range::shortened(self.latest, failing.ceiling(attempt), failing.jitter);
        let due = due.max(retry_after(self.latest, reply, &self.policy).unwrap_or(Range::OPEN));
        let unsure = due.hi >= refusal.expires;
        let again = Refusal { call: None, own_lane: false, attempt, unsure, ..refusal };
        (due.lo < refusal.expires).then_some(again)
    }

    fn update_replied(&mut self, call: &Call, slot: SlotId, take_next: bool, reply: &Reply) {
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
                    Fault::Unauthorized => {
                        let delay = policy.auth.ceiling(held.refusals);
                        held.report = Range::shortened(latest, delay, policy.auth.jitter);
                        held.refusals += 1;
                    }
                    Fault::Unsupported if take_next => {}
                    Fault::NotSent
                    | Fault::Unknown
                    | Fault::Throttled
                    | Fault::Server
                    | Fault::Unsupported => {
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
        let refused = held.extension_refused;
        held.extension_refused = matches!(reply, Err(error) if error.fault == Fault::Unauthorized);
        held.extend = match reply {
            Ok(_) => Range::at(call.sent.after(four_fifths(held.lease))),
            Err(error) if error.fault == Fault::Unauthorized && !refused => Range::at(latest),
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
            Action::Run { slot, key } => self.run(at, input, slot, key),
            Action::Refuse { call, .. } => self.refuse(at, input, call),
            Action::Refresh { call } => {
                self.token.refreshing = true;
                self.send(at, call, CallKind::Refresh);
            }
            Action::Extend { call, slot } => self.send(at, call, CallKind::Extend { slot }),
            Action::Update { call, slot, take_next, .. } => {
                self.mark_reporting(slot);
                if take_next {
                    self.gate.passed();
                }
                self.send(at, call, CallKind::Update { slot, take_next });
            }
            Action::Spill { call, slot } => {
                self.mark_reporting(slot);
                self.push(at, call, CallKind::Spill { slot });
            }
            Action::Poll { call, count, wait } => {
                self.gate.polled();
                let kind = self.gate.sent_kind(&self.policy, wait);
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
            // The poll gate waits for authorisation too, after two refusals in a row.
            Action::Wait { until: Some(until), why: Why::Auth } if self.gate.why != Why::Auth => {
                self.token.told(until);
            }
            Action::Wait { until: Some(until), why: why @ (Why::Empty | Why::Failing | Why::RetryAfter) } => {
                let policy = self.policy;
                self.gate.told(until, why, &policy);
            }
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

    fn run(&mut self, at: Instant, input: &Input, slot: SlotId, key: TaskKey) {
        let latest = self.latest;
        let keeps = self.policy.extend;
        let Some((call, task)) = self.bringer(input) else { return };
        call.got = call.got.saturating_add(1);
        call.ran = true;
        let lease = task.response_timeout.filter(|_| keeps).unwrap_or_default();
        let extend = Range::at(call.sent.after(four_fifths(lease)));
        let held = Held {
            slot,
            key,
            outcome: None,
            run_at: at,
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
            refusals: 0,
            extension_refused: false,
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
        let brought = self.bringer(input).map(|(call, task)| {
            call.got = call.got.saturating_add(1);
            let lease = task.response_timeout.filter(|lease| !lease.is_zero());
            (call.id, lease.map_or(Instant::FAR_FUTURE, |lease| call.sent.after(lease)))
        });
        if brought.is_none() && matches!(input, Input::Leased { .. }) {
            // The task of a call that is not open: its number is given back too, and may be that of another give-back.
            if !self.calls.iter().any(|open| open.id == id) {
                self.push(at, id, CallKind::Refuse);
            }
            return;
        }
        self.calls.retain(|open| open.id != id);
        match (brought, self.refusal) {
            // It shares the lane of the call that is being answered.
            (Some((with, expires)), None) => {
                self.refusal = Some(Refusal {
                    call: Some(id),
                    with,
                    own_lane: false,
                    attempt: 0,
                    expires,
                    unsure: false,
                });
                self.push(at, id, CallKind::Refuse);
            }
            // Nobody waits for these.
            (Some(_), Some(_)) => self.push(at, id, CallKind::Refuse),
            (None, Some(refusal)) => {
                self.refusal = Some(Refusal { call: Some(id), own_lane: true, unsure: false, ..refusal });
                self.send(at, id, CallKind::Refuse);
            }
            (None, None) => {
                let expires = Instant::FAR_FUTURE;
                self.refusal = Some(Refusal {
                    call: Some(id),
                    with: id,
                    own_lane: true,
                    attempt: 1,
                    expires,
                    unsure: false,
                });
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
