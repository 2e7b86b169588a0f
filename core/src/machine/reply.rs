//! Calls end, and the user's code ends.

use super::action::{Instead, Loss};
use super::auth::four_fifths;
use super::cx::{Cx, cx};
use super::entry::{FINAL, Heap, InFlight, Report, Storage, Whose};
use super::flaw::Flaw;
use super::gate::{PollKind, retry_after};
use super::ids::{CallId, CallKind, EntryId};
use super::input::{Answer, CallError, Fault, Outcome, Reply};
use super::kind::Kind;
use super::lease::GIVE_BACK_MARGIN;
use super::lifecycle::LifecycleKind;
use super::policy::OnLapse;
use super::table::List;
use super::time::{Instant, micros};
use super::worker::{GiveBack, Machine};

/// After this many failed reports a result is handed to the store, or given up under the Ruby SDK's rules.
const TRIES: u16 = 4;
/// A failed extension is tried again after a sixteenth of the lease, within these bounds, in microseconds.
const EXTEND_RETRY: (u64, u64) = (50_000, 30_000_000);
/// A result that a server which is well otherwise has refused so often is replaced by a report that the task failed.
const REFUSALS: u8 = 6;
/// The next try of it comes so soon if other results are accepted, in microseconds.
const OTHERS_PAUSE: u64 = 5_000_000;
/// Other results count as accepted if one was within this time, in microseconds.
const OTHERS: u64 = 10_000_000;
/// After so many refusals of both the machine gives it up, if there is no store.
const REFUSALS_MAX: u8 = 24;
/// How long `update-v2` is left alone when the server did not know it, in microseconds.
const TAKE_NEXT_REST: u64 = 600_000_000;
/// The store takes a result so many times later if the server answers and refuses it.
const REFUSED_PATIENCE: u64 = 3;

impl<S: Storage, M: Kind> Machine<S, M> {
    pub(crate) fn finished(&mut self, id: EntryId, outcome: Outcome) {
        let index = id.index();
        let Some(entry) = self.table.get(index) else { return };
        let known = entry.generation == id.generation() || M::Flaw::STALE_GENERATION_ACCEPTED;
        if !known || !entry.is_running() {
            return;
        }
        let (now, ended) = (self.now, entry.ended);
        self.table.end_run(index);
        if ended && !M::Flaw::REPORTS_CANCELLED {
            return self.spend(index, Loss::Ended);
        }
        if M::Flaw::YIELD_NEVER_SENT && outcome != Outcome::Final {
            self.table.release(index);
            return;
        }
        if M::Flaw::HEARTBEAT_STOPS_AT_FINISH {
            self.table.unset(Heap::Lease, index);
        }
        let [first, ..] = &self.policy.update;
        if let Some(entry) = self.table.get_mut(index) {
            entry.report = Report::new(outcome, now.saturating_add_ref(first));
        }
        if outcome == Outcome::Final {
            self.store_in_time(index);
        }
        self.replace_late_yield(index);
        self.table.set(Heap::Report, index);
        if self.has_store() {
            self.set_limit(index);
        }
    }

    /// A yield that comes too late would end its workflow (R-TIMEOUT-3), so a report that the task failed
    /// takes its place. The exception is a yield that may have had effect, because the task may be somebody
    /// else's by now (S4).
    pub(crate) fn replace_late_yield(&mut self, index: u16) {
        let soon = self.now.saturating_add_micros(GIVE_BACK_MARGIN);
        let Some(entry) = self.table.get_mut(index) else { return };
        let late = !entry.report.is_final() && entry.give_back_until <= soon;
        let late = late && entry.report.mark == Instant::FAR_FUTURE;
        if late && !M::Flaw::GIVES_BACK_LATE {
            let Report { at, attempt, .. } = entry.report;
            entry.report = Report { at, attempt, ..Report::NONE };
            entry.report.instead = Some(Instead::PollTimeout);
            self.store_in_time(index);
        }
    }

