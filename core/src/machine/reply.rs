//! Calls end, and the user's code ends.

use core::time::Duration;

use super::action::Loss;
use super::auth::four_fifths;
use super::entry::{Entry, Extension, InFlight, Lease, Phase, Report};
use super::gate::{Kind, retry_after};
use super::ids::{CallId, Lane, SlotId};
use super::input::{CallError, Fault, Outcome, Reply};
use super::mutant::Mutant;
use super::policy::Rules;
use super::table::{Heap, List};
use super::time::Instant;
use super::worker::{Machine, Mode, Refusal};

/// After this many failed reports a result is handed to the store, or given up by the seed.
const TRIES: u16 = 4;
/// A failed extension is tried again after a sixteenth of the lease, within these bounds.
const EXTEND_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

impl<S: AsRef<[Entry]> + AsMut<[Entry]>, M: Mutant> Machine<S, M> {
    pub(crate) fn finished(&mut self, slot: SlotId, outcome: Outcome) {
        let index = slot.index();
        let Some(entry) = self.table.get(index) else { return };
        let known = entry.generation == slot.generation() || M::STALE_GENERATION_ACCEPTED;
        if !known || !entry.is_running() {
            return;
        }
        let now = self.now;
        self.table.end_run(index);
        if M::YIELD_NEVER_SENT && outcome != Outcome::Final {
            self.table.release(index);
            return;
        }
        if M::HEARTBEAT_STOPS_AT_FINISH {
            self.table.unset(Heap::Lease, index);
        }
        let first = self.policy.update.first().copied().unwrap_or(Duration::ZERO);
        if let Some(entry) = self.table.get_mut(index) {
            entry.report = Report::of(outcome, now.after(first));
        }
        self.table.set(Heap::Report, index);
    }

    pub(crate) fn replied(&mut self, call: CallId, reply: Reply) {
        let known = match call.lane() {
            Some(Lane::Poll) => self.poll_replied(call.serial(), reply),
            Some(Lane::Refresh) => {
                self.auth.refreshed::<M>(self.now, call.serial(), &reply, &self.policy, &mut self.rng)
            }
            Some(Lane::Refuse) => self.refusal_replied(call.serial(), reply),
            Some(Lane::Report(index)) => match self.report_in_flight(index, call.serial()) {
                Some(InFlight::Spill) => return self.spill_replied(index, reply),
                Some(_) => {
                    self.update_replied(index, reply);
                    true
                }
                None => false,
            },
            Some(Lane::Extend(index)) => self.extend_replied(index, call.serial(), reply),
            None => false,
        };
        if known {
            self.calls = self.calls.saturating_sub(1);
            self.observe_link(call, &reply);
        }
    }

    /// The generation of the token that a call was sent with. `None`: no such call to the server is in flight and has
    /// a lane.
    pub(crate) fn token_of(&self, call: CallId) -> Option<u16> {
        let serial = call.serial();
        match call.lane()? {
            Lane::Poll => self.poll.filter(|poll| poll.serial == serial).map(|poll| poll.token),
            Lane::Refuse => {
                let refusal = self.refusal.filter(|refusal| refusal.own_lane && refusal.in_flight)?;
                (refusal.serial == serial).then_some(refusal.token)
            }
            Lane::Report(index) => {
                let what = self.report_in_flight(index, serial)?;
                let report = &self.table.get(index)?.report;
                (what != InFlight::Spill).then_some(report.token)
            }
            Lane::Extend(index) => {
                let lease = &self.table.get(index)?.lease;
                let in_flight = lease.in_flight != Extension::None && lease.serial == serial;
                in_flight.then_some(lease.token)
            }
            Lane::Refresh => None,
        }
    }

    fn observe_link(&mut self, call: CallId, reply: &Reply) {
        if !self.hubbed && self.policy.rules == Rules::Downbeat {
            let failing = self.policy.failing;
            self.link.replied::<M>(self.now, call.to_bits(), reply, &failing, &mut self.rng);
        }
    }

    fn observe_auth(&mut self, token: u16, reply: &Reply) {
        let auth = self.policy.auth;
        self.auth.replied::<M>(self.now, token, reply, &auth, &mut self.rng);
    }

    // ---------------------------------------------------------------- poll

    fn poll_replied(&mut self, serial: u32, reply: Reply) -> bool {
        let Some(poll) = self.poll.filter(|poll| poll.serial == serial) else { return false };
        self.poll = None;
        self.keep_lane_for_refusal(serial);
        self.seed_auth(&reply, poll.got);
        if self.policy.rules == Rules::Downbeat {
            self.observe_auth(poll.token, &reply);
        }
        match reply {
            // What is here already is nothing new: a server that repeats itself is not asked without a pause.
            Ok(_) if poll.ran => {
                self.gate.brought(self.now, poll.kind, poll.got, poll.count, &self.policy);
            }
            Ok(_) => self.gate.empty(poll.sent, self.now, poll.kind, &self.policy, &mut self.rng),
            Err(error) => self.gate.failed::<M>(poll.sent, self.now, error, &self.policy, &mut self.rng),
        }
        true
    }

