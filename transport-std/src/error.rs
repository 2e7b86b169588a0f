//! What can go wrong: for the runner ([`Error`]) and for one task ([`TaskError`]).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use downbeat_core::machine::PolicyError;
use serde::Serialize;
use serde_json::value::RawValue;

/// Why a runner could not start. A task's failure is no error of the runner.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server was named.
    #[error(
        "no Conductor server is named; set CONDUCTOR_SERVER_URL, for example to http://localhost:8080/api"
    )]
    NoServer,
    /// The server's address cannot be used.
    #[error(
        "`{url}` is not the address of a Conductor API: {problem}; it looks like http://localhost:8080/api"
    )]
    Url {
        /// What was given, without user information.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Only one of key and secret is there.
    #[error("{present} is set and {missing} is not; set both for a server with authentication, or neither")]
    HalfCredentials {
        /// What is there.
        present: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// A runner without workers has nothing to do.
    #[error("the runner has no worker; add one with `.worker(Worker::new(…))`")]
    NoWorker,
    /// A worker's task type cannot be asked for.
    #[error("`{task}` cannot be a worker's task type: {problem}")]
    Task {
        /// The type.
        task: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A setting from the environment is not what is allowed there.
    #[error("the environment variable {variable} has the value `{value}`, and takes {allowed}")]
    Setting {
        /// The variable's name.
        variable: String,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A worker's settings contradict the machine's bounds.
    #[error("the worker for `{task}`: {cause}")]
    Policy {
        /// The worker's task type; `*` for what all share.
        task: String,
        /// The field and what it takes.
        cause: PolicyError,
    },
    /// The file of further root certificates cannot be used.
    #[error(
        "the certificates in {} cannot be used: {problem}; it takes a PEM file with one certificate or more, each \
         beginning with -----BEGIN CERTIFICATE-----", path.display()
    )]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The record cannot be written where it is asked for.
    #[error("the record {}: {cause}; choose a file in a directory that this process may write to", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What happened.
        cause: io::Error,
    },
    /// The store's directory cannot be used.
    #[error("the store {}: {cause}; results that the server does not take are kept there", path.display())]
    Store {
        /// The directory or the file.
        path: PathBuf,
        /// What happened.
        cause: io::Error,
    },
    /// The store belongs to another server: what is in it is not for this one.
    #[error(
        "the store {} belongs to {belongs_to}, and this runner is for {server}: its results would be lost to the one \
         and shown to the other; name another directory, or the server to which it belongs", path.display()
    )]
    StoreServer {
        /// The directory.
        path: PathBuf,
        /// The server that the store was made for.
        belongs_to: String,
        /// The server of this runner.
        server: String,
    },
    /// Not even the first thread could be started, or no signal handler.
    #[error("the system refused {what}: {cause}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What happened.
        cause: io::Error,
    },
}

/// How a task ended that did not complete.
///
/// Any error converts into a retryable one by `?`, its text and those of its causes being the reason. (That is why
/// this type is no [`std::error::Error`] itself.)
pub struct TaskError {
    pub(crate) kind: TaskErrorKind,
    pub(crate) output: Option<Result<Box<RawValue>, String>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TaskErrorKind {
    Retryable(String),
    Terminal(String),
    InProgress(Duration),
    /// [`Context::give_back`](crate::Context::give_back).
    GiveBack,
}

impl TaskError {
    /// The task failed, and the server may try it again: `FAILED`. The server keeps 500 characters of the reason.
    pub fn retryable(reason: impl Into<String>) -> Self {
        Self { kind: TaskErrorKind::Retryable(reason.into()), output: None }
    }

    /// The task failed, and trying again is of no use: `FAILED_WITH_TERMINAL_ERROR`. Its workflow fails.
    pub fn terminal(reason: impl Into<String>) -> Self {
        Self { kind: TaskErrorKind::Terminal(reason.into()), output: None }
    }

    /// The task is not done: deliver it again after this time (whole seconds, rounded up, at least 1): `IN_PROGRESS`.
    ///
    /// Leases are extended by the runner; this is for tasks that wait for something, not a heartbeat.
    #[must_use]
    pub const fn in_progress(after: Duration) -> Self {
        Self { kind: TaskErrorKind::InProgress(after), output: None }
    }

    /// Reports this output, an object, with the failure or the progress. Without it the output is `{}`, for progress
    /// what the task was polled with.
    #[must_use]
    pub fn with_output<O: Serialize>(mut self, output: O) -> Self {
        let raw = serde_json::value::to_raw_value(&output);
        self.output = Some(raw.map_err(|cause| format!("the output could not be encoded: {cause}")));
        self
    }
}

impl<E: std::error::Error> From<E> for TaskError {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let text = next.to_string();
            if !reason.contains(&text) {
                reason.push_str(": ");
                reason.push_str(&text);
            }
            cause = next.source();
        }
        Self::retryable(reason)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TaskErrorKind::Retryable(reason) => write!(f, "failed: {reason}"),
            TaskErrorKind::Terminal(reason) => write!(f, "failed for good: {reason}"),
            TaskErrorKind::InProgress(after) => write!(f, "in progress, to be called again after {after:?}"),
            TaskErrorKind::GiveBack => f.write_str("given back"),
        }
    }
}

/// Shows no output, which may hold secrets.
impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError").field("kind", &self.kind).finish_non_exhaustive()
    }
}