    /// Notes when what is to be reported goes to the store, unless that is noted already.
    fn store_in_time(&mut self, index: u16) {
        let store_by = self.now.saturating_add_micros(self.policy.stored_after());
        let has_store = self.has_store();
        if let Some(entry) = self.table.get_mut(index).filter(|_| has_store) {
            entry.report.mark = entry.report.mark.min(store_by);
        }
    }

    pub(crate) fn replied(&mut self, call: CallId, reply: &Reply) {
        let serial = call.serial();
        let known = match call.kind() {
            Some(CallKind::Poll) => self.poll_replied(serial, reply),
            Some(CallKind::Refresh) => self.auth.refreshed(&mut cx!(self), serial, reply),
            Some(CallKind::GiveBack) => self.give_back_replied(serial, reply),
            Some(CallKind::Report(index)) => match self.report_in_flight(index, serial) {
                Some(InFlight::Spill) if M::STORE => return self.spill_replied(index, reply),
                Some(_) => {
                    self.update_replied(index, reply);
                    true
                }
                None => false,
            },
            Some(CallKind::Extend(index)) => self.side_call_replied(false, index, serial, reply),
            Some(CallKind::Ask(index)) => self.side_call_replied(true, index, serial, reply),
            None => false,
        };
        if known {
            self.calls = self.calls.saturating_sub(1);
            self.observe_link(call, reply);
        }
    }

    /// Whether a call to the server is in flight and has a lane of its own.
    pub(crate) fn occupies_lane(&self, call: CallId) -> bool {
        let shared = call.kind() == Some(CallKind::GiveBack)
            && self.give_back.is_some_and(|give_back| !give_back.own_lane);
        !shared && self.token_of(call).is_some()
    }

    /// The generation of the token that a call was sent with. `None`: no such call to the server is in flight.
    pub(crate) fn token_of(&self, call: CallId) -> Option<u16> {
        let serial = call.serial();
        match call.kind()? {
            CallKind::Poll => self.poll.filter(|poll| poll.serial == serial).map(|poll| poll.token),
            CallKind::GiveBack => {
                let give_back = self.give_back.filter(|give_back| give_back.in_flight)?;
                (give_back.serial == serial).then_some(give_back.token)
            }
            CallKind::Report(index) => {
                let what = self.report_in_flight(index, serial)?;
                let report = &self.table.get(index)?.report;
                (what != InFlight::Spill).then_some(report.token)
            }
            CallKind::Extend(index) => self.table.get(index)?.lease.call.token_of(serial),
            CallKind::Ask(index) => self.table.get(index)?.ask.token_of(serial),
            CallKind::Refresh => None,
        }
    }

    fn observe_link(&mut self, call: CallId, reply: &Reply) {
        if !self.is_hubbed() && !self.policy.is_ruby::<M>() {
            self.link.replied(&mut cx!(self), call.to_bits(), reply);
        }
    }

    fn observe_auth(&mut self, token: u16, reply: &Reply) {
        self.auth.replied(&mut cx!(self), token, reply);
    }

    // ---------------------------------------------------------------- poll

    fn poll_replied(&mut self, serial: u32, reply: &Reply) -> bool {
        let Some(poll) = self.poll.filter(|poll| poll.serial == serial) else { return false };
        self.poll = None;
        self.keep_lane_for_give_back(serial);
        if self.policy.is_ruby::<M>() {
            self.ruby_auth(reply, poll.got);
        } else {
            self.observe_auth(poll.token, reply);
        }
        match reply {
            // What is here already is nothing new: a server that repeats itself is not asked without a pause.
            Ok(_) if poll.ran => {
                self.gate.brought(self.now, poll.kind, poll.got, poll.count, &self.policy);
            }
            Ok(_) => self.gate.empty(&mut cx!(self), poll.sent, poll.kind),
            Err(error) => self.gate.failed(&mut cx!(self), poll.sent, error),
        }
        true
    }

