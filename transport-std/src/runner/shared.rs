//! What all threads of a runner share besides the hub.

use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};

use downbeat_core::machine::{EntryId, HubInput, Input, Lifecycle};

use super::condition::Condition;
use super::counts::{Counts, count};
use super::credentials::Credentials;
use super::held_task::{HeldTask, Report};
use super::hub_core::HubCore;
use super::scheduler::Scheduler;
use super::slots::WorkerSlots;
use crate::clock::{StdClock, unix_millis};
use crate::context::{NoteProcess, TaskFacts, lock};
use crate::event::{Event, EventKind};
use crate::handler::Ending;
use crate::metrics::{Metrics, Name};
use crate::store::Store;
use crate::transport::{Factory, Storage};

/// All but the hub, which is in `scheduler`.
pub(crate) struct Shared {
    pub(crate) clock: StdClock,
    pub(crate) scheduler: Scheduler<HubCore>,
    pub(crate) workers: Arc<[WorkerSlots]>,
    pub(crate) transports: Factory,
    /// Reads inputs that the server keeps elsewhere.
    pub(crate) storage: Storage,
    /// Bytes of the largest task.
    pub(crate) max_task: usize,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) token: RwLock<Option<Arc<str>>>,
    pub(crate) store: Option<Arc<Store>>,
    /// Notes the process of a task's command in the store, if there is one.
    pub(crate) note_process: Option<NoteProcess>,
    pub(crate) events: Option<SyncSender<Event>>,
    pub(crate) metrics: Option<Metrics>,
    /// Where the admin endpoint listens.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) counts: Counts,
    /// Whether the server can be reached.
    pub(crate) link: Condition,
    /// Whether it gives a token.
    pub(crate) auth: Condition,
    /// Whether the store takes results.
    pub(crate) keeps: Condition,
    /// Recalled tasks that have not ended yet.
    pub(crate) recalled: Mutex<Vec<(u16, Arc<HeldTask>)>>,
    /// One of them may have ended.
    pub(crate) recalled_ended: Condvar,
    /// Ends the thread that waits for signals, if there is one.
    pub(crate) signals: OnceLock<signal_hook::iterator::Handle>,
    /// The runner has ended.
    pub(crate) over: Mutex<bool>,
    pub(crate) over_changed: Condvar,
}

impl Shared {
    pub(crate) fn slots(&self, worker: u16) -> Option<&WorkerSlots> {
        self.workers.get(usize::from(worker))
    }

    pub(crate) fn token(&self) -> Option<Arc<str>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Files how a task ended and tells the hub, unless somebody else has done so.
    ///
    /// `make`: the report, for the task as the server knows it now. The run may have been adopted for a retry while the
    /// report was made: then another is made, under the new id.
    pub(crate) fn finish(
        self: &Arc<Self>,
        worker: u16,
        held: &HeldTask,
        make: impl Fn(&TaskFacts) -> Report,
    ) -> bool {
        let first = held.claim();
        let mut told = !first;
        while !told {
            let facts = held.facts();
            let report = make(&facts);
            let outcome = report.outcome;
            self.note_finish(held, &facts, &report);
            held.file(report);
            let input = HubInput::Worker { worker, input: Input::Finished { entry: held.entry, outcome } };
            told = self.tell_if(|| held.is_of(&facts), input);
        }
        if !lock(&self.recalled).is_empty() {
            self.recalled_ended.notify_all();
        }
        first
    }

    /// Whether the worker has been told to give up what it holds.
    pub(crate) fn is_aborted(&self, worker: u16) -> bool {
        self.scheduler.look(|hub| {
            let member = hub.members().get(usize::from(worker));
            member.is_none_or(|member| {
                matches!(member.machine().snapshot().lifecycle, Lifecycle::Aborted | Lifecycle::Stopped)
            })
        })
    }

    /// Ends a task whose performer broke down.
    pub(crate) fn finish_broken(self: &Arc<Self>, worker: u16, entry: EntryId) {
        let Some(slots) = self.slots(worker) else { return };
        let Some(held) = slots.held(entry) else { return };
        let ending = Ending::failed("the worker had an unexpected error while it ran the task");
        self.finish(worker, &held, |facts| Report::from_ending(facts, &slots.worker_id, &ending, &[]));
    }

    /// Measures something, where somebody wants to know.
    pub(crate) fn measure(&self, measure: impl FnOnce(&Metrics)) {
        if let Some(metrics) = &self.metrics {
            measure(metrics);
        }
    }

    /// Says how full the store is, where somebody wants to know.
    pub(crate) fn measure_store(&self) {
        let (Some(store), Some(metrics)) = (&self.store, &self.metrics) else { return };
        metrics.set(Name::StoreSyncs, &[], i64::try_from(store.syncs()).unwrap_or(i64::MAX));
        store.look(|part, used| {
            metrics.set(Name::StoreFiles, &[part.name()], i64::try_from(used.files).unwrap_or(i64::MAX));
            metrics.set(Name::StoreBytes, &[part.name()], i64::try_from(used.bytes).unwrap_or(i64::MAX));
        });
    }

    /// Delivers an event; the description is made only where somebody listens.
    pub(crate) fn emit(&self, slots: &WorkerSlots, kind: impl FnOnce() -> EventKind) {
        let Some(events) = &self.events else { return };
        let event = Event { timestamp: unix_millis(), task_type: slots.task.clone(), kind: kind() };
        if events.try_send(event).is_err() {
            count(&self.counts.events_dropped);
        }
    }
}
