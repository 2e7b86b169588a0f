//! A task arrives: run it, give it back, or ignore it.

use super::action::Action;
use super::auth::four_fifths;
use super::backoff::shorten;
use super::entry::{Heap, InFlight, NIL, Phase, Storage};
use super::flaw::Flaw;
use super::ids::{CallId, CallKind, TaskKey};
use super::input::TaskMeta;
use super::kind::Kind;
use super::lifecycle::LifecycleKind;
use super::time::{Instant, micros};
use super::worker::{GiveBack, Machine};

/// Questions about running tasks come up to this many percent early, so that those of a fleet do not come together.
const ASK_JITTER: u8 = 10;
/// A give-back that would arrive later than so long before its end is not sent, in microseconds.
pub(crate) const GIVE_BACK_MARGIN: u64 = 1_000_000;

/// The call that brings a task.
#[derive(Clone, Copy)]
struct Bringer {
    /// The entry whose update it is, or `NIL` for the poll.
    index: u16,
    serial: u32,
    sent: Instant,
    /// There is an entry for the task: it was promised to this call.
    promised: bool,
}

impl Bringer {
    /// From when on the task that it brought is not given back any more.
    fn keeps_from(&self, task: &TaskMeta) -> Instant {
        task.give_back_within.map_or(Instant::FAR_FUTURE, |within| {
            let end = self.sent.saturating_add_micros(micros(within)).as_micros();
            Instant::from_micros(end.saturating_sub(GIVE_BACK_MARGIN))
        })
    }
}

impl<S: Storage, M: Kind> Machine<S, M> {
    pub(crate) fn leased(&mut self, call: CallId, task: &TaskMeta) -> Action {
        let key = task.key;
        let Some(bringer) = self.bringer(call) else {
            // The call is not ours or long over; the task is leased all the same. Nothing here remembers it.
            return Action::GiveBack { call: CallId::new(CallKind::GiveBack, call.serial()), key };
        };
        if self.is_held_for_good(key) {
            // It brought nothing: a server that delivers what is here already must not be asked again at once.
            return Action::Ignore { key };
        }
        if M::Flaw::DRAIN_DROPS_LATE_TASK && self.lifecycle.kind == LifecycleKind::Draining {
            return Action::Ignore { key };
        }
        if let Some(action) = self.adopt(&bringer, task) {
            return action;
        }
        let takes = self.lifecycle.kind < LifecycleKind::Recalling;
        let place = bringer.promised || self.room() > 0;
        let fits = self.table.running() < self.policy.concurrency && self.table.free() > 0;
        let id = if takes && place && fits { self.table.take(key) } else { None };
        self.count_brought(&bringer, id.is_some());
        let Some(id) = id else { return self.give_back(&bringer, task) };
        let start = if M::Flaw::LEASE_FROM_RECEIPT { self.now } else { bringer.sent };
        self.start_lease(id.index(), start, task);
        self.plan_ask(id.index());
        Action::Run { entry: id, key }
    }

    /// A retry of a task that runs here goes on where it runs: its lease has lapsed, and two copies of it would run side by
    /// side. `None`: it is no such retry. One that is being stopped is no place for it: the retry is given back.
    fn adopt(&mut self, bringer: &Bringer, task: &TaskMeta) -> Option<Action> {
        if M::Flaw::LAPSE_RUNS_TWICE {
            return None;
        }
        let index = self.table.find(task.retry_of?)?;
        let entry = self.table.get(index).filter(|entry| entry.is_running())?;
        let goes_on = entry.phase == Phase::Running && !entry.ended;
        self.count_brought(bringer, goes_on);
        if !goes_on {
            return Some(self.give_back(bringer, task));
        }
        let id = self.table.change_key(index, task.key)?;
        // What is in flight for the former task says nothing of this one.
        if let Some(entry) = self.table.get_mut(index) {
            entry.outlive_calls();
        }
        self.table.unset(Heap::Lease, index);
        self.start_lease(index, bringer.sent, task);
        self.set_limit(index);
        self.plan_ask(index);
        Some(Action::Adopt { entry: id, key: task.key })
    }

    /// Has the server asked, in time, whether the task is still wanted.
    pub(crate) fn plan_ask(&mut self, index: u16) {
        let due = match &self.policy.ask_interval {
            Some(interval) => {
                self.now.saturating_add_micros(shorten(micros(*interval), ASK_JITTER, &mut self.rng))
            }
            None if M::INDEXED => return,
            // If nothing says that it is not to be asked, its time does.
            None => Instant::FAR_FUTURE,
        };
        let Some(entry) = self.table.get_mut(index).filter(|entry| entry.is_running() && !entry.ended) else {
            return;
        };
        entry.report.at = due;
        // The question about an earlier task of this entry may still be in flight; its reply starts this one's clock.
        if entry.ask.is_idle() {
            self.table.set(Heap::Ask, index);
        }
    }

