//! What comes next, in a fixed order: what is spent, the end, the token, leases due, results due, new work.

use core::time::Duration;

use super::action::{Action, Loss, Why};
use super::course::{Course, Stage};
use super::entry::{Entry, Extension, InFlight, Phase};
use super::gate::Kind;
use super::ids::{Lane, SlotId};
use super::mutant::Mutant;
use super::table::{Heap, List};
use super::time::{Instant, brief, micros};
use super::worker::{Blocked, Machine, Poll, Turn};

impl<S: AsRef<[Entry]> + AsMut<[Entry]>, M: Mutant> Machine<S, M> {
    pub(crate) fn next_action(&mut self, turn: &mut Turn) -> Action {
        self.advance_stage();
        // A task whose lease is over is the server's again.
        if self.refusal.as_ref().is_some_and(|refusal| !refusal.in_flight && refusal.expires <= self.now) {
            self.refusal = None;
        }
        if let Some(action) = self.local_action() {
            return action;
        }
        if self.course.stage != Stage::Aborted
            && !self.lanes_full()
            && self.link_allows()
            && let Some(action) = self.call_due(turn)
        {
            return action;
        }
        let (until, why) = self.next_deadline();
        Action::Wait { until, why }
    }

    pub(crate) fn link_allows(&self) -> bool {
        self.is_hubbed() || self.link.allows(self.now)
    }

    fn advance_stage(&mut self) {
        if self.course.stage == Stage::Draining && self.course.ends <= self.now {
            self.cursor = 0;
            let ends = self.now.later(&self.policy.recall_timeout);
            self.course = Course { stage: Stage::Recalling, ends };
        }
        if self.course.stage == Stage::Recalling && self.course.ends <= self.now {
            self.cursor = 0;
            self.course = Course::of(Stage::Aborted);
        }
    }

    // ---------------------------------------------------------------- without the server

