//! What comes next, in a fixed order: what is spent, the end, the token, leases due, results due, new work.

use core::time::Duration;

use super::action::{Action, Loss, Why};
use super::entry::{Entry, Extension, InFlight, Phase};
use super::gate::Kind;
use super::ids::{Lane, SlotId};
use super::mutant::Mutant;
use super::policy::Rules;
use super::table::{Heap, List};
use super::time::Instant;
use super::worker::{Allowance, Blocked, Machine, Mode, Poll, Refusal};

impl<S: AsRef<[Entry]> + AsMut<[Entry]>, M: Mutant> Machine<S, M> {
    pub(crate) fn next_action(&mut self, allowed: Allowance) -> (Action, Option<Blocked>) {
        self.advance_mode();
        // A task whose lease is over is the server's again.
        self.refusal = self.refusal.filter(|refusal| refusal.in_flight || refusal.expires > self.now);
        if let Some(action) = self.local_action() {
            return (action, None);
        }
        let mut blocked = None;
        if self.mode != Mode::Aborted && !self.lanes_full() && self.link_allows() {
            match self.call_due(allowed) {
                Due::Call(action) => return (action, None),
                Due::Blocked(what) => blocked = Some(what),
                Due::Nothing => {}
            }
        }
        let (until, why) = self.next_deadline();
        (Action::Wait { until, why }, blocked)
    }

    pub(crate) fn link_allows(&self) -> bool {
        self.hubbed || self.link.allows(self.now)
    }

    fn advance_mode(&mut self) {
        if matches!(self.mode, Mode::Draining { recall_at: Some(at) } if at <= self.now) {
            self.cursor = 0;
            self.mode = Mode::Recalling { abort_at: self.now.after(self.policy.recall_timeout) };
        }
        if matches!(self.mode, Mode::Recalling { abort_at } if abort_at <= self.now) {
            self.cursor = 0;
            self.mode = Mode::Aborted;
        }
    }

    // ---------------------------------------------------------------- without the server

    fn local_action(&mut self) -> Option<Action> {
        if let Some(action) = self.pass_table() {
            return Some(action);
        }
        if let Some(index) = self.table.pop(List::Spent) {
            return self.discard(index);
        }
        if let Some(index) = self.table.pop(List::Spill) {
            return Some(self.spill(index));
        }
        let draining = matches!(self.mode, Mode::Draining { .. } | Mode::Recalling { .. });
        let answered = self.poll.is_none() && self.refusal.is_none();
        let done = (draining && answered) || self.mode == Mode::Aborted;
        if done && self.table.held() == 0 {
            self.mode = Mode::Stopped;
            return Some(Action::Stopped);
        }
        None
    }

    fn discard(&mut self, index: u16) -> Option<Action> {
        let entry = self.table.get(index)?;
        let Phase::Spent(why) = entry.phase else { return None };
        let slot = entry.slot(index);
        self.table.release(index);
        Some(Action::Discard { slot, why })
    }

    fn spill(&mut self, index: u16) -> Action {
        let call = self.next_call(Lane::Report(index));
        let now = self.now;
        let mut slot = SlotId::new(index, 0);
        if let Some(entry) = self.table.get_mut(index) {
            slot = entry.slot(index);
            entry.report.spill_next = false;
            entry.report.serial = call.serial();
            entry.report.sent = now;
            entry.report.in_flight = InFlight::Spill;
        }
        Action::Spill { call, slot }
    }

    /// Goes through the table once, from the cursor to the next entry that has to be recalled or given up.
    fn pass_table(&mut self) -> Option<Action> {
        if !matches!(self.mode, Mode::Recalling { .. } | Mode::Aborted) {
            return None;
        }
        while self.cursor < self.table.capacity() {
            let index = self.cursor;
            self.cursor = self.cursor.saturating_add(1);
            let Some(entry) = self.table.get(index) else { break };
            let (phase, report, slot) = (entry.phase, entry.report, entry.slot(index));
            let keeps = self.policy.store && report.is_final();
            let idle = report.in_flight == InFlight::Nothing;
            match (phase, self.mode == Mode::Aborted) {
                (Phase::Running, false) => {
                    if let Some(entry) = self.table.get_mut(index) {
                        entry.phase = Phase::Recalled;
                    }
                    return Some(Action::Recall { slot });
                }
                (Phase::Reporting, false) if keeps && idle => self.spill_next(index),
                (Phase::Running | Phase::Recalled, true) => self.spend(index, Loss::Aborted),
                (Phase::Reporting, true) => self.abort_report(index, keeps),
                _ => {}
            }
        }
        None
    }

