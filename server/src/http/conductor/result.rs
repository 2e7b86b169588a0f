//! A worker's result, read as strictly, and as loosely, as the server reads it (R-UPDATE-5, R-UPDATE-8).

use std::time::Duration;

use serde_json::value::RawValue;

use super::json::{self, Members};
use super::refused::Refused;
use super::task::Status;
use crate::model::Beat;

/// The longest JSON string that the server's parser takes, in bytes (R-PAYLOAD-5).
const STRING_MAX: usize = 20_000_000;

/// A worker's result.
#[derive(Debug)]
pub(crate) struct TaskResult<'a> {
    pub(super) workflow: String,
    pub(super) task: String,
    pub(super) status: Option<Status>,
    pub(super) reason: Option<String>,
    pub(super) callback_after: Duration,
    pub(super) worker: Option<String>,
    pub(super) output: Option<&'a RawValue>,
    pub(super) logs: Vec<(String, u64)>,
    pub(super) extend: bool,
}

/// What a request about a task says, however wrong the rest of it is.
#[derive(Clone, Debug)]
pub(crate) struct Gist {
    pub(crate) task: String,
    pub(crate) matter: Matter,
}

/// What a request wants of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Matter {
    /// A report, with its status if that is a known word.
    Report(Option<Status>),
    /// More time.
    Extension,
    /// To see it.
    Read,
}

impl Gist {
    /// Reads the body of an update.
    pub(crate) fn from_update(text: &str) -> Option<Self> {
        let members = json::members(text).ok()?;
        let extends = scalar(&members, "extendLease").is_some_and(|flag| flag == "true");
        let status = scalar(&members, "status").and_then(|word| Status::parse(&word));
        let matter = if extends { Matter::Extension } else { Matter::Report(status) };
        Some(Self { task: scalar(&members, "taskId")?, matter })
    }

    /// Makes the gist of a read of a task.
    pub(crate) fn from_read(id: &str) -> Self {
        Self { task: id.to_owned(), matter: Matter::Read }
    }

    /// The status that it reports.
    pub(crate) const fn status(&self) -> Option<Status> {
        if let Matter::Report(status) = self.matter { status } else { None }
    }
}

const RESULT: &str = "com.netflix.conductor.common.metadata.tasks.TaskResult";

impl<'a> TaskResult<'a> {
    /// Reads a result. `v2`: by `update-v2`, whose empty ids are a 500 (R-UPDATE-8).
    pub(crate) fn parse(text: &'a str, v2: bool) -> Result<Self, Refused> {
        if text.trim().is_empty() {
            return Err(Refused::failed("Required request body is missing"));
        }
        if longest_string(text) > STRING_MAX {
            return Err(Refused::failed(format!(
                "JSON parse error: String value length exceeds the maximum allowed ({STRING_MAX}, from `StreamReadConstraints.getMaxStringLength()`)"
            )));
        }
        if text.trim_start().starts_with('[') {
            return Err(Refused::failed(format!(
                "JSON parse error: Cannot deserialize value of type `{RESULT}` from Array value (token `JsonToken.START_ARRAY`)"
            )));
        }
        let members = json::members(text).map_err(|error| Refused::unreadable(&error))?;
        let result = Self {
            workflow: scalar(&members, "workflowInstanceId").unwrap_or_default(),
            task: scalar(&members, "taskId").unwrap_or_default(),
            status: status(&members)?,
            reason: scalar(&members, "reasonForIncompletion"),
            callback_after: Duration::from_secs(whole(&members, "callbackAfterSeconds")?),
            worker: scalar(&members, "workerId"),
            output: output(&members)?,
            logs: logs(&members)?,
            extend: scalar(&members, "extendLease").is_some_and(|flag| flag == "true"),
        };
        result.check(v2)?;
        Ok(result)
    }

    /// The task's id.
    pub(crate) fn id(&self) -> &str {
        &self.task
    }

    /// Who says so.
    pub(crate) fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// What the status and `extendLease` say, for the generations of servers (R-LEASE-4).
    pub(super) fn beat(&self) -> Beat {
        Beat { status: self.status.map(Status::report), callback_after: self.callback_after }
    }

    /// Whether U+0000 is in its output, its reason or a line of its log (R-PAYLOAD-6).
    pub(super) fn has_nul(&self) -> bool {
        let within = |text: &str| text.contains('\0');
        self.output.is_some_and(json::has_nul)
            || self.reason.as_deref().is_some_and(within)
            || self.logs.iter().any(|(log, _)| within(log))
    }

    fn check(&self, v2: bool) -> Result<(), Refused> {
        let mut invalid = Vec::new();
        for (member, value, message) in [
            ("workflowInstanceId", &self.workflow, "Workflow Id cannot be null or empty"),
            ("taskId", &self.task, "Task ID cannot be null or empty"),
        ] {
            if value.is_empty() {
                invalid.push((format!("updateTask.arg0.{member}"), message.to_owned(), None));
            }
        }
        match invalid.len() {
            0 => Ok(()),
            errors if v2 => {
                Err(Refused::failed(format!("Validation failed for argument [0] with {errors} errors")))
            }
            _ => Err(Refused::invalid(invalid)),
        }
    }
}

fn scalar(members: &Members<'_>, name: &str) -> Option<String> {
    members.get(name).and_then(|value| json::scalar(value))
}

fn whole(members: &Members<'_>, name: &str) -> Result<u64, Refused> {
    let Some(value) = scalar(members, name) else { return Ok(0) };
    let number = value.parse::<i64>().map_err(|_| {
        Refused::failed(format!("JSON parse error: Cannot deserialize value of type `long` from \"{value}\""))
    })?;
    Ok(u64::try_from(number).unwrap_or(0))
}

fn status(members: &Members<'_>) -> Result<Option<Status>, Refused> {
    let Some(word) = scalar(members, "status") else { return Ok(None) };
    let accepted = Status::parse(&word).filter(|status| status.may_be_reported());
    accepted.map(Some).ok_or_else(|| {
        Refused::failed(format!(
            "JSON parse error: Cannot deserialize value of type `{RESULT}$Status` from String \"{word}\": not one of the values accepted for Enum class: [CANCELED, COMPLETED, FAILED_WITH_TERMINAL_ERROR, FAILED, IN_PROGRESS]"
        ))
    })
}

fn output<'a>(members: &Members<'a>) -> Result<Option<&'a RawValue>, Refused> {
    let output = members.get("outputData").copied().filter(|output| output.get() != "null");
    if output.is_some_and(|output| !json::is_object(output)) {
        return Err(Refused::failed(
            "JSON parse error: Cannot construct instance of `java.util.LinkedHashMap`",
        ));
    }
    Ok(output)
}

fn logs(members: &Members<'_>) -> Result<Vec<(String, u64)>, Refused> {
    let Some(logs) = members.get("logs").filter(|logs| logs.get() != "null") else { return Ok(Vec::new()) };
    let logs: Vec<Members<'_>> =
        serde_json::from_str(logs.get()).map_err(|error| Refused::unreadable(&error))?;
    let entry = |log: &Members<'_>| Ok((scalar(log, "log").unwrap_or_default(), whole(log, "createdTime")?));
    logs.iter().map(entry).collect()
}

/// The length of the longest string in a JSON text, in bytes of the text.
fn longest_string(text: &str) -> usize {
    if text.len() <= STRING_MAX {
        return 0;
    }
    let (mut longest, mut start, mut escaped) = (0, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (byte, start) {
            (b'"', None) => start = Some(at),
            (b'"', Some(begin)) if !escaped => {
                longest = longest.max(at - begin - 1);
                start = None;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    longest
}
