//! A task arrives: run it, refuse it, or ignore it.

use super::action::Action;
use super::auth::four_fifths;
use super::course::Stage;
use super::entry::{Entry, Extension, InFlight, NIL, Phase};
use super::ids::{CallId, Lane, TaskKey};
use super::input::TaskMeta;
use super::mutant::Mutant;
use super::table::Heap;
use super::time::{Instant, micros};
use super::worker::{Machine, Refusal};

/// The call that brings a task.
#[derive(Clone, Copy)]
struct Bringer {
    /// The entry whose update it is; `NIL`: it is the poll.
    index: u16,
    serial: u32,
    sent: Instant,
    /// There is a place for the task: it was promised to this call.
    promised: bool,
}

impl<S: AsRef<[Entry]> + AsMut<[Entry]>, M: Mutant> Machine<S, M> {
    pub(crate) fn leased(&mut self, call: CallId, task: &TaskMeta) -> Action {
        let key = task.key;
        let Some(bringer) = self.bringer(call) else {
            // The call is not ours or long over; the task is leased all the same. Nothing here remembers it.
            return Action::Refuse { call: CallId::new(Lane::Refuse, call.serial()), key };
        };
        if self.is_held_for_good(key) {
            // It brought nothing: a server that delivers what is here already must not be asked again at once.
            return Action::Ignore { key };
        }
        if M::DRAIN_DROPS_LATE_TASK && self.course.stage == Stage::Draining {
            return Action::Ignore { key };
        }
        let takes = self.course.stage < Stage::Recalling;
        let place = bringer.promised || self.room() > 0;
        let fits = self.table.running() < self.policy.concurrency && self.table.free() > 0;
        self.count_brought(&bringer);
        let slot = if takes && place && fits { self.table.take(key) } else { None };
        let Some(slot) = slot else { return self.refuse(&bringer, task) };
        self.count_run(&bringer);
        let start = if M::LEASE_FROM_RECEIPT { self.now } else { bringer.sent };
        self.start_lease(slot.index(), start, task);
        Action::Run { slot, key }
    }

    fn bringer(&self, call: CallId) -> Option<Bringer> {
        let serial = call.serial();
        match call.lane()? {
            Lane::Poll => {
                let poll = self.poll.as_ref().filter(|poll| poll.serial == serial)?;
                Some(Bringer { index: NIL, serial, sent: poll.sent, promised: poll.got < poll.count })
            }
            Lane::Report(index) => {
                let report = &self.table.get(index)?.report;
                let brings = report.in_flight == InFlight::UpdateAndTakeNext && report.serial == serial;
                brings.then_some(Bringer { index, serial, sent: report.sent, promised: !report.brought })
            }
            Lane::Refresh | Lane::Refuse | Lane::Extend(_) => None,
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

    /// Notes that a call brought something: the place that it was promised is taken, or free again.
    fn count_brought(&mut self, bringer: &Bringer) {
        if let Some(entry) = self.table.get_mut(bringer.index) {
            entry.report.brought = true;
            self.promised = self.promised.saturating_sub(u16::from(bringer.promised));
        } else if let Some(poll) = &mut self.poll {
            poll.got = poll.got.saturating_add(1);
        }
    }

    /// Notes that what a call brought was new.
    fn count_run(&mut self, bringer: &Bringer) {
        if let Some(entry) = self.table.get_mut(bringer.index) {
            entry.report.ran = true;
        } else if let Some(poll) = &mut self.poll {
            poll.ran = true;
        }
    }

    /// Has a task given back. One refusal is remembered and repeated; more of them are sent once.
    fn refuse(&mut self, bringer: &Bringer, task: &TaskMeta) -> Action {
        let call = self.next_call(Lane::Refuse);
        if self.refusal.is_none() {
            let lease = task.response_timeout.map_or(0, micros);
            self.refusal = Some(Refusal {
                key: task.key,
                due: self.now,
                expires: if lease == 0 { Instant::FAR_FUTURE } else { bringer.sent.plus(lease) },
                serial: call.serial(),
                with: bringer.serial,
                attempt: 0,
                token: self.auth.generation(),
                in_flight: true,
                own_lane: false,
            });
        }
        Action::Refuse { call, key: task.key }
    }

    fn start_lease(&mut self, index: u16, start: Instant, task: &TaskMeta) {
        let length = task.response_timeout.map_or(0, micros);
        if !self.policy.extend || length == 0 {
            return;
        }
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.lease.length = length;
        entry.lease.due = start.plus(four_fifths(length));
        // The extension of an earlier task of this place may still be in flight; its reply starts this one's clock.
        if entry.lease.in_flight == Extension::None {
            self.table.set(Heap::Lease, index);
        }
    }
}
