//! The model server over HTTP on loopback: a development server, with faults to order.
//!
//! It answers as a real Conductor does, quirks included (docs/server-rules.md), for what a worker, and a person who
//! develops one, need: task and workflow definitions, workflows of SIMPLE tasks in sequence, polls, results, logs,
//! queues, tokens. Beside `/api` there is `/control`: order faults, read counters, revoke tokens.
//!
//! ```
//! use downbeat_sim::serve::{Options, Server};
//! let server = Server::start(Options::default())?;
//! server.define_task(r#"{"name":"greet"}"#)?;
//! let workflow = server.schedule("greet", r#"{"name":"Ada"}"#)?;
//! assert!(server.url().starts_with("http://127.0.0.1:"));
//! assert_eq!(server.workflow(&workflow).map(|workflow| workflow.tasks.len()), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod clock;
mod conductor;
mod connection;
mod control;
mod faults;
mod handle;
mod read;
mod request;
mod route;
mod shared;
mod stats;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use self::conductor::Start;
pub use self::conductor::{Log, Refused, Status, TaskCounts, TaskView, WorkflowStatus, WorkflowView};
pub use self::faults::{ActiveFault, CallKind, Fault, FaultKind, Faults};
use self::shared::Shared;
pub use self::stats::{Second, Stats};
pub use crate::server::Backend;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0: any free one. Default: `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// A token is wanted on every call but `/token`, `/version` and `/health`. Default: none is.
    pub auth: Option<Auth>,
    /// How polls wait (R-POLL-3). Default: as on Redis.
    pub backend: Backend,
    /// Feeds ids, tokens and the chance of faults. Default: taken from the clock.
    pub seed: Option<u64>,
    /// Whether `update-v2` is known; 404 otherwise. Default: it is.
    pub update_v2: bool,
    /// Inputs of more bytes are handed out as a path into the external storage (R-PAYLOAD-4). Default: 3,145,728.
    pub input_inline_max: usize,
    /// Outputs of more bytes are moved there (R-PAYLOAD-2). Default: 3,145,728.
    pub output_inline_max: usize,
    /// Outputs of more bytes fail their task and workflow (R-PAYLOAD-3). Default: 10,485,760.
    pub output_max: usize,
    /// How many ended workflows are kept; the oldest are forgotten first, with their tasks: 404 from then on.
    /// Default: 100,000.
    pub ended_kept: usize,
    /// Whether the external storage tells a URL that can be read; the real default one does not. Default: it does.
    pub external_readable: bool,
    /// An idle connection is closed after this (R-HTTP-2). Default: 60 s.
    pub idle_close: Duration,
    /// A connection is closed after so many answers (R-HTTP-1). Default: 100.
    pub answers_per_connection: u32,
    /// Requests handled at once; a long poll holds one (R-HTTP-4). Default: 200.
    pub threads: usize,
}

/// A key and its secret, and how long a token for them is good.
#[derive(Clone)]
pub struct Auth {
    /// `keyId`.
    pub key: String,
    /// `keySecret`.
    pub secret: String,
    /// How long a token is good (R-TOKEN-2).
    pub token_life: Duration,
}

impl std::fmt::Debug for Auth {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("token_life", &self.token_life).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            auth: None,
            backend: Backend::Redis,
            seed: None,
            update_v2: true,
            input_inline_max: 3_072 * 1_024,
            output_inline_max: 3_072 * 1_024,
            output_max: 10_240 * 1_024,
            ended_kept: 100_000,
            external_readable: true,
            idle_close: Duration::from_secs(60),
            answers_per_connection: 100,
            threads: 200,
        }
    }
}

/// A running server, on threads of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server; it answers when this returns.
    ///
    /// # Errors
    /// The address cannot be listened on, or a thread cannot be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("downbeat-serve")
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let shared = Arc::new(Shared::new(options, address));
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("downbeat-serve".to_owned()).spawn(move || {
            runtime.block_on(connection::serve(serving, listener, address));
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// The base of the API: `http://127.0.0.1:PORT/api`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers a task definition, as JSON.
    ///
    /// # Errors
    /// It is not one, as the server would say.
    pub fn define_task(&self, definition: &str) -> Result<(), Refused> {
        self.shared.with(|conductor, now| conductor.define_tasks(now, definition))
    }

    /// Registers a workflow definition, as JSON; one of the same name and version is replaced.
    ///
    /// # Errors
    /// It is not one, as the server would say.
    pub fn define_workflow(&self, definition: &str) -> Result<(), Refused> {
        self.shared.with(|conductor, _| conductor.define_workflow(definition, true)).map(drop)
    }

    /// Starts the newest version of a workflow with an input (a JSON object); its id.
    ///
    /// # Errors
    /// There is no such workflow, or the input is not JSON.
    pub fn start_workflow(&self, name: &str, input: &str) -> Result<String, Refused> {
        self.begin(name, input, None)
    }

    /// Schedules one task of a type: starts a workflow of its name with that one task, whose input is the workflow's.
    /// The workflow's id.
    ///
    /// # Errors
    /// The input is not a JSON object, or the name cannot be one of a workflow.
    pub fn schedule(&self, task: &str, input: &str) -> Result<String, Refused> {
        self.schedule_in(task, None, input)
    }

    /// The same in a domain.
    ///
    /// # Errors
    /// As for [`Server::schedule`].
    pub fn schedule_in(&self, task: &str, domain: Option<&str>, input: &str) -> Result<String, Refused> {
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let members: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
            serde_json::from_str(input).map_err(|error| Refused::unreadable(&error))?;
        let parameters = members
            .keys()
            .map(|name| format!("{}:{}", text(name), text(&format!("${{workflow.input.{name}}}"))));
        let parameters = parameters.collect::<Vec<_>>().join(",");
        let name = format!("one {task} {:x}", crate::random::mix(parameters.len() as u64));
        let definition = format!(
            r#"{{"name":{},"version":1,"tasks":[{{"name":{},"taskReferenceName":"task","type":"SIMPLE","inputParameters":{{{parameters}}}}}]}}"#,
            text(&name),
            text(task)
        );
        self.define_workflow(&definition)?;
        self.begin(&name, input, domain.map(|domain| [(task.to_owned(), domain.to_owned())].into()))
    }

    fn begin(
        &self,
        name: &str,
        input: &str,
        domains: Option<std::collections::BTreeMap<String, String>>,
    ) -> Result<String, Refused> {
        let input = serde_json::from_str(input).map_err(|error| Refused::unreadable(&error))?;
        let start =
            Start { name: name.to_owned(), input: Some(input), task_to_domain: domains, ..Start::default() };
        self.shared.with(|conductor, now| conductor.start(now, start))
    }

    /// A workflow with its tasks.
    #[must_use]
    pub fn workflow(&self, id: &str) -> Option<WorkflowView> {
        self.shared.with(|conductor, _| conductor.workflow_view(id))
    }

    /// How many workflows there are of each status.
    #[must_use]
    pub fn workflows(&self) -> std::collections::BTreeMap<WorkflowStatus, u64> {
        self.shared.with(|conductor, _| conductor.workflow_counts())
    }

    /// Ends a workflow; its tasks become CANCELED.
    ///
    /// # Errors
    /// There is no such workflow, or it has ended.
    pub fn terminate(&self, id: &str, reason: &str) -> Result<(), Refused> {
        self.shared.with(|conductor, now| conductor.terminate(now, id, Some(reason.to_owned())))
    }

    /// How many tasks of a type wait in its queue; those that are out do not count.
    #[must_use]
    pub fn waiting(&self, task: &str, domain: Option<&str>) -> usize {
        self.shared.with(|conductor, _| conductor.queue_size(task, domain))
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// What has been asked and done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// No token issued so far is good any more.
    pub fn revoke_tokens(&self) {
        self.shared.with(|conductor, _| conductor.revoke_tokens());
    }

    /// Stops: connections are refused, polls that wait end, threads are joined. Dropping does the same.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported by the panic hook.
            let _ = thread.join();
        }
    }
}