    /// The Ruby SDK's worker counts only authorisation failures of polls, and forgets them with any answered
    /// poll.
    fn ruby_auth(&mut self, reply: &Reply, got: u16) {
        match reply {
            Ok(_) => self.auth.forget_failures(),
            Err(_) if got > 0 => self.auth.forget_failures(),
            Err(error) if error.fault == Fault::Unauthorized => {
                self.observe_auth(self.auth.generation(), reply);
            }
            Err(_) => {}
        }
    }

    // ---------------------------------------------------------------- give-back

    fn keep_lane_for_give_back(&mut self, with: u32) {
        let shares =
            |give_back: &&mut GiveBack| give_back.in_flight && !give_back.own_lane && give_back.with == with;
        if let Some(give_back) = self.give_back.as_mut().filter(shares) {
            give_back.own_lane = true;
            self.calls = self.calls.saturating_add(1);
        }
    }

    /// Whether the call occupied a lane of its own.
    fn give_back_replied(&mut self, serial: u32, reply: &Reply) -> bool {
        let sent = |give_back: &&mut GiveBack| give_back.in_flight && give_back.serial == serial;
        let Some(give_back) = self.give_back.as_mut().filter(sent) else { return false };
        give_back.in_flight = false;
        let (token, own_lane) = (give_back.token, give_back.own_lane);
        self.observe_auth(token, reply);
        let repeats = match reply {
            // It had no effect, so a repeat is safe.
            Err(error)
                if matches!(
                    error.fault,
                    Fault::NotSent | Fault::Unauthorized | Fault::Forbidden | Fault::Throttled
                ) =>
            {
                self.plan_give_back(error)
            }
            Ok(_) | Err(_) => false,
        };
        if !repeats {
            self.give_back = None;
        }
        own_lane
    }

    /// Plans the give-back's next try. Returns false if it would come too late.
    fn plan_give_back(&mut self, error: &CallError) -> bool {
        let Some(give_back) = &mut self.give_back else { return false };
        give_back.attempt = give_back.attempt.saturating_add(1);
        let mut cx = cx!(self);
        let until = cx.after(&cx.policy.failing, u32::from(give_back.attempt));
        give_back.due = until.max(retry_after(&mut cx, error));
        give_back.due < give_back.expires
    }

    // ---------------------------------------------------------------- update and spill

    fn report_in_flight(&self, index: u16, serial: u32) -> Option<InFlight> {
        let report = &self.table.get(index)?.report;
        (report.in_flight != InFlight::Nothing && report.serial == serial).then_some(report.in_flight)
    }

    fn update_replied(&mut self, index: u16, reply: &Reply) {
        let now = self.now;
        let Some(entry) = self.table.get_mut(index) else { return };
        let report = &mut entry.report;
        let took_next = report.in_flight == InFlight::UpdateAndTakeNext;
        let (serial, token, settled) = (report.serial, report.token, report.settled);
        // A server that takes half of what a call may take answers the next one late, too, and its task would be late.
        let took = now.as_micros().saturating_sub(report.at.as_micros());
        self.slow = took >= micros(self.policy.call_timeout) / 2;
        report.in_flight = InFlight::Nothing;
        self.table.refile(Heap::Lease, index);
        if !self.policy.is_ruby::<M>() {
            self.observe_auth(token, reply);
        }
        if took_next {
            self.keep_lane_for_give_back(serial);
            self.take_next_replied(index, reply);
        }
        if reply.is_ok() {
            self.accepted = now;
        }
        match reply {
            Err(error) if !settled => self.update_failed(index, took_next, error),
            Ok(_) | Err(_) => self.table.release(index),
        }
    }

    /// What the poll inside an update found.
    fn take_next_replied(&mut self, index: u16, reply: &Reply) {
        let Some(report) = self.table.get(index).map(|entry| &entry.report) else { return };
        if !report.brought {
            self.promised = self.promised.saturating_sub(1);
        }
        if let Err(error) = reply {
            self.gate.hold_until(retry_after(&mut cx!(self), error));
        }
        // A poll beside it may have failed since it was sent: that is the later news.
        if self.gate.is_failing(self.now) {
            return;
        }
        if report.ran {
            self.gate.brought(self.now, PollKind::Short, 1, 1, &self.policy);
        } else if reply.is_ok() {
            self.gate.empty(&mut cx!(self), report.at, PollKind::Short);
        }
    }