    /// The seed counts authorisation failures of polls alone, and forgets them with any answered poll.
    fn seed_auth(&mut self, reply: &Reply, got: u16) {
        if self.policy.rules != Rules::Seed {
            return;
        }
        match reply {
            Ok(_) => self.auth.forget_failures(),
            Err(_) if got > 0 => self.auth.forget_failures(),
            Err(error) if error.fault == Fault::Unauthorized => {
                self.observe_auth(self.auth.generation(), reply);
            }
            Err(_) => {}
        }
    }

    // ---------------------------------------------------------------- refusal

    fn keep_lane_for_refusal(&mut self, with: u32) {
        let shares = |refusal: &&mut Refusal| refusal.in_flight && !refusal.own_lane && refusal.with == with;
        if let Some(refusal) = self.refusal.as_mut().filter(shares) {
            refusal.own_lane = true;
            self.calls = self.calls.saturating_add(1);
        }
    }

    /// Whether the call occupied a lane of its own.
    fn refusal_replied(&mut self, serial: u32, reply: Reply) -> bool {
        let Some(refusal) = self.refusal.filter(|refusal| refusal.in_flight && refusal.serial == serial)
        else {
            return false;
        };
        self.observe_auth(refusal.token, &reply);
        self.refusal = None;
        match reply {
            // It had no effect, so a repeat is safe.
            Err(error) if matches!(error.fault, Fault::NotSent | Fault::Unauthorized | Fault::Throttled) => {
                self.plan_refusal(refusal, error);
            }
            Ok(_) | Err(_) => {}
        }
        refusal.own_lane
    }

    fn plan_refusal(&mut self, mut refusal: Refusal, error: CallError) {
        refusal.in_flight = false;
        refusal.attempt = refusal.attempt.saturating_add(1);
        let delay = self.policy.failing.delay::<M>(u32::from(refusal.attempt), &mut self.rng);
        let asked = retry_after::<M>(self.now, error, &self.policy, &mut self.rng);
        refusal.due = self.now.after(delay).max(asked.unwrap_or(Instant::ZERO));
        if refusal.due < refusal.expires {
            self.refusal = Some(refusal);
        }
    }

    // ---------------------------------------------------------------- update and spill

    fn report_in_flight(&self, index: u16, serial: u32) -> Option<InFlight> {
        let report = &self.table.get(index)?.report;
        (report.in_flight != InFlight::Nothing && report.serial == serial).then_some(report.in_flight)
    }

    fn update_replied(&mut self, index: u16, reply: Reply) {
        let Some(entry) = self.table.get_mut(index) else { return };
        let report = entry.report;
        entry.report.in_flight = InFlight::Nothing;
        if self.policy.rules == Rules::Downbeat {
            self.observe_auth(report.token, &reply);
        }
        if report.in_flight == InFlight::UpdateAndTakeNext {
            self.keep_lane_for_refusal(report.serial);
            self.take_next_replied(&report, &reply);
        }
        match reply {
            _ if report.settled => self.table.release(index),
            Ok(_) => self.table.release(index),
            Err(error) => self.update_failed(index, report, error),
        }
    }

    /// What the poll inside an update found.
    fn take_next_replied(&mut self, report: &Report, reply: &Reply) {
        if !report.brought {
            self.promised = self.promised.saturating_sub(1);
        }
        if let Err(error) = reply
            && let Some(until) = retry_after::<M>(self.now, *error, &self.policy, &mut self.rng)
        {
            self.gate.hold_until(until);
        }
        // A poll beside it may have failed since it was sent: that is the later news.
        if self.gate.is_failing(self.now) {
            return;
        }
        if report.ran {
            self.gate.brought(self.now, Kind::Short, 1, 1, &self.policy);
        } else if reply.is_ok() {
            self.gate.empty(report.sent, self.now, Kind::Short, &self.policy, &mut self.rng);
        }
    }

    fn update_failed(&mut self, index: u16, mut report: Report, error: CallError) {
        let took_next = report.in_flight == InFlight::UpdateAndTakeNext;
        report.in_flight = InFlight::Nothing;
        report.due = self.now;
        let seed = self.policy.rules == Rules::Seed;
        match error.fault {
            Fault::Rejected if !seed => return self.spend(index, Loss::Rejected),
            Fault::Unsupported if !seed && took_next => self.knows_take_next = false,
            Fault::Unauthorized if !seed && !M::UNAUTHORIZED_USES_ATTEMPT => {
                // At once with the next token; if that is refused too, no token helps, and each refusal costs one.
                let refused = u32::from(report.refusals);
                report.due = self.now.after(self.policy.auth.delay::<M>(refused, &mut self.rng));
                report.refusals = report.refusals.saturating_add(1);
            }
            Fault::NotSent
            | Fault::Unknown
            | Fault::Throttled
            | Fault::Server
            | Fault::Unauthorized
            | Fault::Rejected
            | Fault::Unsupported => self.count_failed_update(&mut report, error),
        }
        if let Some(entry) = self.table.get_mut(index) {
            entry.report = report;
        }
        if report.is_final() {
            self.after_failed_result(index, report.attempt);
        } else {
            self.repeat_yield_or_spend(index, report.due);
        }
    }

