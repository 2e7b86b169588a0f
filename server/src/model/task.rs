//! A task: where it stands, and what can be seen of it.

use std::time::Duration;

use downbeat_core::machine::{Instant, TaskKey};

use super::effect::Report;

/// One task.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) definition: usize,
    pub(super) state: State,
    /// `retryCount`: 0 for the first attempt.
    pub(super) attempt: u32,
    /// `pollCount`.
    pub(super) deliveries: u32,
    /// When it was scheduled, a retry's delay added: `pollTimeoutSeconds` counts from here, whatever comes later.
    pub(super) scheduled: Instant,
    /// `callbackAfterSeconds` of the report that put it back; zero once it is delivered.
    pub(super) callback_after: Duration,
    /// When it was delivered first.
    pub(super) started: Option<Instant>,
    pub(super) retry_of: Option<TaskKey>,
    pub(super) retried_as: Option<TaskKey>,
    /// Whether its coming has been told.
    pub(super) told: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// SCHEDULED, in its queue.
    Queued,
    /// SCHEDULED, in its queue from then on.
    Postponed { until: Instant },
    /// IN_PROGRESS.
    Leased { worker: u32, until: Instant },
    /// Any final status.
    Ended(End),
}

/// How a task ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// By a report: COMPLETED, FAILED or FAILED_WITH_TERMINAL_ERROR.
    Reported(Report),
    /// TIMED_OUT: `responseTimeoutSeconds` without a sign of life.
    NoResponse,
    /// TIMED_OUT: `timeoutSeconds` after its first delivery.
    Overran,
    /// TIMED_OUT: SCHEDULED when `pollTimeoutSeconds` since its first scheduling were over (R-TIMEOUT-3).
    NotPolled,
    /// CANCELED: its workflow ended.
    Canceled,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// SCHEDULED.
    Scheduled,
    /// IN_PROGRESS, with the end of its lease.
    InProgress {
        /// When it times out unless there is a sign of life.
        until: Instant,
    },
    /// Ended for good.
    Ended(End),
}

/// What can be seen of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct View {
    /// Where it stands.
    pub stage: Stage,
    /// `retryCount`.
    pub attempt: u32,
    /// `pollCount`.
    pub deliveries: u32,
    /// The task that follows it after a failure.
    pub retried_as: Option<TaskKey>,
}
