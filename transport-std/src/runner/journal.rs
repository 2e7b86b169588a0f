//! What the store is told of the tasks in hand, so that a crash loses neither results nor tasks.

use std::sync::atomic::Ordering;

use downbeat_core::machine::Clock as _;

use super::held_task::{HeldTask, Report};
use super::shared::Shared;
use super::slots::WorkerSlots;
use crate::context::{CancelReason, TaskFacts};
use crate::store::{Journal, LeaseNote, Store};

impl Shared {
    /// The store, where tasks in hand are noted there.
    pub(super) fn notes(&self) -> Option<&Store> {
        self.store.as_deref().filter(|store| store.mode() != Journal::Off)
    }

    /// Notes a task that is about to run. Without the note it is out until its lease ends, if the runner crashes.
    pub(super) fn note_lease(&self, slots: &WorkerSlots, held: &HeldTask, facts: &TaskFacts) {
        let Some(store) = self.notes() else { return };
        let note = LeaseNote {
            task_id: &facts.task_id,
            workflow_id: &facts.workflow_id,
            task_type: &slots.task,
            worker_id: &slots.worker_id,
            polled_output: &facts.polled_output,
            give_back_until_ms: facts.give_back_until_ms,
            lease: facts.lease,
            poll_count: facts.poll_count,
        };
        match store.lease(&note) {
            Ok(delivery) => held.delivery.store(delivery, Ordering::Release),
            Err(cause) => self.keeps.failed(self.clock.now(), "the store", &store.said(&cause)),
        }
    }

    /// Makes a result durable before the machine, and so the server, hears of it.
    pub(super) fn note_finish(&self, held: &HeldTask, facts: &TaskFacts, report: &Report) {
        if let Some(store) = self.notes().filter(|store| store.mode() == Journal::Finish) {
            self.note_result(store, held, facts, report);
        }
    }

    /// Makes a result durable whose first report has failed.
    pub(super) fn note_failure(&self, held: &HeldTask, report: &Report) {
        if let Some(store) = self.notes().filter(|_| !held.journaled.load(Ordering::Acquire)) {
            self.note_result(store, held, &held.facts(), report);
        }
    }

    fn note_result(&self, store: &Store, held: &HeldTask, facts: &TaskFacts, report: &Report) {
        // Nobody waits for the result of a run that was cancelled, and a yield is no result.
        let wanted = held.recall.reason().is_none_or(|reason| reason == CancelReason::Draining);
        if !wanted || !report.is_result() {
            return;
        }
        let now = self.clock.now();
        match store.result(&facts.task_id, &report.body) {
            Ok(()) => {
                held.journaled.store(true, Ordering::Release);
                self.keeps.worked(now, "the store");
            }
            // It is reported from memory, and stored by the machine's word where that fails.
            Err(cause) => self.keeps.failed(now, "the store", &store.said(&cause)),
        }
    }

    /// Notes that a yield or a give-back is about to be sent; false: it cannot be noted, and must not be sent, because a
    /// later runner would give the task back once more (S4).
    pub(super) fn note_yield(&self, facts: &TaskFacts) -> bool {
        let Some(store) = self.notes() else { return true };
        match store.yielding(&facts.task_id) {
            Ok(()) => true,
            Err(cause) => {
                self.keeps.failed(self.clock.now(), "the store", &store.said(&cause));
                false
            }
        }
    }

    /// Notes that a yield or a give-back had no effect: a later runner may give the task back.
    pub(super) fn note_no_yield(&self, slots: &WorkerSlots, held: &HeldTask) {
        self.note_lease(slots, held, &held.facts());
    }

    /// Forgets a task: its outcome is with the server, or nobody's.
    pub(super) fn forget(&self, held: &HeldTask) {
        let Some(store) = self.notes() else { return };
        let delivery = held.delivery.load(Ordering::Acquire);
        for id in held.ids() {
            store.delivery_ended(&id, delivery);
        }
    }
}
