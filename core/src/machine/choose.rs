//! What comes next, in a fixed order: what is spent, the end, the token, leases due, results due, new work.

use core::time::Duration;

use super::action::{Action, Instead, Loss, RecallReason, Why};
use super::cx::{Cx, cx};
use super::entry::{Heap, InFlight, Phase, SideCall, Storage, Whose};
use super::flaw::Flaw;
use super::gate::PollKind;
use super::ids::{CallKind, EntryId};
use super::kind::Kind;
use super::lifecycle::{LifecycleKind, LifecycleState};
use super::policy::OnLapse;
use super::table::List;
use super::time::{Instant, brief, micros};
use super::worker::{Blocked, Machine, Poll, Turn};

/// What a worker has to ask of the server, or may.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Obligation {
    Refresh,
    GiveBack,
    Lease,
    Report,
    Ask,
    Poll,
}

/// The order in which obligations are met, and in which their deadlines are looked at. The first of equal
/// deadlines counts. An action that is due and a wait for it are read from the same table.
const ORDER: [Obligation; 6] = [
    Obligation::Refresh,
    Obligation::GiveBack,
    Obligation::Lease,
    Obligation::Report,
    Obligation::Ask,
    Obligation::Poll,
];

impl<S: Storage, M: Kind> Machine<S, M> {
    pub(crate) fn next_action(&mut self, turn: &mut Turn) -> Action {
        self.advance_lifecycle();
        // A task whose lease is over is the server's again.
        if self
            .give_back
            .as_ref()
            .is_some_and(|give_back| !give_back.in_flight && give_back.expires <= self.now)
        {
            self.give_back = None;
        }
        if let Some(action) = self.local_action() {
            return action;
        }
        if self.lifecycle.kind != LifecycleKind::Aborted
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

    fn advance_lifecycle(&mut self) {
        if self.lifecycle.kind == LifecycleKind::Draining && self.lifecycle.ends <= self.now {
            self.cursor = 0;
            let ends = self.now.saturating_add_ref(&self.policy.recall_timeout);
            self.lifecycle = LifecycleState { kind: LifecycleKind::Recalling, ends };
        }
        if self.lifecycle.kind == LifecycleKind::Recalling && self.lifecycle.ends <= self.now {
            self.cursor = 0;
            self.lifecycle = LifecycleState::new(LifecycleKind::Aborted);
        }
    }

    // ---------------------------------------------------------------- without the server

    fn local_action(&mut self) -> Option<Action> {
        if matches!(self.lifecycle.kind, LifecycleKind::Recalling | LifecycleKind::Aborted)
            && let Some(id) = self.pass_table()
        {
            return Some(Action::Recall { entry: id, why: RecallReason::Drain });
        }
        while let Some(index) = self.table.due_by(Heap::Limit, self.now) {
            if let Some(action) = self.pass_limit(index) {
                return Some(action);
            }
        }
        if let Some(index) = self.table.pop(List::Spent) {
            return self.discard(index);
        }
        if M::STORE
            && let Some(index) = self.table.pop(List::Spill)
        {
            return Some(self.spill(index));
        }
        let answered = self.poll.is_none() && self.give_back.is_none();
        let done = self.lifecycle.kind == LifecycleKind::Aborted
            || self.lifecycle.kind >= LifecycleKind::Draining && answered;
        if done && self.table.held() == 0 {
            self.lifecycle = LifecycleState::new(LifecycleKind::Stopped);
            return Some(Action::Stopped);
        }
        None
    }

    fn discard(&mut self, index: u16) -> Option<Action> {
        let entry = self.table.get(index)?;
        let Phase::Spent(why) = entry.phase else { return None };
        let id = entry.id(index);
        self.table.release(index);
        Some(Action::Discard { entry: id, why })
    }

    /// The time has come at which something happens to a task whatever the server says: it is to be stopped,
    /// its lease is over, or its result goes to the store.
    fn pass_limit(&mut self, index: u16) -> Option<Action> {
        let (now, stops) = (self.now, self.policy.on_lapse == OnLapse::Stop);
        let entry = self.table.get_mut(index)?;
        let id = entry.id(index);
        let running = entry.phase == Phase::Running;
        let action = if running && entry.ended {
            entry.phase = Phase::Recalled;
            Some(Action::Recall { entry: id, why: RecallReason::Cancelled })
        } else if entry.lapse() <= now {
            if M::Flaw::EXTENDS_LAPSED {
                entry.lease.ends = Instant::FAR_FUTURE;
                self.set_limit(index);
                return None;
            }
            entry.lease.length = 0;
            let stops = stops && running;
            if stops {
                entry.ended = true;
                entry.phase = Phase::Recalled;
                // Nobody wants to know any more whether it is wanted.
                self.table.unset(Heap::Ask, index);
            }
            self.table.unset(Heap::Lease, index);
            Some(if stops {
                Action::Recall { entry: id, why: RecallReason::Lapsed }
            } else {
                Action::Lapsed { entry: id }
            })
        } else {
            self.spill_next(index);
            None
        };
        self.set_limit(index);
        action
    }

    fn spill(&mut self, index: u16) -> Action {
        let call = self.next_call(CallKind::Report(index));
        let now = self.now;
        let (mut id, mut instead) = (EntryId::new(index, 0), None);
        if let Some(entry) = self.table.get_mut(index) {
            id = entry.id(index);
            // A result that is refused may still be taken later.
            instead = entry.report.instead.filter(|why| *why != Instead::Refused);
            entry.report.spill_next = false;
            entry.report.serial = call.serial();
            entry.report.at = now;
            entry.report.in_flight = InFlight::Spill;
        }
        Action::Spill { call, entry: id, instead }
    }

    /// Goes through the table once, from the cursor, and settles each entry that is given up; stops at one that has
    /// to be recalled.
    fn pass_table(&mut self) -> Option<EntryId> {
        let aborted = self.lifecycle.kind == LifecycleKind::Aborted;
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
                    let id = entry.id(index);
                    self.set_limit(index);
                    return Some(id);
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
            self.table.refile(Heap::Lease, index);
        }
        if keeps {
            self.spill_next(index);
        } else {
            self.spend(index, Loss::Aborted);
        }
    }

