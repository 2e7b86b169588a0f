//! A workflow, and what can be seen of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use downbeat_core::machine::{Instant, TaskKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::definitions::WorkflowDef;
use super::json::{self, Raw};
use super::task::{Received, Status};

/// A workflow's status.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkflowStatus {
    /// It has tasks that have not ended.
    Running,
    /// Somebody stopped it for a while (R-WORKFLOW-6).
    Paused,
    /// All its tasks completed.
    Completed,
    /// A task failed for good.
    Failed,
    /// A task timed out for good.
    TimedOut,
    /// Somebody ended it, or a worker reported CANCELED.
    Terminated,
}

/// A workflow.
#[derive(Debug)]
pub(super) struct Workflow {
    pub(super) id: String,
    pub(super) tasks: Vec<TaskKey>,
    pub(super) definition: Arc<WorkflowDef>,
    pub(super) status: WorkflowStatus,
    pub(super) reason: Option<String>,
    pub(super) correlation: Option<String>,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) ended: u64,
    pub(super) input: Raw,
    pub(super) output: Raw,
    pub(super) domains: BTreeMap<String, String>,
    pub(super) failed: Vec<String>,
    /// Tasks that ended while it was paused: what follows waits (R-WORKFLOW-6).
    pub(super) undecided: Vec<(TaskKey, Status)>,
}

/// A workflow as it is read from Rust.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkflowView {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: WorkflowStatus,
    /// Why it failed.
    pub reason: Option<String>,
    /// Its output, as raw JSON.
    pub output: String,
    /// Its tasks, retries included, in the order in which they were scheduled.
    pub tasks: Vec<TaskView>,
}

/// A task as it is read from Rust.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TaskView {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its `referenceTaskName`.
    pub reference: String,
    /// Its status.
    pub status: Status,
    /// `retryCount`: which attempt this is, from 0.
    pub attempt: u32,
    /// `pollCount`: how often it was handed out.
    pub polls: u32,
    /// `reasonForIncompletion`.
    pub reason: Option<String>,
    /// `workerId` of the last poll or result.
    pub worker: Option<String>,
    /// Its input, as raw JSON.
    pub input: String,
    /// Its output, as raw JSON.
    pub output: String,
    /// The lines of its log.
    pub logs: Vec<String>,
    /// What has been asked about it.
    pub received: Received,
}

/// A request to start a workflow.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Start<'a> {
    pub(crate) name: String,
    pub(crate) version: Option<i64>,
    #[serde(borrow)]
    pub(crate) input: Option<&'a RawValue>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) task_to_domain: Option<BTreeMap<String, String>>,
}

impl Workflow {
    /// As it was when it was started, the time of that apart.
    pub(super) fn begin_again(&mut self, now: Instant) {
        self.status = WorkflowStatus::Running;
        self.reason = None;
        self.updated = now.as_millis();
        self.ended = 0;
        self.output = json::empty();
        self.failed.clear();
        self.undecided.clear();
    }

    pub(super) fn end(&mut self, now: Instant, status: WorkflowStatus, reason: Option<String>) {
        self.status = status;
        self.reason = reason;
        self.updated = now.as_millis();
        self.ended = now.as_millis();
    }
}
