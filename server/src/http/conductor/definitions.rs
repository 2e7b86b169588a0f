//! Task and workflow definitions, as they are registered and read back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json::{self, Raw};
use super::refused::Refused;
use crate::model::{Definition, Limit, RetryLogic, TimeoutPolicy};

/// A task definition; what the server does not use is kept and given back.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TaskDef {
    pub(super) create_time: u64,
    pub(super) update_time: u64,
    created_by: String,
    updated_by: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    pub(super) retry_count: i64,
    timeout_seconds: i64,
    input_keys: Vec<String>,
    output_keys: Vec<String>,
    runtime_metadata: Vec<String>,
    timeout_policy: String,
    retry_logic: String,
    retry_delay_seconds: i64,
    pub(super) response_timeout_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent_exec_limit: Option<i64>,
    pub(super) input_template: Box<RawValue>,
    pub(super) rate_limit_per_frequency: i64,
    pub(super) rate_limit_frequency_in_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_timeout_seconds: Option<i64>,
    backoff_scale_factor: i64,
    max_retry_delay_seconds: i64,
    backoff_jitter_ms: i64,
    total_timeout_seconds: i64,
    task_status_listener_enabled: bool,
    enforce_schema: bool,
}

impl Default for TaskDef {
    fn default() -> Self {
        Self {
            create_time: 0,
            update_time: 0,
            created_by: String::new(),
            updated_by: String::new(),
            name: String::new(),
            description: None,
            retry_count: 3,
            timeout_seconds: 0,
            input_keys: Vec::new(),
            output_keys: Vec::new(),
            runtime_metadata: Vec::new(),
            timeout_policy: "TIME_OUT_WF".to_owned(),
            retry_logic: "FIXED".to_owned(),
            retry_delay_seconds: 60,
            response_timeout_seconds: 3_600,
            concurrent_exec_limit: None,
            input_template: json::empty().as_ref().to_owned(),
            rate_limit_per_frequency: 0,
            rate_limit_frequency_in_seconds: 1,
            owner_email: None,
            poll_timeout_seconds: None,
            backoff_scale_factor: 1,
            max_retry_delay_seconds: 0,
            backoff_jitter_ms: 0,
            total_timeout_seconds: 0,
            task_status_listener_enabled: true,
            enforce_schema: false,
        }
    }
}

const TIMEOUT_POLICIES: [&str; 3] = ["RETRY", "TIME_OUT_WF", "ALERT_ONLY"];
const RETRY_LOGICS: [&str; 3] = ["FIXED", "LINEAR_BACKOFF", "EXPONENTIAL_BACKOFF"];