    // ---------------------------------------------------------------- with the server

    fn call_due(&mut self, turn: &mut Turn) -> Option<Action> {
        for what in ORDER {
            if self.due(what) <= self.now {
                return self.meet(what, turn);
            }
            if what == Obligation::Refresh && !self.auth.allows(self.now) && !self.policy.is_ruby::<M>() {
                return None;
            }
        }
        None
    }

    /// When something is due, gates apart, or `FAR_FUTURE` if it is not owed.
    fn due(&self, what: Obligation) -> Instant {
        match what {
            Obligation::Refresh => self.refresh_wanted(),
            Obligation::GiveBack => self.next_give_back(),
            Obligation::Lease => self.table.first_due(Heap::Lease),
            Obligation::Report => self.table.first_due(Heap::Report),
            Obligation::Ask => self.table.first_due(Heap::Ask),
            Obligation::Poll if self.may_poll() => self.gate.at,
            Obligation::Poll => Instant::FAR_FUTURE,
        }
    }

    /// What a wait for it is for.
    const fn why(&self, what: Obligation) -> Why {
        match what {
            Obligation::Refresh => Why::Auth,
            Obligation::GiveBack | Obligation::Report => Why::Update,
            Obligation::Lease => Why::Lease,
            Obligation::Ask => Why::Ask,
            Obligation::Poll => self.gate.why,
        }
    }