    fn update_failed(&mut self, index: u16, took_next: bool, error: &CallError) {
        let ruby = self.policy.is_ruby::<M>();
        if !ruby && error.fault == Fault::Gone {
            return self.spend(index, Loss::Ended);
        }
        if !ruby && matches!(error.fault, Fault::Rejected | Fault::TooLarge) {
            let too_large = error.fault == Fault::TooLarge;
            let why = if too_large { Instead::TooLarge } else { Instead::Rejected };
            return self.replace_or_spend(index, why);
        }
        let well = !self.gate.is_failing(self.now) || M::Flaw::POISON_TOO_SOON;
        let Some(entry) = self.table.get_mut(index) else { return };
        let report = &mut entry.report;
        let sent = core::mem::replace(&mut report.at, self.now);
        if error.fault == Fault::Unsupported && !ruby && took_next {
            self.take_next_from = self.now.saturating_add_micros(TAKE_NEXT_REST);
        } else if error.fault == Fault::Unauthorized && !ruby && !M::Flaw::UNAUTHORIZED_USES_ATTEMPT {
            // At once with the next token; if that is unauthorized too, no token helps, and each 401 costs one.
            let unauthorized = u32::from(report.unauthorized);
            report.at = cx!(self).after(&self.policy.auth, unauthorized);
            report.unauthorized = report.unauthorized.saturating_add(1);
        } else {
            report.count_failure(&mut cx!(self), sent, error);
            let others =
                self.accepted > Instant::ZERO && self.accepted.saturating_add_micros(OTHERS) > self.now;
            if !ruby && others {
                report.hurry(&cx!(self), error);
            }
            if !ruby && well {
                report.count_refusal(&cx!(self), error);
            }
        }
        let (due, attempt) = (report.at, report.attempt);
        if report.is_final() {
            self.after_failed_result(index, attempt);
        } else {
            self.repeat_yield_or_spend(index, due);
        }
    }

    /// The server will never accept this report. A small one says at once that the task failed; if that is rejected too,
    /// nothing will ever be accepted.
    fn replace_or_spend(&mut self, index: u16, instead: Instead) {
        let now = self.now;
        let Some(entry) = self.table.get_mut(index) else { return };
        let report = &mut entry.report;
        if report.instead.is_some() || M::Flaw::REJECTED_IS_DROPPED {
            return self.spend(index, Loss::Rejected);
        }
        report.instead = Some(instead);
        if !report.is_final() {
            report.callback_after = FINAL;
            report.mark = Instant::FAR_FUTURE;
        }
        report.attempt = report.attempt.saturating_add(1);
        report.at = now;
        self.store_in_time(index);
        self.table.set(Heap::Report, index);
        self.set_limit(index);
    }

    fn after_failed_result(&mut self, index: u16, attempt: u16) {
        let Some(report) = self.table.get(index).map(|entry| &entry.report) else { return };
        let (refused, store_by) = (report.refused, report.mark);
        let exhausted = attempt >= TRIES && refused == 0 && !self.policy.journaled;
        if attempt >= TRIES && (self.policy.is_ruby::<M>() || M::Flaw::GIVES_UP) {
            self.spend(index, Loss::GaveUp);
        } else if self.has_store() && (exhausted || store_by <= self.now || self.stores_at_once()) {
            self.spill_next(index);
        } else if refused >= REFUSALS_MAX && !self.has_store() {
            self.spend(index, Loss::Refused);
        } else {
            self.table.set(Heap::Report, index);
            self.set_limit(index);
        }
    }

    fn repeat_yield_or_spend(&mut self, index: u16, due: Instant) {
        if self.yield_is_safe(index, due) {
            self.table.set(Heap::Report, index);
        } else {
            self.spend(index, Loss::UnsafeYield);
        }
    }

