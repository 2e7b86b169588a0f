//! The runner: builder, start, and what can be said to it from other threads.

mod admin;
mod answer;
mod calls;
mod condition;
mod counts;
mod credentials;
mod external;
mod handle;
mod held_task;
mod hub_core;
mod journal;
mod leftover;
mod perform;
mod performer;
mod refusals;
mod report;
mod resend;
mod scheduler;
mod shared;
mod signals;
mod slots;
mod start;
mod sync;
mod thread;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use downbeat_core::ports::Transport;

use self::credentials::Credentials;
use crate::config::{Environment, Setting};
use crate::error::Error;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::record::Recording;
use crate::store::{Bounds, Journal};
use crate::transport::{Factory, TransportChoice};
use crate::worker::Worker;

pub(crate) use leftover::EndProcess;

pub use counts::Summary;
pub use handle::{Handle, Running, WorkerState};

/// Runs workers against one Conductor server: a builder, then [`Runner::run`] or [`Runner::start`].
///
/// One token and one budget of calls are shared by all workers.
#[derive(Debug)]
pub struct Runner {
    pub(crate) url: Option<String>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) worker_id: Option<String>,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) max_calls: u16,
    pub(crate) store: Option<PathBuf>,
    pub(crate) store_bounds: Bounds,
    pub(crate) journal: Journal,
    pub(crate) end_process: Option<EndProcess>,
    pub(crate) max_task: usize,
    pub(crate) external_hosts: Option<Vec<String>>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) record: Option<Recording>,
    pub(crate) events: Option<SyncSender<Event>>,
    pub(crate) transport: TransportChoice,
    pub(crate) own_transport: Option<OwnTransport>,
    pub(crate) signals: bool,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) admin: Option<SocketAddr>,
    environment: Environment,
}

/// What makes the user's transports.
pub(crate) struct OwnTransport(pub(crate) Factory);

impl std::fmt::Debug for OwnTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnTransport(…)")
    }
}

/// Bytes of the largest task, unless told; Conductor's own limit is 10 MiB for an input, and as much for an output.
const MAX_TASK: usize = 64 << 20;
/// The least that it can be told to be.
const MAX_TASK_LEAST: usize = 64 << 10;

impl Runner {
    /// Starts a description of a runner for the API at `url`, which ends in `/api` for Conductor's own server.
    ///
    /// The environment is not looked at; see [`Runner::from_env`].
    pub fn builder(url: impl Into<String>) -> Self {
        Self {
            url: Some(url.into()),
            credentials: None,
            workers: Vec::new(),
            worker_id: None,
            drain_timeout: Some(Duration::from_secs(25)),
            max_calls: 16,
            store: None,
            store_bounds: Bounds::default(),
            journal: Journal::default(),
            end_process: None,
            max_task: MAX_TASK,
            external_hosts: None,
            ca_file: None,
            record: None,
            events: None,
            transport: TransportChoice::default(),
            own_transport: None,
            signals: true,
            metrics: None,
            admin: None,
            environment: Environment::default(),
        }
    }