    fn local_action(&mut self) -> Option<Action> {
        if matches!(self.course.stage, Stage::Recalling | Stage::Aborted)
            && let Some(slot) = self.pass_table()
        {
            return Some(Action::Recall { slot });
        }
        if let Some(index) = self.table.pop(List::Spent) {
            return self.discard(index);
        }
        if M::STORE
            && let Some(index) = self.table.pop(List::Spill)
        {
            return Some(self.spill(index));
        }
        let answered = self.poll.is_none() && self.refusal.is_none();
        let done = self.course.stage == Stage::Aborted || self.course.stage >= Stage::Draining && answered;
        if done && self.table.held() == 0 {
            self.course = Course::of(Stage::Stopped);
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

    /// Goes through the table once, from the cursor, and settles each entry that is given up; stops at one that has
    /// to be recalled.
    fn pass_table(&mut self) -> Option<SlotId> {
        let aborted = self.course.stage == Stage::Aborted;
        while self.cursor < self.table.capacity() {
            let index = self.cursor;
            self.cursor = self.cursor.saturating_add(1);
            let has_store = self.has_store();
            let Some(entry) = self.table.get_mut(index) else { break };
            let keeps = has_store && entry.report.is_final();
            let idle = entry.report.in_flight == InFlight::Nothing;
            match (entry.phase, aborted) {
                (Phase::Running, false) => {
                    entry.phase = Phase::Recalled;
                    return Some(entry.slot(index));
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
        if M::STORE && in_flight == InFlight::Spill {
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

    fn call_due(&mut self, turn: &mut Turn) -> Option<Action> {
        if self.refresh_wanted() <= self.now {
            if !self.may_call(turn) {
                return None;
            }
            let call = self.server_call(Lane::Refresh);
            self.auth.refresh_sent(call.serial());
            return Some(Action::Refresh { call });
        }
        if !self.auth.allows(self.now) && !self.policy.is_seed::<M>() {
            return None;
        }
        match self.obligation_due(turn) {
            None if !M::HUB || turn.blocked.is_none() => self.poll_due(turn),
            due => due,
        }
    }

    /// Whether the hub lets a call be made that is due; if not, that is noted.
    fn may_call(&self, turn: &mut Turn) -> bool {
        let may = !M::HUB || turn.calls;
        if !may {
            turn.blocked = Some(Blocked::Call);
        }
        may
    }

    /// When a refresh is wanted; `FAR_FUTURE`: never. While nothing is held and nothing asked for, a fresh token may
    /// grow old.
    pub(crate) fn refresh_wanted(&self) -> Instant {
        let idle = self.table.held() == 0 && self.poll.is_none() && self.refusal.is_none();
        let asleep = self.course.stage == Stage::Paused && idle;
        if asleep { Instant::FAR_FUTURE } else { self.auth.refresh_at::<M>() }
    }

    fn obligation_due(&mut self, turn: &mut Turn) -> Option<Action> {
        let now = self.now;
        if self.next_refusal() <= now {
            return if self.may_call(turn) { self.refuse_again() } else { None };
        }
        if let Some(index) = self.table.due_by(Heap::Lease, now) {
            return if self.may_call(turn) { Some(self.extend(index)) } else { None };
        }
        let index = self.table.due_by(Heap::Report, now)?;
        if !self.yield_is_safe(index, now) {
            self.spend(index, Loss::UnsafeYield);
            let spent = self.table.pop(List::Spent)?;
            return self.discard(spent);
        }
        if self.may_call(turn) { Some(self.update(index, !M::HUB || turn.take_next)) } else { None }
    }

    fn refuse_again(&mut self) -> Option<Action> {
        let call = self.server_call(Lane::Refuse);
        let refusal = self.refusal.as_mut()?;
        refusal.serial = call.serial();
        refusal.token = self.auth.generation();
        refusal.in_flight = true;
        refusal.own_lane = true;
        Some(Action::Refuse { call, key: refusal.key })
    }

    fn extend(&mut self, index: u16) -> Action {
        let call = self.server_call(Lane::Extend(index));
        let (now, token) = (self.now, self.auth.generation());
        self.table.unset(Heap::Lease, index);
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

    fn update(&mut self, index: u16, may_poll: bool) -> Action {
        let (now, token) = (self.now, self.auth.generation());
        let take_next = may_poll && self.may_take_next(index);
        let call = self.server_call(Lane::Report(index));
        self.table.unset(Heap::Report, index);
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
        let open = match self.course.stage {
            Stage::Open => true,
            Stage::Paused => M::TAKE_NEXT_IGNORES_PAUSE,
            Stage::Draining => M::TAKE_NEXT_IGNORES_DRAIN,
            Stage::Recalling | Stage::Aborted | Stage::Stopped => false,
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

    fn poll_due(&mut self, turn: &mut Turn) -> Option<Action> {
        if self.policy.is_seed::<M>() && self.seed_skips() {
            return None;
        }
        let open = self.course.stage == Stage::Open && self.poll.is_none() && self.gate.at <= self.now;
        let room = self.room();
        if !open || room == 0 {
            return None;
        }
        if M::HUB && !(turn.calls && turn.polls) {
            turn.blocked = Some(Blocked::Poll);
            return None;
        }
        let kind = self.gate.kind(&self.policy);
        let count = if kind == Kind::Long { 1 } else { room };
        // A probe must be answered at once: all other calls wait for it (S20).
        let long = kind == Kind::Long && self.link.failures() == 0;
        let wait = if long { brief(self.longest_wait(turn)) } else { Duration::ZERO };
        let call = self.server_call(Lane::Poll);
        let (sent, token) = (self.now, self.auth.generation());
        self.poll = Some(Poll { sent, serial: call.serial(), count, got: 0, ran: false, token, kind });
        Some(Action::Poll { call, count, wait })
    }

    /// The seed goes through its loop also where it may not poll: paused, or inside its authorisation backoff.
    fn seed_skips(&mut self) -> bool {
        let now = self.now;
        let polls = self.course.stage <= Stage::Paused;
        if !polls || self.poll.is_some() || self.gate.at > now || self.room() == 0 {
            return false;
        }
        let skips = self.course.stage == Stage::Paused || self.auth.gate() > now;
        if skips {
            self.gate.skip::<M>(now, &self.policy, &mut self.rng);
        }
        skips
    }

    /// How long the server may hold a poll, in microseconds. Where there is one lane only, no longer than until
    /// another call is due.
    fn longest_wait(&self, turn: &Turn) -> u64 {
        let mut wait = micros(self.policy.long_poll);
        if M::HUB {
            wait = wait.min(micros(turn.longest_wait));
        }
        if self.policy.max_calls > 1 {
            return wait;
        }
        let first = self.refresh_wanted().min(self.next_refusal());
        let first = first.min(self.table.first_due(Heap::Lease)).min(self.table.first_due(Heap::Report));
        wait.min(first.as_micros().saturating_sub(self.now.as_micros()))
    }

    // ---------------------------------------------------------------- until when

    /// When something can be done next, and what; or what is in the way.
    pub(crate) fn next_deadline(&self) -> (Option<Instant>, Why) {
        let mut first = Horizon {
            now: self.now,
            link: if self.is_hubbed() { Instant::ZERO } else { self.link.gate() },
            auth: Instant::ZERO,
            at: self.course.ends,
            why: Why::Draining,
        };
        if self.course.stage != Stage::Aborted && (!self.lanes_full() || M::DEADLINE_OF_BLOCKED) {
            self.next_sending(&mut first);
        }
        if first.at == Instant::FAR_FUTURE { (None, self.obstacle()) } else { (Some(first.at), first.why) }
    }

    /// When the next call can be sent: an obligation that is blocked must neither wake the driver nor hide another.
    fn next_sending(&self, first: &mut Horizon) {
        if !self.is_hubbed() && self.link.is_probing() {
            return;
        }
        first.offer::<M>(self.refresh_wanted(), Why::Auth);
        if !self.policy.is_seed::<M>() {
            if self.auth.is_missing() {
                return;
            }
            first.auth = self.auth.gate();
        }
        first.offer::<M>(self.next_refusal(), Why::Update);
        first.offer::<M>(self.table.first_due(Heap::Lease), Why::Lease);
        first.offer::<M>(self.table.first_due(Heap::Report), Why::Update);
        if M::PAUSED_SPINS && self.course.stage == Stage::Paused {
            first.offer::<M>(self.now.later(&self.policy.poll_interval), Why::Paused);
        } else if self.may_poll_later() {
            first.offer::<M>(self.gate.at, self.gate.why);
        }
    }

    fn next_refusal(&self) -> Instant {
        match &self.refusal {
            Some(refusal) if !refusal.in_flight => refusal.due,
            Some(_) | None => Instant::FAR_FUTURE,
        }
    }

    fn may_poll_later(&self) -> bool {
        let last = if self.policy.is_seed::<M>() { Stage::Paused } else { Stage::Open };
        self.course.stage <= last && self.poll.is_none() && self.room() > 0
    }

    fn obstacle(&self) -> Why {
        match self.course.stage {
            Stage::Draining | Stage::Recalling | Stage::Aborted | Stage::Stopped => Why::Draining,
            _ if self.lanes_full() => Why::Busy,
            _ if self.link.failures() > 0 => Why::Unreachable,
            _ if self.auth.is_missing() => Why::Auth,
            Stage::Paused => Why::Paused,
            _ if self.poll.is_some() => Why::InFlight,
            _ if self.room() == 0 => Why::Full,
            Stage::Open => Why::Busy,
        }
    }
}

/// The first deadline of those that were offered, behind the gates.
struct Horizon {
    now: Instant,
    link: Instant,
    auth: Instant,
    at: Instant,
    why: Why,
}

impl Horizon {
    /// Takes an obligation into account: it can be met when it is due and both gates are open, and is waited for if
    /// that is later than now. Of equal deadlines the first counts.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn offer<M: Mutant>(&mut self, due: Instant, why: Why) {
        let (at, why) = if due < self.auth { (self.auth, Why::Auth) } else { (due, why) };
        let (at, why) = if at < self.link { (self.link, Why::Unreachable) } else { (at, why) };
        if at < self.at && (at > self.now || M::DEADLINE_OF_BLOCKED) {
            (self.at, self.why) = (at, why);
        }
    }
}