impl TaskDef {
    /// A type that nobody defined: the defaults.
    pub(super) fn undefined(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Reads one definition of a request; `at` is its place, for the error.
    pub(super) fn parse(text: &str, at: usize) -> Result<Self, Refused> {
        let text = json::without_nulls(text).map_err(|error| Refused::unreadable(&error))?;
        let definition: Self = serde_json::from_str(&text).map_err(|error| Refused::unreadable(&error))?;
        definition.check(at)?;
        Ok(definition)
    }

    fn check(&self, at: usize) -> Result<(), Refused> {
        let mut invalid = Vec::new();
        let mut wrong = |member: &str, message: String, value: String| {
            invalid.push((format!("registerTaskDef.arg0[{at}].{member}"), message, Some(value)));
        };
        if self.name.is_empty() {
            wrong("name", "TaskDef name cannot be null or empty".to_owned(), self.name.clone());
        }
        if self.response_timeout_seconds < 1 {
            let value = self.response_timeout_seconds;
            let message = format!("TaskDef responseTimeoutSeconds: {value} should be minimum 1 second");
            wrong("responseTimeoutSeconds", message, value.to_string());
        }
        let bounded =
            [("retryCount", self.retry_count), ("retryDelaySeconds", self.retry_delay_seconds)].into_iter();
        let bounded = bounded.chain([("timeoutSeconds", self.timeout_seconds)]);
        for (member, value) in bounded.filter(|(_, value)| *value < 0) {
            wrong(member, format!("TaskDef {member}: {value} must be >= 0"), value.to_string());
        }
        for (member, value, allowed) in [
            ("timeoutPolicy", &self.timeout_policy, TIMEOUT_POLICIES),
            ("retryLogic", &self.retry_logic, RETRY_LOGICS),
        ] {
            if !allowed.contains(&value.as_str()) {
                return Err(Refused::failed(format!(
                    "JSON parse error: {member} \"{value}\": not one of the values accepted: {allowed:?}"
                )));
            }
        }
        if invalid.is_empty() { Ok(()) } else { Err(Refused::invalid(invalid)) }
    }

    /// As the model server takes it.
    pub(super) fn rules(&self, queue: u32, group: u32) -> Definition {
        let seconds = |value: i64| Duration::from_secs(u64::try_from(value).unwrap_or(0));
        let count = |value: i64| u32::try_from(value.max(0)).unwrap_or(u32::MAX);
        let bound = |value: i64| (value > 0).then(|| seconds(value));
        Definition {
            queue,
            response_timeout: seconds(self.response_timeout_seconds),
            retries: count(self.retry_count),
            retry_delay: seconds(self.retry_delay_seconds),
            retry_logic: match self.retry_logic.as_str() {
                "LINEAR_BACKOFF" => RetryLogic::Linear { scale: count(self.backoff_scale_factor) },
                "EXPONENTIAL_BACKOFF" => RetryLogic::Exponential,
                _ => RetryLogic::Fixed,
            },
            retry_delay_max: seconds(self.max_retry_delay_seconds),
            retry_jitter: Duration::from_millis(u64::try_from(self.backoff_jitter_ms).unwrap_or(0)),
            timeout: bound(self.timeout_seconds),
            poll_timeout: self.poll_timeout_seconds.and_then(bound),
            timeout_policy: match self.timeout_policy.as_str() {
                "RETRY" => TimeoutPolicy::Retry,
                "ALERT_ONLY" => TimeoutPolicy::AlertOnly,
                _ => TimeoutPolicy::TimeOutWorkflow,
            },
            limit: self
                .concurrent_exec_limit
                .filter(|limit| *limit > 0)
                .map(|limit| Limit { group, at_most: count(limit) }),
        }
    }
}

/// A workflow definition: SIMPLE tasks, one after the other (R-WORKFLOW-1).
#[derive(Debug)]
pub(super) struct WorkflowDef {
    pub(super) name: String,
    pub(super) version: i64,
    pub(super) tasks: Vec<WorkflowTask>,
    pub(super) output_parameters: Raw,
    /// As it was registered.
    pub(super) raw: Raw,
}

/// One task of a workflow definition.
#[derive(Debug)]
pub(super) struct WorkflowTask {
    pub(super) name: String,
    pub(super) reference: String,
    pub(super) input_parameters: Raw,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkflowWire<'a> {
    #[serde(default)]
    name: String,
    #[serde(default = "first")]
    version: i64,
    #[serde(borrow, default)]
    tasks: Vec<TaskWire<'a>>,
    #[serde(borrow, default)]
    output_parameters: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskWire<'a> {
    #[serde(default)]
    name: String,
    #[serde(default)]
    task_reference_name: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(borrow, default)]
    input_parameters: Option<&'a RawValue>,
}

const fn first() -> i64 {
    1
}

impl WorkflowDef {
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let text = json::without_nulls(text).map_err(|error| Refused::unreadable(&error))?;
        let wire: WorkflowWire<'_> =
            serde_json::from_str(&text).map_err(|error| Refused::unreadable(&error))?;
        let mut invalid = Vec::new();
        let mut wrong = |path: String, message: &str| invalid.push((path, message.to_owned(), None));
        if wire.name.is_empty() {
            wrong("create.arg0.name".to_owned(), "WorkflowDef name cannot be null or empty");
        }
        if wire.tasks.is_empty() {
            wrong("create.arg0.tasks".to_owned(), "WorkflowTask list cannot be empty");
        }
        for (at, task) in wire.tasks.iter().enumerate() {
            let path = |member: &str| format!("create.arg0.tasks[{at}].{member}");
            if task.name.is_empty() {
                wrong(path("name"), "WorkflowTask name cannot be empty or null");
            }
            let reference = &task.task_reference_name;
            if reference.is_empty() {
                wrong(
                    path("taskReferenceName"),
                    "WorkflowTask taskReferenceName name cannot be empty or null",
                );
            }
            if wire.tasks.iter().take(at).any(|other| other.task_reference_name == *reference) {
                wrong(path("taskReferenceName"), "taskReferenceName should be unique across tasks");
            }
            if task.kind.as_deref().is_some_and(|kind| kind != "SIMPLE") {
                wrong(path("type"), "downbeat-sim serve runs SIMPLE tasks in sequence, and no other type");
            }
        }
        if !invalid.is_empty() {
            return Err(Refused::invalid(invalid));
        }
        let raw = |value: Option<&RawValue>| {
            value
                .filter(|value| json::is_object(value))
                .map_or_else(json::empty, |value| value.to_owned().into())
        };
        let tasks = wire.tasks.iter().map(|task| WorkflowTask {
            name: task.name.clone(),
            reference: task.task_reference_name.clone(),
            input_parameters: raw(task.input_parameters),
        });
        Ok(Self {
            tasks: tasks.collect(),
            output_parameters: raw(wire.output_parameters),
            name: wire.name,
            version: wire.version,
            raw: json::parse(&text).map_err(|error| Refused::unreadable(&error))?,
        })
    }
}