    /// Whether a yield sent at that time takes its effect before the server may deliver the task again (S4).
    pub(crate) fn yield_is_safe(&self, index: u16, at: Instant) -> bool {
        let Some(entry) = self.table.get(index) else { return false };
        let report = &entry.report;
        if report.is_final() || report.mark == Instant::FAR_FUTURE {
            return true;
        }
        // Where it may have had effect it can be neither repeated nor replaced once it is late.
        let late =
            entry.give_back_until <= at.saturating_add_micros(GIVE_BACK_MARGIN) && !M::Flaw::GIVES_BACK_LATE;
        let back = report.mark.saturating_add_micros(report.callback_after);
        !late && (at.saturating_add_ref(&self.policy.call_timeout) < back || M::Flaw::YIELD_RETRIED_FOR_EVER)
    }

    /// The drain's time is over, so that a store is all that a result waits for.
    fn stores_at_once(&self) -> bool {
        matches!(self.lifecycle.kind, LifecycleKind::Recalling | LifecycleKind::Aborted)
    }

    /// Has an entry's result handed to the store next.
    pub(crate) fn spill_next(&mut self, index: u16) {
        self.table.unset(Heap::Report, index);
        let Some(entry) = self.table.get_mut(index).filter(|entry| !entry.report.spill_next) else { return };
        entry.report.spill_next = true;
        self.table.push(List::Spill, index);
        self.set_limit(index);
    }

    fn spill_replied(&mut self, index: u16, reply: &Reply) {
        let [.., last] = &self.policy.update;
        let due = self.now.saturating_add_ref(last);
        let store_by = due.saturating_add_micros(self.policy.stored_after());
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.report.in_flight = InFlight::Nothing;
        entry.report.at = due;
        entry.report.mark = store_by;
        match (reply, self.lifecycle.kind) {
            (Ok(_), _) => self.table.release(index),
            (Err(_), LifecycleKind::Aborted) => self.spend(index, Loss::Aborted),
            // The store is full or broken: the server is tried again, and the store after its next failure.
            (Err(_), _) => {
                self.table.set(Heap::Report, index);
                self.set_limit(index);
            }
        }
    }

    // ---------------------------------------------------------------- lease, and whether it is still wanted

    fn side_call_replied(&mut self, asks: bool, index: u16, serial: u32, reply: &Reply) -> bool {
        let heap = if asks { Heap::Ask } else { Heap::Lease };
        let Some(entry) = self.table.get_mut(index) else { return false };
        let call = entry.side_call(asks);
        let Some(token) = call.token_of(serial) else { return false };
        let own = call.in_flight == Whose::Own;
        call.in_flight = Whose::Nobodys;
        let owed = entry.owes(heap);
        self.table.refile(Heap::Report, index);
        self.observe_auth(token, reply);
        match (owed, own) {
            (false, _) => {}
            (true, false) => self.table.set(heap, index),
            (true, true) if asks => self.asked(index, reply),
            (true, true) => self.plan_extension(index, reply),
        }
        true
    }

    fn plan_extension(&mut self, index: u16, reply: &Reply) {
        let Some(entry) = self.table.get_mut(index) else { return };
        let lease = &mut entry.lease;
        let fault = reply.as_ref().err().map(|error| error.fault);
        let unauthorized = fault == Some(Fault::Unauthorized);
        lease.at = match reply {
            Ok(_) => {
                lease.ends = lease.at.saturating_add_micros(lease.length);
                lease.at.saturating_add_micros(four_fifths(lease.length))
            }
            Err(_) if unauthorized && !lease.call.unauthorized => self.now,
            // The server does not know the task: there is no lease to keep.
            Err(_) if fault == Some(Fault::Gone) => return self.end_task(index),
            Err(error) => {
                let pause = (lease.length / 16).clamp(EXTEND_RETRY.0, EXTEND_RETRY.1);
                let asked = retry_after(&mut cx!(self), error);
                self.now.saturating_add_micros(pause).max(asked)
            }
        };
        lease.call.unauthorized = unauthorized;
        self.table.set(Heap::Lease, index);
        self.set_limit(index);
    }