    fn count_failed_update(&mut self, report: &mut Report, error: CallError) {
        report.attempt = report.attempt.saturating_add(1);
        if matches!(error.fault, Fault::Unknown | Fault::Server) {
            report.unsure_since = report.unsure_since.min(report.sent);
        }
        let last = self.policy.update.last().copied().unwrap_or(Duration::ZERO);
        let delay = self.policy.update.get(usize::from(report.attempt)).copied().unwrap_or(last);
        report.due = self.now.after(delay);
        if let Some(until) = retry_after::<M>(self.now, error, &self.policy, &mut self.rng) {
            report.due = report.due.max(until);
        }
    }

    fn after_failed_result(&mut self, index: u16, attempt: u16) {
        let exhausted = attempt >= TRIES;
        if exhausted && (self.policy.rules == Rules::Seed || M::GIVES_UP) {
            self.spend(index, Loss::GaveUp);
        } else if (exhausted && self.policy.store) || self.stores_at_once() {
            self.spill_next(index);
        } else {
            self.table.set(Heap::Report, index);
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
        let Some(report) = self.table.get(index).map(|entry| &entry.report) else { return false };
        if report.is_final() {
            return true;
        }
        let callback_after = Duration::from_micros(report.callback_after);
        M::YIELD_RETRIED_FOR_EVER
            || report.unsure_since == Instant::FAR_FUTURE
            || at.after(self.policy.call_timeout) < report.unsure_since.after(callback_after)
    }

    /// The drain's time is over and there is a store: no result waits for the server any more.
    fn stores_at_once(&self) -> bool {
        self.policy.store && matches!(self.mode, Mode::Recalling { .. } | Mode::Aborted)
    }

    /// Has an entry's result handed to the store next.
    pub(crate) fn spill_next(&mut self, index: u16) {
        self.table.unset(Heap::Report, index);
        let Some(entry) = self.table.get_mut(index).filter(|entry| !entry.report.spill_next) else { return };
        entry.report.spill_next = true;
        self.table.push(List::Spill, index);
    }

    fn spill_replied(&mut self, index: u16, reply: Reply) {
        let last = self.policy.update.last().copied().unwrap_or(Duration::ZERO);
        let due = self.now.after(last);
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.report.in_flight = InFlight::Nothing;
        entry.report.due = due;
        match (reply, self.mode) {
            (Ok(_), _) => self.table.release(index),
            (Err(_), Mode::Aborted) => self.spend(index, Loss::Aborted),
            // The store is full or broken: the server is tried again, and the store after its next failure.
            (Err(_), _) => self.table.set(Heap::Report, index),
        }
    }

    // ---------------------------------------------------------------- lease

    fn extend_replied(&mut self, index: u16, serial: u32, reply: Reply) -> bool {
        let Some(entry) = self.table.get_mut(index) else { return false };
        let lease = entry.lease;
        if lease.in_flight == Extension::None || lease.serial != serial {
            return false;
        }
        entry.lease.in_flight = Extension::None;
        let held = !matches!(entry.phase, Phase::Free | Phase::Spent(_)) && !entry.report.settled;
        self.observe_auth(lease.token, &reply);
        if held && lease.length > 0 {
            if lease.in_flight == Extension::Own {
                self.plan_extension(index, lease, reply);
            } else {
                self.table.set(Heap::Lease, index);
            }
        }
        true
    }

    fn plan_extension(&mut self, index: u16, lease: Lease, reply: Reply) {
        let refused = matches!(reply, Err(CallError { fault: Fault::Unauthorized, .. }));
        let due = match reply {
            Ok(_) => lease.sent.after(Duration::from_micros(four_fifths(lease.length))),
            Err(CallError { fault: Fault::Unauthorized, .. }) if !lease.refused => self.now,
            // The server does not know the task: there is no lease to keep.
            Err(CallError { fault: Fault::Rejected, .. }) => return,
            Err(error) => {
                let pause = Duration::from_micros(lease.length / 16).clamp(EXTEND_RETRY.0, EXTEND_RETRY.1);
                let asked = retry_after::<M>(self.now, error, &self.policy, &mut self.rng);
                self.now.after(pause).max(asked.unwrap_or(Instant::ZERO))
            }
        };
        if let Some(entry) = self.table.get_mut(index) {
            entry.lease.due = due;
            entry.lease.refused = refused;
        }
        self.table.set(Heap::Lease, index);
    }
}
