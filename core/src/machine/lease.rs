//! A task arrives: run it, refuse it, or ignore it.

use super::action::Action;
use super::auth::four_fifths;
use super::entry::{Entry, Extension, InFlight, Phase};
use super::ids::{CallId, Lane, TaskKey};
use super::input::TaskMeta;
use super::mutant::Mutant;
use super::table::Heap;
use super::time::{Instant, micros};
use super::worker::{Machine, Mode, Refusal};

/// The call that brings a task.
#[derive(Clone, Copy)]
enum Bringer {
    Poll { serial: u32, sent: Instant, promised: bool },
    Update { serial: u32, index: u16, sent: Instant, promised: bool },
}

impl<S: AsRef<[Entry]> + AsMut<[Entry]>, M: Mutant> Machine<S, M> {
    pub(crate) fn leased(&mut self, call: CallId, task: TaskMeta) -> Action {
        let Some(bringer) = self.bringer(call) else {
            // The call is not ours or long over; the task is leased all the same. Nothing here remembers it.
            return Action::Refuse { call: CallId::new(Lane::Refuse, call.serial()), key: task.key };
        };
        if self.is_held_for_good(task.key) {
            // It brought nothing: a server that delivers what is here already must not be asked again at once.
            return Action::Ignore { key: task.key };
        }
        if M::DRAIN_DROPS_LATE_TASK && matches!(self.mode, Mode::Draining { .. }) {
            return Action::Ignore { key: task.key };
        }
        let promised = match bringer {
            Bringer::Poll { promised, .. } | Bringer::Update { promised, .. } => promised,
        };
        let takes = !matches!(self.mode, Mode::Recalling { .. } | Mode::Aborted);
        let place = promised || self.room() > 0;
        let fits = self.table.running() < self.policy.concurrency && self.table.free() > 0;
        self.count_brought(bringer);
        if !(takes && place && fits) {
            return self.refuse(bringer, task);
        }
        let (Bringer::Poll { sent, .. } | Bringer::Update { sent, .. }) = bringer;
        let Some(slot) = self.table.take(task.key) else { return self.refuse(bringer, task) };
        self.count_run(bringer);
        let start = if M::LEASE_FROM_RECEIPT { self.now } else { sent };
        self.start_lease(slot.index(), start, task);
        Action::Run { slot, key: task.key }
    }

    fn bringer(&self, call: CallId) -> Option<Bringer> {
        match call.lane()? {
            Lane::Poll => self.poll.filter(|poll| poll.serial == call.serial()).map(|poll| Bringer::Poll {
                serial: poll.serial,
                sent: poll.sent,
                promised: poll.got < poll.count,
            }),
            Lane::Report(index) => self
                .table
                .get(index)
                .filter(|entry| {
                    entry.report.in_flight == InFlight::UpdateAndTakeNext
                        && entry.report.serial == call.serial()
                })
                .map(|entry| Bringer::Update {
                    serial: entry.report.serial,
                    index,
                    sent: entry.report.sent,
                    promised: !entry.report.brought,
                }),
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
    fn count_brought(&mut self, bringer: Bringer) {
        match bringer {
            Bringer::Poll { .. } => {
                if let Some(poll) = &mut self.poll {
                    poll.got = poll.got.saturating_add(1);
                }
            }
            Bringer::Update { index, promised, .. } => {
                if promised {
                    self.promised = self.promised.saturating_sub(1);
                }
                if let Some(entry) = self.table.get_mut(index) {
                    entry.report.brought = true;
                }
            }
        }
    }

    /// Notes that what a call brought was new.
    fn count_run(&mut self, bringer: Bringer) {
        match bringer {
            Bringer::Poll { .. } => {
                if let Some(poll) = &mut self.poll {
                    poll.ran = true;
                }
            }
            Bringer::Update { index, .. } => {
                if let Some(entry) = self.table.get_mut(index) {
                    entry.report.ran = true;
                }
            }
        }
    }

    /// Has a task given back. One refusal is remembered and repeated; more of them are sent once.
    fn refuse(&mut self, bringer: Bringer, task: TaskMeta) -> Action {
        let call = self.next_call(Lane::Refuse);
        if self.refusal.is_none() {
            let (Bringer::Poll { sent, serial, .. } | Bringer::Update { sent, serial, .. }) = bringer;
            let lease = task.response_timeout.filter(|lease| micros(*lease) > 0);
            self.refusal = Some(Refusal {
                key: task.key,
                due: self.now,
                expires: lease.map_or(Instant::FAR_FUTURE, |lease| sent.after(lease)),
                serial: call.serial(),
                with: serial,
                attempt: 0,
                token: self.auth.generation(),
                in_flight: true,
                own_lane: false,
            });
        }
        Action::Refuse { call, key: task.key }
    }

    fn start_lease(&mut self, index: u16, start: Instant, task: TaskMeta) {
        let length = task.response_timeout.map_or(0, micros);
        if !self.policy.extend || length == 0 {
            return;
        }
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.lease.length = length;
        entry.lease.due = start.after(core::time::Duration::from_micros(four_fifths(length)));
        // The extension of an earlier task of this place may still be in flight; its reply starts this one's clock.
        if entry.lease.in_flight == Extension::None {
            self.table.set(Heap::Lease, index);
        }
    }
}
