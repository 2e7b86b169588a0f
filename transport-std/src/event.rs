//! The seven events that Conductor's SDKs have, derived from the machine's inputs and actions.

use std::time::Duration;

/// Something that happened to a worker. Fields are those of Conductor's SDKs.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, in milliseconds since 1970 (wall clock).
    pub timestamp: i64,
    /// The task type of the worker.
    pub task_type: String,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// Tasks are asked for.
    PollStarted {
        /// Who asks.
        worker_id: String,
        /// How many tasks are asked for.
        poll_count: u16,
    },
    /// A poll was answered.
    PollCompleted {
        /// How long the call took.
        duration: Duration,
        /// How many tasks it brought.
        tasks_received: u32,
    },
    /// A poll failed.
    PollFailure {
        /// How long the call took.
        duration: Duration,
        /// What happened.
        cause: String,
    },
    /// The handler is called.
    TaskExecutionStarted {
        /// Which task.
        task_id: String,
        /// The workflow that it is of.
        workflow_instance_id: String,
        /// Who runs it.
        worker_id: String,
    },
    /// The handler ended, with an output or with progress.
    TaskExecutionCompleted {
        /// Which task.
        task_id: String,
        /// The workflow that it is of.
        workflow_instance_id: String,
        /// Who ran it.
        worker_id: String,
        /// How long it ran.
        duration: Duration,
        /// Bytes of its output.
        output_size_bytes: usize,
    },
    /// The handler failed, panicked, or could not be called.
    TaskExecutionFailure {
        /// Which task.
        task_id: String,
        /// The workflow that it is of.
        workflow_instance_id: String,
        /// Who ran it.
        worker_id: String,
        /// How long it ran.
        duration: Duration,
        /// The reason that is reported.
        cause: String,
        /// Whether the server may try it again.
        is_retryable: bool,
    },
    /// The server did not take a result: it went to the store, or was given up.
    TaskUpdateFailure {
        /// Which task.
        task_id: String,
        /// The workflow that it is of.
        workflow_instance_id: String,
        /// Who ran it.
        worker_id: String,
        /// What happened to the last report, or why the result was given up.
        cause: String,
        /// How often it was reported.
        retry_count: u16,
        /// The result as it was to be sent. Holds the task's output.
        task_result: String,
    },
}

impl EventKind {
    /// The event's name in the SDKs: `PollStarted` and so on.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PollStarted { .. } => "PollStarted",
            Self::PollCompleted { .. } => "PollCompleted",
            Self::PollFailure { .. } => "PollFailure",
            Self::TaskExecutionStarted { .. } => "TaskExecutionStarted",
            Self::TaskExecutionCompleted { .. } => "TaskExecutionCompleted",
            Self::TaskExecutionFailure { .. } => "TaskExecutionFailure",
            Self::TaskUpdateFailure { .. } => "TaskUpdateFailure",
        }
    }
}
