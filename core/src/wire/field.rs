//! Which members of a task are kept.

/// The members of a task that a worker uses; all others are skipped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Field {
    TaskId,
    WorkflowId,
    TaskType,
    DefName,
    RefName,
    WorkflowType,
    CorrelationId,
    Domain,
    RetriedTaskId,
    ExternalInput,
    RetryCount,
    PollCount,
    Seq,
    Iteration,
    Priority,
    ResponseTimeout,
    CallbackAfter,
    Scheduled,
    Started,
    Updated,
    Input,
    Output,
    Runtime,
}

/// How many fields there are.
pub(super) const FIELDS: usize = 23;

const NAMES: [(&str, Field); FIELDS] = [
    ("taskId", Field::TaskId),
    ("workflowInstanceId", Field::WorkflowId),
    ("taskType", Field::TaskType),
    ("taskDefName", Field::DefName),
    ("referenceTaskName", Field::RefName),
    ("workflowType", Field::WorkflowType),
    ("correlationId", Field::CorrelationId),
    ("domain", Field::Domain),
    ("retriedTaskId", Field::RetriedTaskId),
    ("externalInputPayloadStoragePath", Field::ExternalInput),
    ("retryCount", Field::RetryCount),
    ("pollCount", Field::PollCount),
    ("seq", Field::Seq),
    ("iteration", Field::Iteration),
    ("workflowPriority", Field::Priority),
    ("responseTimeoutSeconds", Field::ResponseTimeout),
    ("callbackAfterSeconds", Field::CallbackAfter),
    ("scheduledTime", Field::Scheduled),
    ("startTime", Field::Started),
    ("updateTime", Field::Updated),
    ("inputData", Field::Input),
    ("outputData", Field::Output),
    ("runtimeMetadata", Field::Runtime),
];

impl Field {
    pub(super) fn by_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Where each field's value stands in the memory that holds it, or `(0, 0)` for nowhere.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    at: [(usize, usize); FIELDS],
}

impl Spans {
    pub(super) const fn new() -> Self {
        Self { at: [(0, 0); FIELDS] }
    }

    /// Begins the value of `field`: one that was there before counts no more.
    pub(super) fn begin(&mut self, field: Field, from: usize) {
        if let Some(span) = self.at.get_mut(field.index()) {
            *span = (from, from);
        }
    }

    pub(super) fn extend(&mut self, field: Field, to: usize) {
        if let Some(span) = self.at.get_mut(field.index()) {
            span.1 = to;
        }
    }

    pub(super) fn of<'a>(&self, field: Field, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (from, to) = self.at.get(field.index()).copied()?;
        bytes.get(from..to).filter(|value| !value.is_empty())
    }
}