    fn asked(&mut self, index: u16, reply: &Reply) {
        let (now, finishes) = (self.now, self.policy.on_lapse == OnLapse::Finish);
        let over = match reply {
            // The server's clock has the last word on a lease: it is over, whatever this worker's says.
            Ok(Answer::TimedOut) if finishes => {
                if let Some(entry) = self.table.get_mut(index) {
                    entry.lease.ends = entry.lease.ends.min(now);
                }
                return self.set_limit(index);
            }
            Ok(answer) => matches!(answer, Answer::Ended | Answer::TimedOut),
            Err(error) => error.fault == Fault::Gone,
        };
        if over { self.end_task(index) } else { self.plan_ask(index) }
    }

    /// The server has ended a task that is held: its code is stopped, its outcome is nobody's.
    fn end_task(&mut self, index: u16) {
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.lease.length = 0;
        if entry.is_running() {
            entry.ended = true;
            self.table.unset(Heap::Lease, index);
            self.table.unset(Heap::Ask, index);
            self.set_limit(index);
        } else if entry.owes_report() {
            self.spend(index, Loss::Ended);
        } else {
            self.set_limit(index);
        }
    }
}

impl Report {
    /// A report failed: counts that, and plans the next.
    fn count_failure<M: Kind>(&mut self, cx: &mut Cx<'_, M>, sent: Instant, error: &CallError) {
        let policy = cx.policy;
        self.attempt = self.attempt.saturating_add(1);
        let unsure = matches!(error.fault, Fault::Unknown | Fault::Slow | Fault::Server | Fault::Internal);
        if unsure && !self.is_final() {
            self.mark = self.mark.min(sent);
        }
        let [.., last] = &policy.update;
        let asked = retry_after(cx, error);
        let soon = !self.is_final() && self.mark == Instant::FAR_FUTURE && !policy.is_ruby::<M>();
        self.at = if !soon {
            let delay = policy.update.get(usize::from(self.attempt)).unwrap_or(last);
            cx.now.saturating_add_ref(delay).max(asked)
        } else {
            // No try of this yield had an effect: the task waits for its next run.
            cx.after(&policy.failing, u32::from(self.attempt)).max(asked)
        };
    }

    /// Other results are accepted meanwhile: a longer wait brings nothing, and the lease has to be kept for it. What goes
    /// to a store after a few tries, without a journal, is not hurried there.
    fn hurry<M: Kind>(&mut self, cx: &Cx<'_, M>, error: &CallError) {
        let stays = cx.policy.journaled || !cx.policy.store;
        if self.is_final() && error.retry_after.is_none() && (stays || is_refusal(error.fault)) {
            self.at = self.at.min(cx.now.saturating_add_micros(OTHERS_PAUSE));
        }
    }

    /// The server answers, and refuses this very result. After enough of that the machine tries a report that
    /// the task failed at once behind each refusal of the result, so that both were asked of the same server
    /// at the same time.
    fn count_refusal<M: Kind>(&mut self, cx: &Cx<'_, M>, error: &CallError) {
        let (now, policy) = (cx.now, cx.policy);
        let of_this = is_refusal(error.fault) || M::Flaw::POISON_TOO_SOON && error.fault == Fault::Server;
        if !of_this || !self.is_final() {
            return;
        }
        if self.refused == 0 && !policy.journaled {
            let more = micros(policy.store_after).saturating_mul(REFUSED_PATIENCE.saturating_sub(1));
            self.mark = self.mark.saturating_add_micros(more);
        }
        self.refused = self.refused.saturating_add(1);
        if self.instead == Some(Instead::Refused) {
            self.instead = None;
        } else if self.instead.is_none() && self.refused >= REFUSALS && !M::Flaw::POISON_FOR_EVER {
            self.instead = Some(Instead::Refused);
            self.at = now;
        }
    }
}

/// Whether the server was well and refused this very report.
const fn is_refusal(fault: Fault) -> bool {
    matches!(fault, Fault::Internal | Fault::Forbidden)
}