    fn abort_report(&mut self, index: u16, keeps: bool) {
        let Some(entry) = self.table.get_mut(index) else { return };
        let in_flight = entry.report.in_flight;
        if in_flight == InFlight::Spill {
            return;
        }
        if in_flight != InFlight::Nothing {
            // Whatever the server says now is not waited for.
            let promised = in_flight == InFlight::UpdateAndTakeNext && !entry.report.brought;
            entry.report.in_flight = InFlight::Nothing;
            self.calls = self.calls.saturating_sub(1);
            self.promised = self.promised.saturating_sub(u16::from(promised));
        }
        if keeps {
            self.spill_next(index);
        } else {
            self.spend(index, Loss::Aborted);
        }
    }

    // ---------------------------------------------------------------- with the server

    fn call_due(&mut self, allowed: Allowance) -> Due {
        let now = self.now;
        if self.refresh_wanted().is_some_and(|at| at <= now) {
            if !allowed.calls {
                return Due::Blocked(Blocked::Call);
            }
            let call = self.next_call(Lane::Refresh);
            self.auth.refresh_sent(call.serial());
            self.count_call(call);
            return Due::Call(Action::Refresh { call });
        }
        if self.auth.opens_at().is_none_or(|at| at > now) && self.policy.rules == Rules::Downbeat {
            return Due::Nothing;
        }
        match self.obligation_due(allowed) {
            Due::Nothing => self.poll_due(allowed),
            due @ (Due::Call(_) | Due::Blocked(_)) => due,
        }
    }

    /// When a refresh is wanted: while nothing is held and nothing asked for, a fresh token may grow old.
    pub(crate) fn refresh_wanted(&self) -> Option<Instant> {
        let idle = self.table.held() == 0 && self.poll.is_none() && self.refusal.is_none();
        let asleep = self.mode == Mode::Paused && idle;
        self.auth.refresh_at::<M>().filter(|_| !asleep)
    }

    fn obligation_due(&mut self, allowed: Allowance) -> Due {
        let now = self.now;
        if let Some(refusal) = self.refusal.filter(|refusal| !refusal.in_flight && refusal.due <= now) {
            if !allowed.calls {
                return Due::Blocked(Blocked::Call);
            }
            let call = self.next_call(Lane::Refuse);
            let token = self.auth.generation();
            self.count_call(call);
            self.refusal =
                Some(Refusal { serial: call.serial(), token, in_flight: true, own_lane: true, ..refusal });
            return Due::Call(Action::Refuse { call, key: refusal.key });
        }
        if let Some((index, _)) = self.table.first(Heap::Lease).filter(|(_, due)| *due <= now) {
            return if allowed.calls { Due::Call(self.extend(index)) } else { Due::Blocked(Blocked::Call) };
        }
        let Some((index, _)) = self.table.first(Heap::Report).filter(|(_, due)| *due <= now) else {
            return Due::Nothing;
        };
        if !self.yield_is_safe(index, now) {
            self.spend(index, Loss::UnsafeYield);
            return self
                .table
                .pop(List::Spent)
                .and_then(|spent| self.discard(spent))
                .map_or(Due::Nothing, Due::Call);
        }
        if !allowed.calls {
            return Due::Blocked(Blocked::Call);
        }
        Due::Call(self.update(index, allowed.polls))
    }

    fn extend(&mut self, index: u16) -> Action {
        let call = self.next_call(Lane::Extend(index));
        let (now, token) = (self.now, self.auth.generation());
        self.table.unset(Heap::Lease, index);
        self.count_call(call);
        let mut slot = SlotId::new(index, 0);
        if let Some(entry) = self.table.get_mut(index) {
            slot = entry.slot(index);
            entry.lease.in_flight = Extension::Own;
            entry.lease.sent = now;
            entry.lease.serial = call.serial();
            entry.lease.token = token;
        }
        Action::Extend { call, slot }
    }

