//! The model server over HTTP on loopback: a development server, with faults to order.
//!
//! It answers as a real Conductor does, quirks included (docs/server-rules.md), for what a worker, and a person who
//! develops one, need: task and workflow definitions, workflows of SIMPLE tasks in sequence, polls, results, logs,
//! queues, tokens. Beside `/api` there is `/control`: order faults, read counters, revoke tokens.
//!
//! ```
//! use downbeat_server::http::{Options, Server};
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
mod options;
mod order;
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

use self::conductor::{Change, Start};
pub use self::conductor::{
    Log, Received, Refused, Status, TaskCounts, TaskView, WorkflowStatus, WorkflowView,
};
pub use self::faults::{ActiveFault, CallKind, Fault, FaultBody, FaultKind, Faults};
pub use self::options::{Auth, Options, UnknownV2};
use self::shared::Shared;
pub use self::stats::{Second, Stats};
pub use crate::model::{Backend, Generation};

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

    /// Returns the base of the API: `http://127.0.0.1:PORT/api`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Returns where it listens.
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

    /// Does the same in a domain.
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

    /// Returns a workflow with its tasks.
    #[must_use]
    pub fn workflow(&self, id: &str) -> Option<WorkflowView> {
        self.shared.with(|conductor, _| conductor.workflow_view(id))
    }

    /// Returns how many workflows there are of each status.
    #[must_use]
    pub fn workflows(&self) -> std::collections::BTreeMap<WorkflowStatus, u64> {
        self.shared.with(|conductor, _| conductor.workflow_counts())
    }

    /// Ends a workflow; its tasks become CANCELED.
    ///
    /// # Errors
    /// There is no such workflow, or it has ended.
    pub fn terminate(&self, id: &str, reason: &str) -> Result<(), Refused> {
        self.change(id, Change::Terminate, Some(reason.to_owned()))
    }

    /// Starts a workflow that has ended anew, under its id; its tasks so far are unknown from then on (R-UPDATE-13).
    ///
    /// # Errors
    /// There is no such workflow, or it has not ended.
    pub fn restart(&self, id: &str) -> Result<(), Refused> {
        self.change(id, Change::Restart, None)
    }

    /// Pauses a workflow: its tasks are polled and reported, and nothing follows (R-WORKFLOW-6).
    ///
    /// # Errors
    /// There is no such workflow, or it does not run.
    pub fn pause(&self, id: &str) -> Result<(), Refused> {
        self.change(id, Change::Pause, None)
    }

    /// Lets a paused workflow go on.
    ///
    /// # Errors
    /// There is no such workflow, or it is not paused.
    pub fn resume(&self, id: &str) -> Result<(), Refused> {
        self.change(id, Change::Resume, None)
    }

    /// Deletes a workflow, its tasks with it.
    ///
    /// # Errors
    /// There is no such workflow.
    pub fn remove(&self, id: &str) -> Result<(), Refused> {
        self.change(id, Change::Remove, None)
    }

    fn change(&self, id: &str, change: Change, reason: Option<String>) -> Result<(), Refused> {
        self.shared.with(|conductor, now| conductor.change(now, id, change, reason))
    }

    /// Returns what has been asked about a task, or `None` if it is not known, or not any more.
    #[must_use]
    pub fn received(&self, task: &str) -> Option<Received> {
        self.shared.with(|conductor, _| conductor.received(task))
    }

    /// Returns how many tasks of a type wait in its queue; those that are out do not count.
    #[must_use]
    pub fn waiting(&self, task: &str, domain: Option<&str>) -> usize {
        self.shared.with(|conductor, _| conductor.queue_size(task, domain))
    }

    /// Returns the faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// Returns what has been asked and done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Makes every token that was issued so far bad.
    pub fn revoke_tokens(&self) {
        self.shared.with(|conductor, _| conductor.revoke_tokens());
    }

    /// Stops the server: it refuses connections, ends polls that wait, and joins its threads. Dropping does
    /// the same.
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