    fn bringer(&self, call: CallId) -> Option<Bringer> {
        let serial = call.serial();
        match call.kind()? {
            CallKind::Poll => {
                let poll = self.poll.as_ref().filter(|poll| poll.serial == serial)?;
                Some(Bringer { index: NIL, serial, sent: poll.sent, promised: poll.got < poll.count })
            }
            CallKind::Report(index) => {
                let report = &self.table.get(index)?.report;
                let brings = report.in_flight == InFlight::UpdateAndTakeNext && report.serial == serial;
                brings.then_some(Bringer { index, serial, sent: report.at, promised: !report.brought })
            }
            CallKind::Refresh | CallKind::GiveBack | CallKind::Extend(_) | CallKind::Ask(_) => None,
        }
    }

    /// Whether a task that is held here makes a second delivery void. A yield on its way does not: that the task is
    /// delivered again proves that the yield was accepted, and its entry ends.
    fn is_held_for_good(&mut self, key: TaskKey) -> bool {
        let Some(index) = self.table.find(key) else { return false };
        let Some(entry) = self.table.get_mut(index) else { return false };
        if entry.phase != Phase::Reporting || entry.report.is_final() {
            return true;
        }
        if entry.report.in_flight == InFlight::Nothing {
            self.table.release(index);
        } else {
            // Its call keeps the entry until the reply, so that the reply finds its lane.
            entry.report.settled = true;
            self.table.unset(Heap::Lease, index);
            self.table.forget_key(index);
        }
        false
    }

    /// Notes that a call brought something: the entry that it was promised is taken, or free again. Says
    /// whether it was new, and is run.
    fn count_brought(&mut self, bringer: &Bringer, runs: bool) {
        if let Some(entry) = self.table.get_mut(bringer.index) {
            entry.report.brought = true;
            entry.report.ran |= runs;
            self.promised = self.promised.saturating_sub(u16::from(bringer.promised));
        } else if let Some(poll) = &mut self.poll {
            poll.got = poll.got.saturating_add(1);
            poll.ran |= runs;
        }
    }

    /// Has a task given back. One give-back is remembered and repeated; more of them are sent once. If a
    /// give-back would end the task's workflow (R-TIMEOUT-3), its lease is left instead.
    fn give_back(&mut self, bringer: &Bringer, task: &TaskMeta) -> Action {
        let keeps_from =
            if M::Flaw::GIVES_BACK_LATE { Instant::FAR_FUTURE } else { bringer.keeps_from(task) };
        if keeps_from <= self.now {
            return Action::Ignore { key: task.key };
        }
        let call = self.next_call(CallKind::GiveBack);
        if self.give_back.is_none() {
            let lease = task.response_timeout.map_or(0, micros);
            let lapses =
                if lease == 0 { Instant::FAR_FUTURE } else { bringer.sent.saturating_add_micros(lease) };
            self.give_back = Some(GiveBack {
                key: task.key,
                due: self.now,
                expires: lapses.min(keeps_from),
                serial: call.serial(),
                with: bringer.serial,
                attempt: 0,
                token: self.auth.generation(),
                in_flight: true,
                own_lane: false,
            });
        }
        Action::GiveBack { call, key: task.key }
    }

    /// Takes a task back that an earlier life had in hand.
    pub(crate) fn recovered(&mut self, task: &TaskMeta) -> Action {
        let key = task.key;
        let fits =
            M::STORE && self.table.running() < self.policy.concurrency && self.table.find(key).is_none();
        let id = if fits { self.table.take(key) } else { None };
        let Some(id) = id else { return Action::Ignore { key } };
        self.start_lease(id.index(), self.now, task);
        let now = self.now;
        if let Some(entry) = self.table.get_mut(id.index()).filter(|entry| entry.lease.length > 0) {
            entry.lease.at = now;
            if entry.lease.call.is_idle() {
                self.table.set(Heap::Lease, id.index());
            }
        }
        Action::Run { entry: id, key }
    }

    fn start_lease(&mut self, index: u16, start: Instant, task: &TaskMeta) {
        let length = task.response_timeout.map_or(0, micros);
        let tracked = self.policy.extend && length > 0;
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.give_back_until = task
            .give_back_within
            .map_or(Instant::FAR_FUTURE, |within| start.saturating_add_micros(micros(within)));
        entry.lease.length = if tracked { length } else { 0 };
        if !tracked {
            return;
        }
        entry.lease.at = start.saturating_add_micros(four_fifths(length));
        entry.lease.ends = start.saturating_add_micros(length);
        // The extension of an earlier task of this entry may still be in flight; its reply starts this one's clock.
        if entry.lease.call.is_idle() {
            self.table.set(Heap::Lease, index);
        }
        self.set_limit(index);
    }
}
