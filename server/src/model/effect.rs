//! What the server did, for whoever records or judges it.

use downbeat_core::machine::{CallId, TaskKey};
use serde::{Deserialize, Serialize};

/// What the server did. Task keys tell deliveries of one task apart from those of its retries: a retry has a new id.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A task was put into the queue: a new one, or the retry of another.
    Scheduled {
        /// Which task.
        key: TaskKey,
        /// The number of its stream in the scenario.
        stream: u32,
        /// The task that this one retries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_of: Option<TaskKey>,
    },
    /// A task was handed to a worker.
    Delivered {
        /// Which task.
        key: TaskKey,
        /// To whom.
        worker: u32,
        /// By which of its calls.
        call: CallId,
        /// How long the lease is.
        #[serde(with = "micros")]
        lease: core::time::Duration,
    },
    /// A lease was extended; `known` if the task was in progress.
    Extended {
        /// Which task.
        key: TaskKey,
        /// By whom.
        worker: u32,
        /// Whether it had effect.
        known: bool,
    },
    /// The workflow of a task was terminated or restarted: the task is CANCELED, or gone.
    Cancelled {
        /// Which task.
        key: TaskKey,
        /// Who had it.
        worker: u32,
    },
    /// A lease ended unextended: the task is TIMED_OUT, and a retry may follow.
    Lapsed {
        /// Which task.
        key: TaskKey,
        /// Whose lease it was.
        worker: u32,
    },
    /// A report arrived.
    Reported {
        /// Which task.
        key: TaskKey,
        /// From whom.
        worker: u32,
        /// By which call; `None` if by the store's sender.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// What it said.
        report: Report,
        /// Whether it changed anything: the first terminal report does, later ones are ignored with a 200.
        applied: bool,
    },
    /// A token was issued.
    TokenIssued {
        /// To whom.
        worker: u32,
    },
    /// A poll or an update was answered with 401 for its token.
    #[serde(alias = "token_refused")]
    Unauthorized {
        /// From whom.
        worker: u32,
    },
}

/// What a report said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// `COMPLETED`.
    Completed,
    /// `FAILED`.
    Failed,
    /// `FAILED_WITH_TERMINAL_ERROR`.
    Terminal,
    /// `IN_PROGRESS` with a callback.
    Yield,
}

/// A length of time in a record: whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}