    /// Starts a description from the environment, with the variables of Conductor's SDKs.
    ///
    /// - `CONDUCTOR_SERVER_URL`, and `CONDUCTOR_AUTH_KEY` with `CONDUCTOR_AUTH_SECRET` (or, where neither is set, Java's
    ///   older `CONDUCTOR_SERVER_AUTH_KEY` with `CONDUCTOR_SERVER_AUTH_SECRET`).
    /// - `CONDUCTOR_TLS_CA_PATH`: as [`Runner::ca_file`].
    /// - `CONDUCTOR_WORKER_<TASK>_<PROPERTY>`, `CONDUCTOR_WORKER_ALL_<PROPERTY>` and `CONDUCTOR_WORKER_<PROPERTY>`,
    ///   the first that is set, override what the code says of each worker; so do `conductor.worker.<task>.<property>`
    ///   and `conductor.worker.all.<property>`. Properties: `SLOTS` (also `THREAD_COUNT`, `CONCURRENCY`,
    ///   `BATCH_SIZE`), `DOMAIN`, `WORKER_ID`, `POLL_INTERVAL` (milliseconds; also `POLL_INTERVAL_MILLIS`,
    ///   `POLLING_INTERVAL`), `ASK_INTERVAL` (milliseconds, or `never`), `REPORT_TIMEOUT` and `STORE_AFTER` (milliseconds),
    ///   `ON_LAPSE` (`finish` or `stop`), `PAUSED`. In `<TASK>` whatever is no letter or digit is `_`. [`variables`](crate::variables)
    ///   lists the names of one.
    ///
    /// # Errors
    /// No server is named, or only one of key and secret.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(Environment::from_process())
    }

    /// As [`Runner::from_env`], from variables that the caller gives.
    ///
    /// # Errors
    /// No server is named, or only one of key and secret.
    ///
    /// ```
    /// let variables = [("CONDUCTOR_SERVER_URL".to_owned(), "http://localhost:8080/api".to_owned())];
    /// assert!(downbeat::Runner::from_variables(variables).is_ok());
    /// assert!(downbeat::Runner::from_variables([]).is_err());
    /// ```
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        Self::from_environment(Environment::new(variables))
    }

    fn from_environment(environment: Environment) -> Result<Self, Error> {
        /// The names that all SDKs have, and Java's older ones.
        const PAIRS: [[&str; 2]; 2] = [
            ["CONDUCTOR_AUTH_KEY", "CONDUCTOR_AUTH_SECRET"],
            ["CONDUCTOR_SERVER_AUTH_KEY", "CONDUCTOR_SERVER_AUTH_SECRET"],
        ];
        let url = environment.get("CONDUCTOR_SERVER_URL").ok_or(Error::NoServer)?;
        let mut runner = Self::builder(url);
        for [key, secret] in PAIRS {
            runner = match (environment.get(key), environment.get(secret)) {
                (None, None) => continue,
                (Some(key), Some(secret)) => runner.auth(key, secret),
                (Some(_), None) => return Err(Error::HalfCredentials { present: key, missing: secret }),
                (None, Some(_)) => return Err(Error::HalfCredentials { present: secret, missing: key }),
            };
            break;
        }
        runner.ca_file = environment.get("CONDUCTOR_TLS_CA_PATH").map(PathBuf::from);
        runner.environment = environment;
        Ok(runner)
    }

    /// Forces a transport; see [`TransportChoice`] for the default.
    #[must_use]
    pub const fn transport(mut self, choice: TransportChoice) -> Self {
        self.transport = choice;
        self
    }

    /// Sends requests by a transport of your own: a Unix socket, a gateway, a script in a test. Each thread that
    /// performs calls has one made for it, and a new one after it panicked; [`Runner::transport`] has no effect then. An
    /// input in external storage is not fetched by it.
    #[must_use]
    pub fn own_transport(
        mut self,
        make: impl Fn() -> Box<dyn Transport + Send> + Send + Sync + 'static,
    ) -> Self {
        self.own_transport = Some(OwnTransport(Box::new(make)));
        self
    }

    /// Trusts the certificates in this file (PEM) besides those that the machine trusts: for a server whose certificate
    /// was issued by an authority of your own. It counts for external storage too.
    ///
    /// The machine trusts what its store of certificates has, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name in its
    /// place; if there is none (an empty container), Mozilla's list counts.
    #[must_use]
    pub fn ca_file(mut self, file: impl AsRef<Path>) -> Self {
        self.ca_file = Some(file.as_ref().to_owned());
        self
    }

    /// Bytes of the largest task that is taken, and of the largest input that is fetched from external storage. A task
    /// above it fails, and its reason names both sizes. At least 65,536. Default 67,108,864 (64 MiB).
    ///
    /// A runner may hold so much for each slot. An answer that is four times as large as what was asked for can be is
    /// broken off, and its poll counts as failed.
    #[must_use]
    pub fn max_task(mut self, bytes: usize) -> Self {
        self.max_task = bytes.max(MAX_TASK_LEAST);
        self
    }

    /// The hosts from which inputs in external storage are fetched, besides the server itself: `host`, `host:port`, or
    /// `*.domain`. Default: any, unless its addresses are of this machine or of its network link alone (there clouds hand
    /// out credentials).
    ///
    /// The server names the place, and what is there becomes a task's input: name the hosts where the server is trusted
    /// less than what this process can reach. Redirects are held to the same rule; no token is ever sent there.
    #[must_use]
    pub fn external_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.external_hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// Replaces the server's address.
    #[must_use]
    pub fn server(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Authenticates with a key and its secret: one token for all workers, renewed in time.
    #[must_use]
    pub fn auth(mut self, key: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some(Credentials { key: key.into(), secret: secret.into() });
        self
    }

    /// Adds a worker; 1 to 65,534.
    #[must_use]
    pub fn worker(mut self, worker: Worker) -> Self {
        self.workers.push(worker);
        self
    }

    /// The name under which all workers poll that have none of their own. Default: host name and process id.
    #[must_use]
    pub fn worker_id(mut self, worker_id: impl Into<String>) -> Self {
        self.worker_id = Some(worker_id.into()).filter(|id| !id.is_empty());
        self
    }

    /// How long a drain waits for running tasks before it gives them back; `None`: for ever. Default 25 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.drain_timeout = timeout.into();
        self
    }

    /// Keeps results in this directory until the server has taken them (it is made, mode 0700), and sends from there what
    /// it does not take, also after a restart. A directory is one runner's at a time, and belongs to one server: with
    /// another URL the runner does not start. [`Runner::journal`] says when a result is written. Default: results stay in
    /// memory.
    #[must_use]
    pub fn store(mut self, directory: impl AsRef<Path>) -> Self {
        self.store = Some(directory.as_ref().to_owned());
        self
    }

    /// When results are written to the store; without one it has no effect. Default: [`Journal::Finish`].
    #[must_use]
    pub const fn journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    /// What ends a process that an earlier run of this store has left behind: it is called at the start, by a thread for each
    /// process, with what [`Context::note_process`](crate::Context::note_process) was told. The process is to be gone when it
    /// returns: then its task is given back. Default: such a process is named in the log alone.
    #[doc(hidden)]
    #[must_use]
    pub fn on_leftover_process(mut self, end: impl Fn(i32, u64) + Send + Sync + 'static) -> Self {
        self.end_process = Some(EndProcess(Box::new(end)));
        self
    }

    /// Bytes that each part of the store holds at the most: results that wait, dead letters, damaged files. One result is
    /// held, however large. Default: 1,073,741,824 (1 GiB).
    ///
    /// Nothing is dropped at a bound. Where no more results may wait they stay in memory, and once no entry is free no
    /// task is asked for; if there is no room for a dead letter it waits with the others, and the server is asked
    /// again. Both are logged as errors.
    #[must_use]
    pub const fn store_max(mut self, bytes: u64) -> Self {
        self.store_bounds.bytes = bytes;
        self
    }

    /// Results or files that each part of the store holds at the most, as [`Runner::store_max`]. Default 10,000.
    #[must_use]
    pub const fn store_max_files(mut self, files: u64) -> Self {
        self.store_bounds.files = files;
        self
    }

    /// Records the run, for `downbeat-sim replay`, `view` and `explain` (docs/timelines.md): no input, output, reason or
    /// token is in a record. Default: nothing is recorded.
    #[must_use]
    pub fn record(mut self, recording: Recording) -> Self {
        self.record = Some(recording);
        self
    }

    /// Calls to the server in flight at once, over all workers: at least 2. Default 16.
    #[must_use]
    pub const fn max_calls(mut self, calls: u16) -> Self {
        self.max_calls = calls;
        self
    }

    /// Delivers events through a channel that holds `capacity` of them. A full channel, and one whose receiver is
    /// gone, drops the event and counts it in [`Summary::events_dropped`].
    pub fn events(&mut self, capacity: usize) -> Receiver<Event> {
        let (sender, receiver) = sync_channel(capacity);
        self.events = Some(sender);
        receiver
    }

    /// Counts and measures, under the names that Conductor's SDKs share; see [`Metrics`]. Default: not.
    pub fn metrics(&mut self) -> Metrics {
        self.metrics.get_or_insert_default().clone()
    }

    /// Serves `/metrics`, `/health` and `/ready` over HTTP at this address, for as long as the runner lives. It is
    /// readable by everybody who reaches the address. Default: not.
    #[must_use]
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self.metrics.get_or_insert_default();
        self
    }

    /// Whether the first `SIGTERM` or `SIGINT` drains and the second aborts. Default true; a program that handles
    /// signals itself turns it off and calls [`Handle::drain`]. When no runner of the process listens any more, both
    /// have their usual effect.
    #[must_use]
    pub const fn signals(mut self, handled: bool) -> Self {
        self.signals = handled;
        self
    }

    /// What the environment changes about the workers so far, and which variable won.
    ///
    /// # Errors
    /// A variable's value is not allowed.
    pub fn settings(&mut self) -> Result<Vec<Setting>, Error> {
        let mut settings = Vec::new();
        for worker in &mut self.workers {
            self.environment.apply(worker, &mut settings)?;
        }
        Ok(settings)
    }

    /// Variables for workers that mean nothing to the workers so far: likely mistakes.
    #[must_use]
    pub fn unknown_variables(&self) -> Vec<String> {
        let tasks: Vec<String> = self.workers.iter().map(|worker| worker.task.clone()).collect();
        self.environment.unknown(&tasks).map(str::to_owned).collect()
    }

    /// Runs until drained: by a signal (unless turned off) or for ever.
    ///
    /// # Errors
    /// The description is wrong, or the system refuses a thread or the store; nothing has been polled then.
    pub fn run(self) -> Result<Summary, Error> {
        Ok(self.start()?.join())
    }
}
