//! From a description to threads at work.

use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, OnceLock, RwLock};

use downbeat_core::machine::{Clock, Control, Hub, HubInput, HubPolicy, Input, LONG_POLL_MAX, PolicyError};

use super::condition::Condition;
use super::counts::Counts;
use super::handle::{Handle, Running};
use super::hub_core::HubCore;
use super::leftover::{self, EndProcess};
use super::scheduler::Scheduler;
use super::shared::Shared;
use super::slots::WorkerSlots;
use super::{OwnTransport, Runner, admin, resend, signals};
use crate::clock::{StdClock, unix_millis};
use crate::context::NoteProcess;
use crate::error::Error;
use crate::hub::{BoxedHub, BoxedMachine, BoxedMember};
use crate::metrics::{Metrics, Name};
use crate::record::{RecordHeader, Recorder};
use crate::store::{Journal, Left, Recovered, Store};
use crate::transport::{self, Storage, Trust};
use crate::worker::Worker;

/// Threads for what needs none of the slots' and none of the calls': the store, and the leader.
const SPARE_THREADS: usize = 2;

impl Runner {
    /// Starts the runner's threads and answers at once.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn start(mut self) -> Result<Running, Error> {
        self.settings()?;
        for variable in self.unknown_variables() {
            tracing::warn!(variable, "this environment variable means nothing to any worker here");
        }
        let clock = StdClock::new();
        let url = self.url.take().ok_or(Error::NoServer)?;
        let url = transport::base(&url)?;
        let trust = self.ca_file.as_deref().map(Trust::with_file).transpose()?.unwrap_or_default();
        let transports = match self.own_transport.take() {
            Some(OwnTransport(make)) => make,
            None => self.transport.factory(&url, clock, &trust)?,
        };
        let storage = Storage::new(&url, clock, trust, self.external_hosts.take());
        let paused: Vec<bool> = self.workers.iter().map(|worker| worker.paused).collect();
        let (store, recovered) = self.open_store(&url)?;
        self.make_room(&recovered);
        let seed = seed();
        let (hub, most_threads) = self.hub(seed)?;
        let recorder = self.recorder(seed, &clock)?;
        let worker_id = self.worker_id.take().unwrap_or_else(host_and_process);
        let workers: Arc<[WorkerSlots]> = std::mem::take(&mut self.workers)
            .into_iter()
            .map(|worker| WorkerSlots::new(worker, &worker_id))
            .collect();
        for slots in &*workers {
            check_names(slots)?;
        }
        let refused = |cause| Error::System { what: "the admin endpoint's address", cause };
        let listener = self.admin.map(admin::listen).transpose().map_err(refused)?;
        let store = store.map(Arc::new);
        let shared = Arc::new(Shared {
            note_process: store.as_ref().map(note_process),
            clock,
            scheduler: Scheduler::new(HubCore::new(hub, recorder, Arc::clone(&workers)), most_threads),
            workers,
            transports,
            storage,
            max_task: self.max_task,
            credentials: self.credentials.take(),
            token: RwLock::new(None),
            store,
            events: self.events.take(),
            metrics: self.metrics.take(),
            admin: listener.as_ref().map(|(_, address)| *address),
            counts: Counts::default(),
            link: Condition::new("the server cannot be reached", "the server can be reached again"),
            auth: Condition::new("the server gives no token", "the server gives tokens again"),
            keeps: Condition::grave(
                "results cannot be stored; they stay in memory, and with no entry free no task is asked for",
                "results can be stored again",
            ),
            recalled: Mutex::default(),
            recalled_ended: Condvar::new(),
            signals: OnceLock::new(),
            over: Mutex::new(false),
            over_changed: Condvar::new(),
        });
        if let (Some((listener, _)), Some(metrics)) = (listener, &shared.metrics) {
            serve_admin(listener, &shared, metrics.clone())?;
        }
        launch(&shared, &paused, self.signals, (recovered, self.end_process.take()))
    }

    /// The store, if there is to be one.
    fn open_store(&self, url: &str) -> Result<(Option<Store>, Recovered), Error> {
        let Some(path) = self.store.as_deref() else { return Ok((None, Recovered::default())) };
        let (store, recovered) = Store::open(path, url, self.store_bounds, self.journal)?;
        for warning in &recovered.warnings {
            tracing::warn!("{warning}");
        }
        if recovered.results > 0 {
            tracing::info!(
                results = recovered.results,
                "results of an earlier run wait in the store; they are sent first"
            );
        }
        Ok((Some(store), recovered))
    }

    /// Makes the tables large enough for all that an earlier run had in hand, with more slots than this one maybe: what has
    /// no entry has nobody to extend its lease.
    fn make_room(&mut self, recovered: &Recovered) {
        for worker in &mut self.workers {
            let is_of = |left: &&Left| left.task_type == worker.task;
            let left = recovered.finished.iter().chain(&recovered.give_back).filter(is_of).count();
            let left = u16::try_from(left).unwrap_or(u16::MAX);
            worker.table = Some(worker.capacity().max(left));
        }
    }

    /// The hub with its machines, and the bound of its threads.
    fn hub(&self, seed: u64) -> Result<(BoxedHub, usize), Error> {
        let mut members = Vec::new();
        let mut slots = 0;
        for (worker, number) in self.workers.iter().zip(1_u64..) {
            slots += usize::from(worker.policy.concurrency);
            members.push(self.member(worker, seed.wrapping_add(number))?);
        }
        if members.is_empty() {
            return Err(Error::NoWorker);
        }
        let policy = HubPolicy {
            max_calls: self.max_calls,
            authenticated: self.credentials.is_some(),
            ..HubPolicy::default()
        };
        let of_all = |cause| Error::Policy { task: "*".to_owned(), cause };
        let hub = Hub::new(members.into_boxed_slice(), policy, seed).map_err(of_all)?;
        Ok((hub, slots + usize::from(self.max_calls) + SPARE_THREADS))
    }

    fn recorder(&self, seed: u64, clock: &StdClock) -> Result<Option<Recorder>, Error> {
        let Some(recording) = self.record.clone() else { return Ok(None) };
        let since = i64::try_from(clock.now().as_millis()).unwrap_or(0);
        let epoch_ms = u64::try_from(unix_millis().saturating_sub(since)).unwrap_or(0);
        let names = self.workers.iter().map(|worker| worker.task.clone()).collect();
        let path = recording.file.clone();
        let recorder = Recorder::start(recording, RecordHeader { seed, epoch_ms, names });
        recorder.map(Some).map_err(|cause| Error::Record { path, cause })
    }

    fn member(&self, worker: &Worker, seed: u64) -> Result<BoxedMember, Error> {
        let of_worker = |cause: PolicyError| Error::Policy { task: worker.task.clone(), cause };
        let mut policy = worker.policy;
        policy.max_calls = self.max_calls;
        policy.authenticated = self.credentials.is_some();
        policy.store = self.store.is_some();
        policy.journaled = policy.store && self.journal != Journal::Off;
        policy.drain_timeout = self.drain_timeout;
        let capacity = usize::from(worker.capacity());
        policy.check(capacity).map_err(of_worker)?;
        let table = vec![Default::default(); capacity].into_boxed_slice();
        let machine = BoxedMachine::with_storage(table, policy, seed).map_err(of_worker)?;
        Ok(BoxedMember::new(machine))
    }
}

