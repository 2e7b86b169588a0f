//! Calls end, and the user's code ends.

use super::action::Loss;
use super::auth::four_fifths;
use super::course::Stage;
use super::entry::{Entry, Extension, InFlight, Phase, Report};
use super::gate::{Kind, retry_after};
use super::ids::{CallId, Lane, SlotId};
use super::input::{CallError, Fault, Outcome, Reply};
use super::mutant::Mutant;
use super::policy::Policy;
use super::rng::Rng;
use super::table::{Heap, List};
use super::time::Instant;
use super::worker::{Machine, Refusal};

/// After this many failed reports a result is handed to the store, or given up by the seed.
const TRIES: u16 = 4;
/// A failed extension is tried again after a sixteenth of the lease, within these bounds, in microseconds.
const EXTEND_RETRY: (u64, u64) = (50_000, 30_000_000);

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
        let [first, ..] = &self.policy.update;
        if let Some(entry) = self.table.get_mut(index) {
            entry.report = Report::of(outcome, now.later(first));
        }
        self.table.set(Heap::Report, index);
    }

    pub(crate) fn replied(&mut self, call: CallId, reply: &Reply) {
        let serial = call.serial();
        let known = match call.lane() {
            Some(Lane::Poll) => self.poll_replied(serial, reply),
            Some(Lane::Refresh) => {
                self.auth.refreshed::<M>(self.now, serial, reply, &self.policy, &mut self.rng)
            }
            Some(Lane::Refuse) => self.refusal_replied(serial, reply),
            Some(Lane::Report(index)) => match self.report_in_flight(index, serial) {
                Some(InFlight::Spill) if M::STORE => return self.spill_replied(index, reply),
                Some(_) => {
                    self.update_replied(index, reply);
                    true
                }
                None => false,
            },
            Some(Lane::Extend(index)) => self.extend_replied(index, serial, reply),
            None => false,
        };
        if known {
            self.calls = self.calls.saturating_sub(1);
            self.observe_link(call, reply);
        }
    }

    /// Whether a call to the server is in flight and has a lane of its own.
    pub(crate) fn occupies_lane(&self, call: CallId) -> bool {
        let shared =
            call.lane() == Some(Lane::Refuse) && self.refusal.is_some_and(|refusal| !refusal.own_lane);
        !shared && self.token_of(call).is_some()
    }

    /// The generation of the token that a call was sent with. `None`: no such call to the server is in flight.
    pub(crate) fn token_of(&self, call: CallId) -> Option<u16> {
        let serial = call.serial();
        match call.lane()? {
            Lane::Poll => self.poll.filter(|poll| poll.serial == serial).map(|poll| poll.token),
            Lane::Refuse => {
                let refusal = self.refusal.filter(|refusal| refusal.in_flight)?;
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
        if !self.is_hubbed() && !self.policy.is_seed::<M>() {
            self.link.replied::<M>(self.now, call.to_bits(), reply, &self.policy.failing, &mut self.rng);
        }
    }

    fn observe_auth(&mut self, token: u16, reply: &Reply) {
        self.auth.replied::<M>(self.now, token, reply, &self.policy.auth, &mut self.rng);
    }

    // ---------------------------------------------------------------- poll

    fn poll_replied(&mut self, serial: u32, reply: &Reply) -> bool {
        let Some(poll) = self.poll.filter(|poll| poll.serial == serial) else { return false };
        self.poll = None;
        self.keep_lane_for_refusal(serial);
        if self.policy.is_seed::<M>() {
            self.seed_auth(reply, poll.got);
        } else {
            self.observe_auth(poll.token, reply);
        }
        match reply {
            // What is here already is nothing new: a server that repeats itself is not asked without a pause.
            Ok(_) if poll.ran => {
                self.gate.brought(self.now, poll.kind, poll.got, poll.count, &self.policy);
            }
            Ok(_) => self.gate.empty::<M>(poll.sent, self.now, poll.kind, &self.policy, &mut self.rng),
            Err(error) => self.gate.failed::<M>(poll.sent, self.now, error, &self.policy, &mut self.rng),
        }
        true
    }

    /// The seed counts authorisation failures of polls alone, and forgets them with any answered poll.
    fn seed_auth(&mut self, reply: &Reply, got: u16) {
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
    fn refusal_replied(&mut self, serial: u32, reply: &Reply) -> bool {
        let sent = |refusal: &&mut Refusal| refusal.in_flight && refusal.serial == serial;
        let Some(refusal) = self.refusal.as_mut().filter(sent) else { return false };
        refusal.in_flight = false;
        let (token, own_lane) = (refusal.token, refusal.own_lane);
        self.observe_auth(token, reply);
        let repeats = match reply {
            // It had no effect, so a repeat is safe.
            Err(error) if matches!(error.fault, Fault::NotSent | Fault::Unauthorized | Fault::Throttled) => {
                self.plan_refusal(error)
            }
            Ok(_) | Err(_) => false,
        };
        if !repeats {
            self.refusal = None;
        }
        own_lane
    }

    /// Plans the refusal's next try; false: it would come too late.
    fn plan_refusal(&mut self, error: &CallError) -> bool {
        let Some(refusal) = &mut self.refusal else { return false };
        refusal.attempt = refusal.attempt.saturating_add(1);
        let delay = self.policy.failing.delay::<M>(u32::from(refusal.attempt), &mut self.rng);
        let asked = retry_after::<M>(self.now, error, &self.policy, &mut self.rng);
        refusal.due = self.now.plus(delay).max(asked);
        refusal.due < refusal.expires
    }

    // ---------------------------------------------------------------- update and spill

    fn report_in_flight(&self, index: u16, serial: u32) -> Option<InFlight> {
        let report = &self.table.get(index)?.report;
        (report.in_flight != InFlight::Nothing && report.serial == serial).then_some(report.in_flight)
    }

    fn update_replied(&mut self, index: u16, reply: &Reply) {
        let Some(entry) = self.table.get_mut(index) else { return };
        let report = &mut entry.report;
        let took_next = report.in_flight == InFlight::UpdateAndTakeNext;
        let (serial, token, settled) = (report.serial, report.token, report.settled);
        report.in_flight = InFlight::Nothing;
        if !self.policy.is_seed::<M>() {
            self.observe_auth(token, reply);
        }
        if took_next {
            self.keep_lane_for_refusal(serial);
            self.take_next_replied(index, reply);
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
            self.gate.hold_until(retry_after::<M>(self.now, error, &self.policy, &mut self.rng));
        }
        // A poll beside it may have failed since it was sent: that is the later news.
        if self.gate.is_failing(self.now) {
            return;
        }
        if report.ran {
            self.gate.brought(self.now, Kind::Short, 1, 1, &self.policy);
        } else if reply.is_ok() {
            self.gate.empty::<M>(report.sent, self.now, Kind::Short, &self.policy, &mut self.rng);
        }
    }

    fn update_failed(&mut self, index: u16, took_next: bool, error: &CallError) {
        let seed = self.policy.is_seed::<M>();
        if error.fault == Fault::Rejected && !seed {
            return self.spend(index, Loss::Rejected);
        }
        let Some(entry) = self.table.get_mut(index) else { return };
        let report = &mut entry.report;
        report.due = self.now;
        if error.fault == Fault::Unsupported && !seed && took_next {
            self.knows_take_next = false;
        } else if error.fault == Fault::Unauthorized && !seed && !M::UNAUTHORIZED_USES_ATTEMPT {
            // At once with the next token; if that is refused too, no token helps, and each refusal costs one.
            let refused = u32::from(report.refusals);
            report.due = self.now.plus(self.policy.auth.delay::<M>(refused, &mut self.rng));
            report.refusals = report.refusals.saturating_add(1);
        } else {
            report.count_failure::<M>(self.now, error, &self.policy, &mut self.rng);
        }
        let (due, attempt) = (report.due, report.attempt);
        if report.is_final() {
            self.after_failed_result(index, attempt);
        } else {
            self.repeat_yield_or_spend(index, due);
        }
    }

    fn after_failed_result(&mut self, index: u16, attempt: u16) {
        let exhausted = attempt >= TRIES;
        if exhausted && (self.policy.is_seed::<M>() || M::GIVES_UP) {
            self.spend(index, Loss::GaveUp);
        } else if self.has_store() && (exhausted || self.stores_at_once()) {
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
        M::YIELD_RETRIED_FOR_EVER
            || report.unsure_since == Instant::FAR_FUTURE
            || at.later(&self.policy.call_timeout) < report.unsure_since.plus(report.callback_after)
    }

    /// The drain's time is over, so that a store is all that a result waits for.
    fn stores_at_once(&self) -> bool {
        matches!(self.course.stage, Stage::Recalling | Stage::Aborted)
    }

    /// Has an entry's result handed to the store next.
    pub(crate) fn spill_next(&mut self, index: u16) {
        self.table.unset(Heap::Report, index);
        let Some(entry) = self.table.get_mut(index).filter(|entry| !entry.report.spill_next) else { return };
        entry.report.spill_next = true;
        self.table.push(List::Spill, index);
    }

    fn spill_replied(&mut self, index: u16, reply: &Reply) {
        let [.., last] = &self.policy.update;
        let due = self.now.later(last);
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.report.in_flight = InFlight::Nothing;
        entry.report.due = due;
        match (reply, self.course.stage) {
            (Ok(_), _) => self.table.release(index),
            (Err(_), Stage::Aborted) => self.spend(index, Loss::Aborted),
            // The store is full or broken: the server is tried again, and the store after its next failure.
            (Err(_), _) => self.table.set(Heap::Report, index),
        }
    }

    // ---------------------------------------------------------------- lease

    fn extend_replied(&mut self, index: u16, serial: u32, reply: &Reply) -> bool {
        let Some(entry) = self.table.get_mut(index) else { return false };
        let own = entry.lease.in_flight == Extension::Own;
        if entry.lease.in_flight == Extension::None || entry.lease.serial != serial {
            return false;
        }
        entry.lease.in_flight = Extension::None;
        let held = !matches!(entry.phase, Phase::Free | Phase::Spent(_)) && !entry.report.settled;
        let (token, kept) = (entry.lease.token, held && entry.lease.length > 0);
        self.observe_auth(token, reply);
        if kept && own {
            self.plan_extension(index, reply);
        } else if kept {
            self.table.set(Heap::Lease, index);
        }
        true
    }

    fn plan_extension(&mut self, index: u16, reply: &Reply) {
        let Some(entry) = self.table.get_mut(index) else { return };
        let lease = &mut entry.lease;
        let fault = reply.as_ref().err().map(|error| error.fault);
        let refused = fault == Some(Fault::Unauthorized);
        lease.due = match reply {
            Ok(_) => lease.sent.plus(four_fifths(lease.length)),
            Err(_) if refused && !lease.refused => self.now,
            // The server does not know the task: there is no lease to keep.
            Err(_) if fault == Some(Fault::Rejected) => return,
            Err(error) => {
                let pause = (lease.length / 16).clamp(EXTEND_RETRY.0, EXTEND_RETRY.1);
                let asked = retry_after::<M>(self.now, error, &self.policy, &mut self.rng);
                self.now.plus(pause).max(asked)
            }
        };
        lease.refused = refused;
        self.table.set(Heap::Lease, index);
    }
}

impl Report {
    /// A report failed: counts that, and plans the next.
    fn count_failure<M: Mutant>(&mut self, now: Instant, error: &CallError, policy: &Policy, rng: &mut Rng) {
        self.attempt = self.attempt.saturating_add(1);
        if matches!(error.fault, Fault::Unknown | Fault::Server) {
            self.unsure_since = self.unsure_since.min(self.sent);
        }
        let [.., last] = &policy.update;
        let delay = policy.update.get(usize::from(self.attempt)).unwrap_or(last);
        self.due = now.later(delay).max(retry_after::<M>(now, error, policy, rng));
    }
}
