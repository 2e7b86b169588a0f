//! From a description to threads at work.

use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, OnceLock, RwLock};

use downbeat_core::machine::{Clock, Control, Hub, HubInput, HubPolicy, Input, LONG_POLL_MAX, PolicyError};

use super::condition::Condition;
use super::crew::{Crew, StdMachine, StdMember};
use super::handle::{Handle, Running};
use super::shared::{Counts, Shared, Side};
use super::{OwnTransport, Runner, resend, signals};
use crate::admin;
use crate::clock::{StdClock, unix_millis};
use crate::error::Error;
use crate::metrics::{Metrics, Name};
use crate::record::{Facts, Recorder};
use crate::store::Store;
use crate::transport::{self, Storage};
use crate::trust::Trust;
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
        let crew = self.crew(&clock)?;
        let worker_id = self.worker_id.take().unwrap_or_else(host_and_process);
        let sides: Box<[Side]> = std::mem::take(&mut self.workers)
            .into_iter()
            .map(|worker| Side::new(worker, &worker_id))
            .collect();
        for side in &sides {
            check_names(side)?;
        }
        let refused = |cause| Error::System { what: "the admin endpoint's address", cause };
        let listener = self.admin.map(admin::listen).transpose().map_err(refused)?;
        let shared = Arc::new(Shared {
            clock,
            crew,
            sides,
            transports,
            storage,
            max_task: self.max_task,
            credentials: self.credentials.take(),
            token: RwLock::new(None),
            store: self.store.as_deref().map(|path| Store::open(path, self.store_bounds)).transpose()?,
            events: self.events.take(),
            metrics: self.metrics.take(),
            admin: listener.as_ref().map(|(_, address)| *address),
            counts: Counts::default(),
            link: Condition::new("the server cannot be reached", "the server can be reached again"),
            auth: Condition::new("the server gives no token", "the server gives tokens again"),
            keeps: Condition::grave(
                "results cannot be stored; they stay in memory, and with no place free no task is asked for",
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
        launch(&shared, &paused, self.signals)
    }

    /// The hub with its machines, and the bounds of its crew.
    fn crew(&self, clock: &StdClock) -> Result<Crew, Error> {
        let mut members = Vec::new();
        let mut slots = 0;
        let seed = seed();
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
        let recorder = self.recorder(seed, clock)?;
        Ok(Crew::new(hub, recorder, slots + usize::from(self.max_calls) + SPARE_THREADS))
    }

    fn recorder(&self, seed: u64, clock: &StdClock) -> Result<Option<Recorder>, Error> {
        let Some(recording) = self.record.clone() else { return Ok(None) };
        let since = i64::try_from(clock.now().as_millis()).unwrap_or(0);
        let epoch_ms = u64::try_from(unix_millis().saturating_sub(since)).unwrap_or(0);
        let names = self.workers.iter().map(|worker| worker.task.clone()).collect();
        let path = recording.file.clone();
        let recorder = Recorder::start(recording, Facts { seed, epoch_ms, names });
        recorder.map(Some).map_err(|cause| Error::Record { path, cause })
    }

    fn member(&self, worker: &Worker, seed: u64) -> Result<StdMember, Error> {
        let of_worker = |cause: PolicyError| Error::Policy { task: worker.task.clone(), cause };
        let mut policy = worker.policy;
        policy.max_calls = self.max_calls;
        policy.authenticated = self.credentials.is_some();
        policy.store = self.store.is_some();
        policy.drain_timeout = self.drain_timeout;
        let capacity = usize::from(worker.capacity());
        policy.check(capacity).map_err(of_worker)?;
        let table = vec![Default::default(); capacity].into_boxed_slice();
        let machine = StdMachine::with_storage(table, policy, seed).map_err(of_worker)?;
        Ok(StdMember::new(machine))
    }
}

/// Starts what runs: pauses first, then the signals' thread, the store's, the crew.
fn launch(shared: &Arc<Shared>, paused: &[bool], listens: bool) -> Result<Running, Error> {
    let handle = Handle { shared: Arc::clone(shared) };
    if paused.contains(&true) {
        // All at once, so that none polls before its own pause; then the others go on.
        shared.tell_before_start(HubInput::Control(Control::Pause));
        for (worker, _) in (0..).zip(paused).filter(|(_, paused)| !**paused) {
            shared.tell_before_start(HubInput::Worker { worker, input: Input::Control(Control::Resume) });
        }
    }
    shared.measure(|metrics| {
        for (side, _) in shared.sides.iter().zip(paused).filter(|(_, paused)| **paused) {
            metrics.add(Name::Paused, &[&side.task], 1);
        }
    });
    shared.measure_store();
    if listens {
        signals::watch(handle.clone())?;
    }
    let refused = |what| move |cause| Error::System { what, cause };
    if shared.store.is_some() {
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("downbeat-store".to_owned());
        thread.spawn(move || resend::send_stored(&shared)).map_err(refused("the store's thread"))?;
    }
    shared.start_crew().map_err(refused("the first thread"))?;
    for side in &shared.sides {
        tracing::info!(worker = side.task, domain = side.domain, worker_id = side.worker_id, "polling");
    }
    Ok(Running { handle })
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
fn check_names(side: &Side) -> Result<(), Error> {
    match side.poll_target(u16::MAX, LONG_POLL_MAX) {
        Ok(_) => Ok(()),
        Err(downbeat_core::wire::target::TargetError::TooLong) => Err(Error::Task {
            task: side.task.clone(),
            problem: "it, its domain or its worker id is too long",
        }),
        Err(downbeat_core::wire::target::TargetError::Segment) => {
            Err(Error::Task { task: side.task.clone(), problem: "it is empty, `.`, `..` or has a `/` in it" })
        }
    }
}

/// Who polls, where nobody says: host and process.
fn host_and_process() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}

/// Feeds the jitter: another one for every process and start.
fn seed() -> u64 {
    let millis = u64::try_from(unix_millis()).unwrap_or(0);
    millis.rotate_left(20) ^ u64::from(std::process::id())
}
