//! What all threads of a runner share besides the hub.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use downbeat_core::machine::{HubInput, Input, Mode, SlotId, TaskKey};
use downbeat_core::ports::Transport;

use super::Credentials;
use super::condition::Condition;
use super::crew::Crew;
use super::handle::Summary;
use super::held::{Held, Report, ReportKind};
use crate::clock::{StdClock, unix_millis};
use crate::context::{Facts, lock};
use crate::event::{Event, EventKind};
use crate::handler::{Ending, Handle};
use crate::metrics::{Metrics, Name};
use crate::store::Store;
use crate::transport::Storage;

/// Makes a transport for each thread; what they share (connections) is inside.
pub(crate) type Factory = Box<dyn Fn() -> Box<dyn Transport + Send> + Send + Sync>;

/// All but the hub, which is in `crew`.
pub(crate) struct Shared {
    pub(crate) clock: StdClock,
    pub(crate) crew: Crew,
    pub(crate) sides: Box<[Side]>,
    pub(crate) transports: Factory,
    /// Reads inputs that the server keeps elsewhere.
    pub(crate) storage: Storage,
    /// Bytes of the largest task.
    pub(crate) max_task: usize,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) token: RwLock<Option<Arc<str>>>,
    pub(crate) store: Option<Store>,
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
    pub(crate) recalled: Mutex<Vec<(u16, Arc<Held>)>>,
    /// One of them may have ended.
    pub(crate) recalled_ended: Condvar,
    /// Ends the thread that waits for signals, where there is one.
    pub(crate) signals: OnceLock<signal_hook::iterator::Handle>,
    /// The runner has ended.
    pub(crate) over: Mutex<bool>,
    pub(crate) over_changed: Condvar,
}

/// What the machine of one worker does not know of it.
pub(crate) struct Side {
    pub(crate) task: String,
    pub(crate) domain: Option<String>,
    pub(crate) worker_id: String,
    pub(crate) handler: Box<dyn Handle>,
    pub(crate) call_timeout: Duration,
    /// Tasks run at once.
    pub(crate) concurrency: u16,
    /// Tasks that run.
    pub(crate) running: AtomicU16,
    /// A task has failed since the start.
    pub(crate) has_failed: AtomicBool,
    /// The tasks held, by the index of their slot.
    slots: Box<[Mutex<Option<Arc<Held>>>]>,
    /// Tasks on their way back to the server.
    pub(crate) refused: Mutex<Vec<(TaskKey, Facts)>>,
    pub(crate) polls: Condition,
    pub(crate) updates: Condition,
}

impl Side {
    pub(crate) fn new(worker: crate::Worker, worker_id: &str) -> Self {
        let capacity = usize::from(worker.capacity());
        Self {
            worker_id: worker.worker_id.unwrap_or_else(|| worker_id.to_owned()),
            task: worker.task,
            domain: worker.domain,
            handler: worker.handler,
            call_timeout: worker.policy.call_timeout,
            concurrency: worker.policy.concurrency,
            running: AtomicU16::new(0),
            has_failed: AtomicBool::new(false),
            slots: std::iter::repeat_with(Mutex::default).take(capacity).collect(),
            refused: Mutex::default(),
            polls: Condition::new("polls fail", "polls succeed again"),
            updates: Condition::new("the server does not take results", "the server takes results again"),
        }
    }

    /// Keeps the payload of a slot; whatever was there before is over.
    pub(crate) fn keep(&self, held: Held) {
        if let Some(place) = self.slots.get(usize::from(held.slot.index())) {
            *lock(place) = Some(Arc::new(held));
        }
    }

    pub(crate) fn held(&self, slot: SlotId) -> Option<Arc<Held>> {
        let place = self.slots.get(usize::from(slot.index()))?;
        lock(place).clone().filter(|held| held.slot == slot)
    }

    /// Asks all that runs to end early.
    pub(crate) fn cancel_all(&self) {
        for held in self.slots.iter().filter_map(|place| lock(place).clone()) {
            held.recall.cancel();
        }
    }

    /// Forgets a slot, unless its place has another task by now.
    pub(crate) fn release(&self, slot: SlotId) {
        let Some(place) = self.slots.get(usize::from(slot.index())) else { return };
        let mut place = lock(place);
        if place.as_ref().is_some_and(|held| held.slot == slot) {
            *place = None;
        }
    }
}

impl Shared {
    pub(crate) fn side(&self, worker: u16) -> Option<&Side> {
        self.sides.get(usize::from(worker))
    }

    pub(crate) fn token(&self) -> Option<Arc<str>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Files how a task ended and tells the hub, unless somebody else has done so.
    pub(crate) fn finish(self: &Arc<Self>, worker: u16, held: &Held, report: Report) -> bool {
        let outcome = report.outcome;
        let first = held.settle(report);
        if first {
            self.tell(HubInput::Worker { worker, input: Input::Finished { slot: held.slot, outcome } });
        }
        if !lock(&self.recalled).is_empty() {
            self.recalled_ended.notify_all();
        }
        first
    }

    /// Whether the worker has been told to give up what it holds.
    pub(crate) fn is_aborted(&self, worker: u16) -> bool {
        self.crew.look(|hub| {
            let member = hub.members().get(usize::from(worker));
            member.is_none_or(|member| {
                matches!(member.machine().snapshot().mode, Mode::Aborted | Mode::Stopped)
            })
        })
    }

    /// Ends a task whose performer broke down.
    pub(crate) fn finish_broken(self: &Arc<Self>, worker: u16, slot: SlotId) {
        let Some(side) = self.side(worker) else { return };
        let Some(held) = side.held(slot) else { return };
        let ending = Ending::failed("the worker had an unexpected error while it ran the task");
        let report = Report::of_ending(&held.facts, &side.worker_id, &ending, &[]);
        self.finish(worker, &held, report);
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
        store.look(|part, used| {
            metrics.set(Name::StoreFiles, &[part.name()], i64::try_from(used.files).unwrap_or(i64::MAX));
            metrics.set(Name::StoreBytes, &[part.name()], i64::try_from(used.bytes).unwrap_or(i64::MAX));
        });
    }

    /// Delivers an event; the description is made only where somebody listens.
    pub(crate) fn emit(&self, side: &Side, kind: impl FnOnce() -> EventKind) {
        let Some(events) = &self.events else { return };
        let event = Event { timestamp: unix_millis(), task_type: side.task.clone(), kind: kind() };
        if events.try_send(event).is_err() {
            count(&self.counts.events_dropped);
        }
    }
}

/// What a runner did so far.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) tasks: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) failed_terminally: AtomicU64,
    pub(crate) in_progress: AtomicU64,
    pub(crate) given_back: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) resent: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) unreportable: AtomicU64,
    pub(crate) events_dropped: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(crate) fn accepted(&self, kind: ReportKind) {
        count(match kind {
            ReportKind::Completed => &self.completed,
            ReportKind::Failed => &self.failed,
            ReportKind::Terminal => &self.failed_terminally,
            ReportKind::InProgress => &self.in_progress,
            ReportKind::GivenBack => &self.given_back,
        });
    }

    pub(crate) fn summary(&self) -> Summary {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            tasks: read(&self.tasks),
            completed: read(&self.completed),
            failed: read(&self.failed),
            failed_terminally: read(&self.failed_terminally),
            in_progress: read(&self.in_progress),
            given_back: read(&self.given_back),
            stored: read(&self.stored),
            resent: read(&self.resent),
            given_up: read(&self.given_up),
            unreportable: read(&self.unreportable),
            events_dropped: read(&self.events_dropped),
        }
    }
}
