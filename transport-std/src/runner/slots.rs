//! What the machine of one worker does not know of it: its tasks, and how its calls fare.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64};
use std::sync::{Arc, Mutex};

use downbeat_core::machine::{EntryId, Policy, TaskKey};

use super::condition::Condition;
use super::held_task::HeldTask;
use super::refusals::Refusals;
use crate::context::{TaskFacts, lock};
use crate::handler::Handler;

/// What the machine of one worker does not know of it.
pub(crate) struct WorkerSlots {
    pub(crate) task: String,
    pub(crate) domain: Option<String>,
    pub(crate) worker_id: String,
    pub(crate) handler: Box<dyn Handler>,
    /// As the machine's: how long calls may take is read from it.
    pub(crate) policy: Policy,
    /// Tasks run at once.
    pub(crate) concurrency: u16,
    /// Tasks that run.
    pub(crate) running: AtomicU16,
    /// A task has failed since the start.
    pub(crate) has_failed: AtomicBool,
    /// The tasks held, by the index of their entry.
    entries: Box<[Mutex<Option<Arc<HeldTask>>>]>,
    /// Tasks whose entries the machine has freed, and whose end is still to be seen to.
    discarded: Mutex<Vec<Arc<HeldTask>>>,
    /// Tasks on their way back to the server.
    pub(crate) surplus: Mutex<Vec<(TaskKey, TaskFacts)>>,
    pub(crate) polls: Condition,
    pub(crate) updates: Condition,
    pub(crate) extensions: Condition,
    pub(crate) lapses: Condition,
    /// Results that the server refuses.
    pub(crate) refusals: Refusals,
    /// Bytes of the largest result that the server has taken.
    pub(crate) largest_taken: AtomicU64,
}

impl WorkerSlots {
    pub(crate) fn new(worker: crate::Worker, worker_id: &str) -> Self {
        let capacity = usize::from(worker.capacity());
        Self {
            worker_id: worker.worker_id.unwrap_or_else(|| worker_id.to_owned()),
            task: worker.task,
            domain: worker.domain,
            handler: worker.handler,
            policy: worker.policy,
            concurrency: worker.policy.concurrency,
            running: AtomicU16::new(0),
            has_failed: AtomicBool::new(false),
            entries: std::iter::repeat_with(Mutex::default).take(capacity).collect(),
            discarded: Mutex::default(),
            surplus: Mutex::default(),
            polls: Condition::new("polls fail", "polls succeed again"),
            updates: Condition::new("the server does not take results", "the server takes results again"),
            extensions: Condition::new("leases cannot be extended", "leases are extended again"),
            lapses: Condition::new(
                "leases end before their tasks' results are with the server, which may have the tasks run again; \
                 see `downbeat_lease_lapsed_total`",
                "leases are kept again",
            ),
            refusals: Refusals::default(),
            largest_taken: AtomicU64::new(0),
        }
    }

    /// Keeps the payload of an entry; whatever was there before is over.
    pub(crate) fn keep(&self, held: HeldTask) {
        if let Some(place) = self.entries.get(usize::from(held.entry.index())) {
            *lock(place) = Some(Arc::new(held));
        }
    }

    pub(crate) fn held(&self, entry: EntryId) -> Option<Arc<HeldTask>> {
        let place = self.entries.get(usize::from(entry.index()))?;
        lock(place).clone().filter(|held| held.entry == entry)
    }

    /// All tasks held.
    pub(crate) fn all_held(&self) -> Vec<Arc<HeldTask>> {
        self.entries.iter().filter_map(|place| lock(place).clone()).collect()
    }

    /// How many tasks it may hold.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Sets a task aside that the machine has discarded: its entry may have the next task before somebody sees to this
    /// one. Called while the hub is stepped.
    pub(crate) fn set_aside(&self, entry: EntryId) {
        if let Some(held) = self.held(entry) {
            self.release(entry);
            lock(&self.discarded).push(held);
        }
    }

    /// Takes a task that was set aside.
    pub(crate) fn take_discarded(&self, entry: EntryId) -> Option<Arc<HeldTask>> {
        let mut discarded = lock(&self.discarded);
        let at = discarded.iter().position(|held| held.entry == entry)?;
        Some(discarded.swap_remove(at))
    }

    /// Forgets a task, unless its entry has another task by now.
    pub(crate) fn release(&self, entry: EntryId) {
        let Some(place) = self.entries.get(usize::from(entry.index())) else { return };
        let mut place = lock(place);
        if place.as_ref().is_some_and(|held| held.entry == entry) {
            *place = None;
        }
    }
}
