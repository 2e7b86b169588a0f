//! Tasks with what the model server does not keep (ids, payloads, logs, times), and how they look on the
//! wire.

use std::fmt::Write as _;

use downbeat_core::machine::TaskKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json::Raw;
use crate::model::Report;

/// A task's status.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waits in its queue, or until it comes into it.
    Scheduled,
    /// A worker has it.
    InProgress,
    /// Ended well.
    Completed,
    /// Ended; a retry may follow.
    Failed,
    /// Ended; no retry follows.
    FailedWithTerminalError,
    /// The server ended it; a retry may follow.
    TimedOut,
    /// Its workflow ended, or a worker said so.
    Canceled,
}

impl Status {
    /// Parses a word of the wire.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "SCHEDULED" => Self::Scheduled,
            "IN_PROGRESS" => Self::InProgress,
            "COMPLETED" => Self::Completed,
            "FAILED" => Self::Failed,
            "FAILED_WITH_TERMINAL_ERROR" => Self::FailedWithTerminalError,
            "TIMED_OUT" => Self::TimedOut,
            "CANCELED" => Self::Canceled,
            _ => return None,
        })
    }

    /// Returns whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::InProgress)
    }

    /// As the model server takes it.
    pub(super) const fn report(self) -> Report {
        match self {
            Self::Completed => Report::Completed,
            Self::Failed => Report::Failed,
            Self::FailedWithTerminalError | Self::Canceled | Self::TimedOut => Report::Terminal,
            Self::Scheduled | Self::InProgress => Report::Yield,
        }
    }

    /// Whether a worker may report it; the others are a 500 (R-HTTP-5).
    pub(super) const fn may_be_reported(self) -> bool {
        !matches!(self, Self::Scheduled | Self::TimedOut)
    }
}

/// A line of a task's log.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The text.
    pub log: String,
    /// Whose it is.
    pub task_id: String,
    /// Milliseconds since 1970; 0 if the sender gave none.
    pub created_time: u64,
}

/// What has been asked about one task, also if a fault kept it from having an effect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Received {
    /// Results with a final status; more than one for a task are repeats.
    pub results: u32,
    /// IN_PROGRESS: yields and give-backs.
    pub yields: u32,
    /// Lease extensions.
    pub extensions: u32,
    /// Reads by `GET /api/tasks/ID`.
    pub reads: u32,
    /// How many of all these a fault kept from having an effect.
    pub kept_off: u32,
}

/// A task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) workflow: u128,
    pub(super) workflow_id: String,
    pub(super) workflow_name: String,
    pub(super) kind: String,
    pub(super) domain: Option<String>,
    pub(super) reference: String,
    /// Its place in the definition.
    pub(super) place: usize,
    pub(super) seq: u32,
    pub(super) status: Status,
    pub(super) retry_count: u32,
    pub(super) poll_count: u32,
    pub(super) scheduled: u64,
    pub(super) started: u64,
    pub(super) ended: u64,
    pub(super) updated: u64,
    pub(super) start_delay: u64,
    pub(super) response_timeout: i64,
    pub(super) retry_of: Option<String>,
    pub(super) retried: bool,
    pub(super) reason: Option<String>,
    pub(super) callback_after: u64,
    pub(super) worker: Option<String>,
    pub(super) input: Raw,
    pub(super) output: Raw,
    /// Where its input is, when it is too long to be handed out.
    pub(super) input_path: Option<String>,
    pub(super) output_path: Option<String>,
    pub(super) logs: Vec<Log>,
    pub(super) definition: Raw,
    pub(super) workflow_task: Raw,
    pub(super) received: Received,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    task_type: &'a str,
    status: Status,
    input_data: &'a RawValue,
    reference_task_name: &'a str,
    retry_count: u32,
    seq: u32,
    poll_count: u32,
    task_def_name: &'a str,
    scheduled_time: u64,
    start_time: u64,
    end_time: u64,
    update_time: u64,
    start_delay_in_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retried_task_id: Option<&'a str>,
    retried: bool,
    executed: bool,
    callback_from_worker: bool,
    response_timeout_seconds: i64,
    workflow_instance_id: &'a str,
    workflow_type: &'a str,
    task_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_for_incompletion: Option<&'a str>,
    callback_after_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a str>,
    output_data: &'a RawValue,
    workflow_task: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    rate_limit_per_frequency: u32,
    rate_limit_frequency_in_seconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_input_payload_storage_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_output_payload_storage_path: Option<&'a str>,
    workflow_priority: u32,
    iteration: u32,
    subworkflow_changed: bool,
    first_start_time: u64,
    execution_metadata: Metadata,
    task_definition: &'a RawValue,
    loop_over_task: bool,
    queue_wait_time: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    additional_context: Empty,
    empty: bool,
    additional_context_map: Empty,
}

#[derive(Serialize)]
struct Empty {}

impl Task {
    /// The task as the server writes it: nulls left out, empty maps there.
    pub(super) fn render(&self) -> String {
        let wire = Wire {
            task_type: &self.kind,
            status: self.status,
            input_data: &self.input,
            reference_task_name: &self.reference,
            retry_count: self.retry_count,
            seq: self.seq,
            poll_count: self.poll_count,
            task_def_name: &self.kind,
            scheduled_time: self.scheduled,
            start_time: self.started,
            end_time: self.ended,
            update_time: self.updated,
            start_delay_in_seconds: self.start_delay,
            retried_task_id: self.retry_of.as_deref(),
            retried: self.retried,
            executed: false,
            callback_from_worker: true,
            response_timeout_seconds: self.response_timeout,
            workflow_instance_id: &self.workflow_id,
            workflow_type: &self.workflow_name,
            task_id: &self.id,
            reason_for_incompletion: self.reason.as_deref(),
            callback_after_seconds: self.callback_after,
            worker_id: self.worker.as_deref(),
            output_data: &self.output,
            workflow_task: &self.workflow_task,
            domain: self.domain.as_deref(),
            rate_limit_per_frequency: 0,
            rate_limit_frequency_in_seconds: 1,
            external_input_payload_storage_path: self.input_path.as_deref(),
            external_output_payload_storage_path: self.output_path.as_deref(),
            workflow_priority: 0,
            iteration: 0,
            subworkflow_changed: false,
            first_start_time: 0,
            execution_metadata: Metadata {
                additional_context: Empty {},
                empty: true,
                additional_context_map: Empty {},
            },
            task_definition: &self.definition,
            loop_over_task: false,
            queue_wait_time: self.started.saturating_sub(self.scheduled),
        };
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

/// An id as a UUID.
pub(super) fn id_of(key: TaskKey) -> String {
    uuid(key.to_u128())
}

/// A number as a UUID.
pub(super) fn uuid(number: u128) -> String {
    let hex = format!("{number:032x}");
    let mut out = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        let _ = write!(out, "{digit}");
    }
    out
}