    fn update(&mut self, index: u16, polls_allowed: bool) -> Action {
        let (now, token) = (self.now, self.auth.generation());
        let take_next = polls_allowed && self.may_take_next(index);
        let call = self.next_call(Lane::Report(index));
        self.table.unset(Heap::Report, index);
        self.count_call(call);
        if take_next {
            self.promised = self.promised.saturating_add(1);
        }
        let (mut slot, mut attempt) = (SlotId::new(index, 0), 0);
        if let Some(entry) = self.table.get_mut(index) {
            slot = entry.slot(index);
            attempt = entry.report.attempt;
            entry.report.in_flight = if take_next { InFlight::UpdateAndTakeNext } else { InFlight::Update };
            entry.report.sent = now;
            entry.report.serial = call.serial();
            entry.report.token = token;
            entry.report.brought = false;
            entry.report.ran = false;
        }
        Action::Update { call, slot, attempt, take_next }
    }

    /// An update that takes the next task is a poll too: it needs a place, an open gate and no poll in flight, and a
    /// repeat would take a second task, so the first try alone may do it.
    fn may_take_next(&self, index: u16) -> bool {
        let Some(report) = self.table.get(index).map(|entry| &entry.report) else { return false };
        let open = match self.mode {
            Mode::Open => true,
            Mode::Paused => M::TAKE_NEXT_IGNORES_PAUSE,
            Mode::Draining { .. } => M::TAKE_NEXT_IGNORES_DRAIN,
            Mode::Recalling { .. } | Mode::Aborted | Mode::Stopped => false,
        };
        self.policy.take_next
            && self.knows_take_next
            && report.is_final()
            && report.attempt == 0
            && open
            && self.poll.is_none()
            && (self.gate.at <= self.now || M::TAKE_NEXT_IGNORES_GATE)
            && self.room() > 0
    }

    fn poll_due(&mut self, allowed: Allowance) -> Due {
        if self.policy.rules == Rules::Seed && self.seed_skips() {
            return Due::Nothing;
        }
        if self.mode != Mode::Open || self.poll.is_some() || self.gate.at > self.now || self.room() == 0 {
            return Due::Nothing;
        }
        if !(allowed.calls && allowed.polls) {
            return Due::Blocked(Blocked::Poll);
        }
        let kind = self.gate.kind(&self.policy);
        let (count, wait) = match kind {
            // A probe must be answered at once: all other calls wait for it (S20).
            Kind::Long if self.link.failures() > 0 => (1, Duration::ZERO),
            Kind::Long => (1, self.policy.long_poll.min(allowed.longest_wait).min(self.undisturbed())),
            Kind::Short | Kind::FollowUp => (self.room(), Duration::ZERO),
        };
        let call = self.next_call(Lane::Poll);
        let (sent, token) = (self.now, self.auth.generation());
        self.poll = Some(Poll { sent, serial: call.serial(), count, got: 0, ran: false, token, kind });
        self.count_call(call);
        Due::Call(Action::Poll { call, count, wait })
    }

    /// The seed goes through its loop also where it may not poll: paused, or inside its authorisation backoff.
    fn seed_skips(&mut self) -> bool {
        let now = self.now;
        let polls = matches!(self.mode, Mode::Open | Mode::Paused);
        if !polls || self.poll.is_some() || self.gate.at > now || self.room() == 0 {
            return false;
        }
        let refused = self.auth.opens_at().is_some_and(|at| at > now);
        let skips = self.mode == Mode::Paused || refused;
        if skips {
            self.gate.skip(now, &self.policy, &mut self.rng);
        }
        skips
    }

    /// How long a call may take before another is due, where there is one lane only.
    fn undisturbed(&self) -> Duration {
        if self.policy.max_calls > 1 {
            return Duration::MAX;
        }
        self.next_obligation().map_or(Duration::MAX, |(at, _)| self.now.until(at))
    }

    // ---------------------------------------------------------------- until when

    /// The first obligation towards the server other than a poll, whether or not it can be met then.
    fn next_obligation(&self) -> Option<(Instant, Why)> {
        let refresh = self.refresh_wanted().map(|at| (at, Why::Auth));
        let all = [self.next_refusal(), self.next_lease(), self.next_report()];
        all.iter().fold(refresh, |first, next| earlier(first, *next))
    }