/// Starts what runs: pauses first, then the signals' thread, the store's, the scheduler's.
fn launch(
    shared: &Arc<Shared>,
    paused: &[bool],
    listens: bool,
    (recovered, end_process): (Recovered, Option<EndProcess>),
) -> Result<Running, Error> {
    let handle = Handle { shared: Arc::clone(shared) };
    // All at once, so that none asks for tasks before its own pause, and before all that an earlier run had in hand has its
    // place; then the others go on.
    let pauses = paused.contains(&true) || recovered.has_tasks();
    if pauses {
        shared.tell_before_start(HubInput::Control(Control::Pause));
    }
    shared.measure(|metrics| {
        for (slots, _) in shared.workers.iter().zip(paused).filter(|(_, paused)| **paused) {
            metrics.add(Name::Paused, &[&slots.task], 1);
        }
    });
    shared.measure_store();
    if listens {
        signals::watch(handle.clone())?;
    }
    let refused = |what| move |cause| Error::System { what, cause };
    let rest = leftover::take_back(shared, recovered);
    for (worker, _) in (0..).zip(paused).filter(|(_, paused)| pauses && !**paused) {
        shared.tell_before_start(HubInput::Worker { worker, input: Input::Control(Control::Resume) });
    }
    if shared.store.is_some() {
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("downbeat-store".to_owned());
        thread.spawn(move || resend::send_stored(&shared)).map_err(refused("the store's thread"))?;
    }
    shared.start_threads().map_err(refused("the first thread"))?;
    rest.see_to(shared, end_process).map_err(refused("a thread for an earlier run's tasks"))?;
    for slots in &*shared.workers {
        tracing::info!(worker = slots.task, domain = slots.domain, worker_id = slots.worker_id, "polling");
    }
    Ok(Running { handle })
}

/// Notes the process of a task's command in the store.
fn note_process(store: &Arc<Store>) -> NoteProcess {
    let store = Arc::clone(store);
    Arc::new(move |task, group, started| {
        if let Err(cause) = store.process(task, group, started) {
            let cause = store.said(&cause);
            tracing::warn!(task, cause, "the process of a task's command could not be noted");
        }
    })
}

/// Starts the admin endpoint.
fn serve_admin(listener: TcpListener, shared: &Arc<Shared>, metrics: Metrics) -> Result<(), Error> {
    let refused = |what| move |cause| Error::System { what, cause };
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("downbeat-admin".to_owned());
    let serve = move || admin::serve(&listener, &shared, &metrics);
    thread.spawn(serve).map_err(refused("the admin endpoint's thread")).map(drop)
}

/// Refuses names that no request could carry.
fn check_names(slots: &WorkerSlots) -> Result<(), Error> {
    match slots.poll_target(u16::MAX, LONG_POLL_MAX) {
        Ok(_) => Ok(()),
        Err(downbeat_core::wire::target::TargetError::TooLong) => Err(Error::Task {
            task: slots.task.clone(),
            problem: "it, its domain or its worker id is too long",
        }),
        Err(downbeat_core::wire::target::TargetError::Segment) => Err(Error::Task {
            task: slots.task.clone(),
            problem: "it is empty, `.`, `..` or has a `/` in it",
        }),
    }
}

/// Who polls, if nobody says: host and process.
fn host_and_process() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}

/// Feeds the jitter: another one for every process and start.
fn seed() -> u64 {
    let millis = u64::try_from(unix_millis()).unwrap_or(0);
    millis.rotate_left(20) ^ u64::from(std::process::id())
}