    /// Does what is due. `None`: the hub does not let it, or nothing comes of it.
    fn meet(&mut self, what: Obligation, turn: &mut Turn) -> Option<Action> {
        match what {
            Obligation::Poll => self.poll(turn),
            Obligation::Lease | Obligation::Report => self.keep_task(what, turn),
            Obligation::Refresh | Obligation::GiveBack | Obligation::Ask if !self.may_call(turn) => None,
            Obligation::Refresh => {
                let call = self.server_call(CallKind::Refresh);
                self.auth.refresh_sent(call.serial());
                Some(Action::Refresh { call })
            }
            Obligation::GiveBack => self.give_back_again(),
            Obligation::Ask => self.call_beside(true, self.table.first(Heap::Ask)),
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

    /// When a refresh is wanted, or `FAR_FUTURE` for never. While nothing is held and nothing asked for, a
    /// fresh token may grow old.
    pub(crate) fn refresh_wanted(&self) -> Instant {
        let idle = self.table.held() == 0 && self.poll.is_none() && self.give_back.is_none();
        let asleep = self.lifecycle.kind == LifecycleKind::Paused && idle;
        if asleep { Instant::FAR_FUTURE } else { self.auth.refresh_at::<M>() }
    }

    /// Extends the lease, or reports the outcome, of the task for which that is due first.
    fn keep_task(&mut self, what: Obligation, turn: &mut Turn) -> Option<Action> {
        let extends = what == Obligation::Lease;
        let index = self.table.first(if extends { Heap::Lease } else { Heap::Report });
        // A report ends the lease: if both are due, the extension is a call for nothing.
        if extends && (M::Flaw::LEASES_BEFORE_RESULTS || !self.report_is_due(index)) {
            return if self.may_call(turn) { self.call_beside(false, index) } else { None };
        }
        self.replace_late_yield(index);
        if !self.yield_is_safe(index, self.now) {
            self.spend(index, Loss::UnsafeYield);
            let spent = self.table.pop(List::Spent)?;
            return self.discard(spent);
        }
        if self.may_call(turn) { Some(self.update(index, !M::HUB || turn.take_next)) } else { None }
    }

    fn report_is_due(&self, index: u16) -> bool {
        self.table.get(index).is_some_and(|entry| entry.owes_report() && entry.report.at <= self.now)
    }

    /// Asks about a task, or extends its lease.
    fn call_beside(&mut self, asks: bool, index: u16) -> Option<Action> {
        let (kind, heap) =
            if asks { (CallKind::Ask(index), Heap::Ask) } else { (CallKind::Extend(index), Heap::Lease) };
        let call = self.server_call(kind);
        let (now, token) = (self.now, self.auth.generation());
        self.table.unset(heap, index);
        let entry = self.table.get_mut(index)?;
        let id = entry.id(index);
        let side = entry.side_call(asks);
        *side =
            SideCall { serial: call.serial(), token, in_flight: Whose::Own, unauthorized: side.unauthorized };
        if asks {
            return Some(Action::Ask { call, entry: id });
        }
        entry.lease.at = now;
        // One call at a time writes to a task (S29).
        self.table.refile(Heap::Report, index);
        self.set_limit(index);
        Some(Action::Extend { call, entry: id })
    }

    fn give_back_again(&mut self) -> Option<Action> {
        let call = self.server_call(CallKind::GiveBack);
        let give_back = self.give_back.as_mut()?;
        give_back.serial = call.serial();
        give_back.token = self.auth.generation();
        give_back.in_flight = true;
        give_back.own_lane = true;
        Some(Action::GiveBack { call, key: give_back.key })
    }

    fn update(&mut self, index: u16, may_poll: bool) -> Action {
        let (now, token) = (self.now, self.auth.generation());
        let take_next = may_poll && self.may_take_next(index);
        let call = self.server_call(CallKind::Report(index));
        self.table.unset(Heap::Report, index);
        if take_next {
            self.promised = self.promised.saturating_add(1);
        }
        let (mut id, mut attempt, mut instead) = (EntryId::new(index, 0), 0, None);
        if let Some(entry) = self.table.get_mut(index) {
            id = entry.id(index);
            attempt = entry.report.attempt;
            instead = entry.report.instead;
            entry.report.in_flight = if take_next { InFlight::UpdateAndTakeNext } else { InFlight::Update };
            entry.report.at = now;
            entry.report.serial = call.serial();
            entry.report.token = token;
            entry.report.brought = false;
            entry.report.ran = false;
        }
        self.table.refile(Heap::Lease, index);
        if self.has_store() {
            self.set_limit(index);
        }
        Action::Update { call, entry: id, attempt, take_next, instead }
    }

    /// An update that takes the next task is a poll too: it needs an entry, an open gate and no poll in
    /// flight. A repeat would take a second task, so only the first try may do it.
    fn may_take_next(&self, index: u16) -> bool {
        let Some(report) = self.table.get(index).map(|entry| &entry.report) else { return false };
        let open = match self.lifecycle.kind {
            LifecycleKind::Open => true,
            LifecycleKind::Paused => M::Flaw::TAKE_NEXT_IGNORES_PAUSE,
            LifecycleKind::Draining => M::Flaw::TAKE_NEXT_IGNORES_DRAIN,
            LifecycleKind::Recalling | LifecycleKind::Aborted | LifecycleKind::Stopped => false,
        };
        self.policy.take_next
            && self.take_next_from <= self.now
            && (!self.slow || M::Flaw::TAKE_NEXT_WHEN_SLOW)
            && report.instead.is_none()
            && report.is_final()
            && report.attempt == 0
            && open
            && self.poll.is_none()
            && (self.gate.at <= self.now || M::Flaw::TAKE_NEXT_IGNORES_GATE)
            && self.room() > 0
    }

    fn poll(&mut self, turn: &mut Turn) -> Option<Action> {
        if self.policy.is_ruby::<M>() && self.ruby_skips() {
            return None;
        }
        if M::HUB && !(turn.calls && turn.polls) {
            turn.blocked = Some(Blocked::Poll);
            return None;
        }
        let room = self.room();
        let kind = self.gate.kind(&self.policy);
        let count = if kind == PollKind::Long { 1 } else { room };
        // A probe must be answered at once: all other calls wait for it (S20).
        let long = kind == PollKind::Long && self.link.failures() == 0;
        let wait = if long { brief(self.longest_wait(turn)) } else { Duration::ZERO };
        let call = self.server_call(CallKind::Poll);
        let (sent, token) = (self.now, self.auth.generation());
        self.poll = Some(Poll { sent, serial: call.serial(), count, got: 0, ran: false, token, kind });
        Some(Action::Poll { call, count, wait })
    }

    /// The Ruby SDK's worker goes through its loop also if it may not poll: paused, or inside its
    /// authorisation backoff.
    fn ruby_skips(&mut self) -> bool {
        let skips = self.lifecycle.kind == LifecycleKind::Paused || self.auth.gate() > self.now;
        if skips {
            self.gate.skip(&mut cx!(self));
        }
        skips
    }

    /// How long the server may hold a poll, in microseconds. On a single lane, no longer than until another
    /// call is due.
    fn longest_wait(&self, turn: &Turn) -> u64 {
        let mut wait = micros(self.policy.long_poll);
        if M::HUB {
            wait = wait.min(micros(turn.longest_wait));
        }
        if self.policy.max_calls > 1 {
            return wait;
        }
        let owed = ORDER.into_iter().filter(|what| *what != Obligation::Poll);
        let first = owed.fold(Instant::FAR_FUTURE, |first, what| first.min(self.due(what)));
        wait.min(first.as_micros().saturating_sub(self.now.as_micros()))
    }

    // ---------------------------------------------------------------- until when

    /// When something can be done next, and what; or what is in the way.
    pub(crate) fn next_deadline(&self) -> (Option<Instant>, Why) {
        let mut first = Horizon {
            now: self.now,
            link: if self.is_hubbed() { Instant::ZERO } else { self.link.gate() },
            auth: Instant::ZERO,
            at: self.lifecycle.ends,
            why: Why::Draining,
        };
        // What needs no server is behind no gate.
        let limit = self.table.first_due(Heap::Limit);
        if limit < first.at {
            (first.at, first.why) = (limit, Why::Limit);
        }
        if self.lifecycle.kind != LifecycleKind::Aborted
            && (!self.lanes_full() || M::Flaw::DEADLINE_OF_BLOCKED)
        {
            self.next_sending(&mut first);
        }
        if first.at == Instant::FAR_FUTURE { (None, self.obstacle()) } else { (Some(first.at), first.why) }
    }

    /// When the next call can be sent: an obligation that is blocked must neither wake the driver nor hide another.
    fn next_sending(&self, first: &mut Horizon) {
        if !self.is_hubbed() && self.link.is_probing() {
            return;
        }
        for what in ORDER {
            if M::Flaw::PAUSED_SPINS
                && self.lifecycle.kind == LifecycleKind::Paused
                && what == Obligation::Poll
            {
                first.offer::<M>(self.now.saturating_add_ref(&self.policy.poll_interval), Why::Paused);
                return;
            }
            first.offer::<M>(self.due(what), self.why(what));
            if what == Obligation::Refresh && !self.policy.is_ruby::<M>() {
                if self.auth.is_missing() {
                    return;
                }
                first.auth = self.auth.gate();
            }
        }
    }

    fn next_give_back(&self) -> Instant {
        match &self.give_back {
            Some(give_back) if !give_back.in_flight => give_back.due,
            Some(_) | None => Instant::FAR_FUTURE,
        }
    }

    fn may_poll(&self) -> bool {
        let last = if self.policy.is_ruby::<M>() { LifecycleKind::Paused } else { LifecycleKind::Open };
        self.lifecycle.kind <= last && self.poll.is_none() && self.room() > 0
    }

    fn obstacle(&self) -> Why {
        match self.lifecycle.kind {
            LifecycleKind::Draining
            | LifecycleKind::Recalling
            | LifecycleKind::Aborted
            | LifecycleKind::Stopped => Why::Draining,
            _ if self.lanes_full() => Why::Busy,
            _ if self.link.failures() > 0 => Why::Unreachable,
            _ if self.auth.is_missing() => Why::Auth,
            LifecycleKind::Paused => Why::Paused,
            _ if self.poll.is_some() => Why::InFlight,
            _ if self.room() == 0 => Why::Full,
            LifecycleKind::Open => Why::Busy,
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
    /// Takes an obligation into account: it can be met when it is due and both gates are open, and is waited
    /// for if that is later than now. The first of equal deadlines counts.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn offer<M: Kind>(&mut self, due: Instant, why: Why) {
        let (at, why) = if due < self.auth { (self.auth, Why::Auth) } else { (due, why) };
        let (at, why) = if at < self.link { (self.link, Why::Unreachable) } else { (at, why) };
        if at < self.at && (at > self.now || M::Flaw::DEADLINE_OF_BLOCKED) {
            (self.at, self.why) = (at, why);
        }
    }
}