    /// When something can be done next, and what; or what is in the way.
    pub(crate) fn next_deadline(&self) -> (Option<Instant>, Why) {
        let mode = match self.mode {
            Mode::Draining { recall_at } => recall_at.map(|at| (at, Why::Draining)),
            Mode::Recalling { abort_at } => Some((abort_at, Why::Draining)),
            Mode::Open | Mode::Paused | Mode::Aborted | Mode::Stopped => None,
        };
        let call = if self.mode == Mode::Aborted { None } else { self.next_sending() };
        match earlier(mode, call) {
            Some((at, why)) => (Some(at), why),
            None => (None, self.obstacle()),
        }
    }

    /// When the next call can be sent: an obligation that is blocked must neither wake the driver nor hide another.
    fn next_sending(&self) -> Option<(Instant, Why)> {
        if self.lanes_full() && !M::DEADLINE_OF_BLOCKED {
            return None;
        }
        let link = if self.hubbed { Instant::ZERO } else { self.link.opens_at()? };
        let auth = match self.policy.rules {
            Rules::Downbeat => self.auth.opens_at(),
            Rules::Seed => Some(Instant::ZERO),
        };
        let ready = |due: Option<(Instant, Why)>| {
            due.map(|due| raise(due, link, Why::Unreachable))
                .filter(|(at, _)| *at > self.now || M::DEADLINE_OF_BLOCKED)
        };
        let refresh = ready(self.refresh_wanted().map(|at| (at, Why::Auth)));
        let Some(gate) = auth else { return refresh };
        let authorised = [self.next_refusal(), self.next_lease(), self.next_report(), self.next_poll()];
        authorised
            .iter()
            .fold(refresh, |first, due| earlier(first, ready(due.map(|due| raise(due, gate, Why::Auth)))))
    }

    fn next_refusal(&self) -> Option<(Instant, Why)> {
        self.refusal.filter(|refusal| !refusal.in_flight).map(|refusal| (refusal.due, Why::Update))
    }

    fn next_lease(&self) -> Option<(Instant, Why)> {
        self.table.first(Heap::Lease).map(|(_, due)| (due, Why::Lease))
    }

    fn next_report(&self) -> Option<(Instant, Why)> {
        self.table.first(Heap::Report).map(|(_, due)| (due, Why::Update))
    }

    fn next_poll(&self) -> Option<(Instant, Why)> {
        if M::PAUSED_SPINS && self.mode == Mode::Paused {
            return Some((self.now.after(self.policy.poll_interval), Why::Paused));
        }
        let loops = match (self.mode, self.policy.rules) {
            (Mode::Open, _) | (Mode::Paused, Rules::Seed) => true,
            (Mode::Paused | Mode::Draining { .. } | Mode::Recalling { .. }, _)
            | (Mode::Aborted | Mode::Stopped, _) => false,
        };
        (loops && self.poll.is_none() && self.room() > 0).then_some((self.gate.at, self.gate.why))
    }

    fn obstacle(&self) -> Why {
        match self.mode {
            Mode::Draining { .. } | Mode::Recalling { .. } | Mode::Aborted | Mode::Stopped => Why::Draining,
            _ if self.lanes_full() => Why::Busy,
            _ if self.link.failures() > 0 => Why::Unreachable,
            _ if self.auth.is_missing() => Why::Auth,
            Mode::Paused => Why::Paused,
            _ if self.poll.is_some() => Why::InFlight,
            _ if self.room() == 0 => Why::Full,
            Mode::Open => Why::Busy,
        }
    }
}

/// The earlier of two deadlines; of equal ones the first.
fn earlier(first: Option<(Instant, Why)>, next: Option<(Instant, Why)>) -> Option<(Instant, Why)> {
    match (first, next) {
        (Some((at, _)), Some((before, _))) if before < at => next,
        (Some(_), _) => first,
        (None, _) => next,
    }
}

/// A deadline behind a gate: the later of the two, and what is waited for.
fn raise((at, why): (Instant, Why), gate: Instant, reason: Why) -> (Instant, Why) {
    if at < gate { (gate, reason) } else { (at, why) }
}

/// Whether a call is due.
enum Due {
    Call(Action),
    Blocked(Blocked),
    Nothing,
}
