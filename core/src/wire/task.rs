//! Tasks, as polls bring them.

use core::fmt;
use core::time::Duration;

use heapless::String;

use super::field::{FIELDS, Field, Spans};
use super::message::{Message, Piece, message, show};
use super::scan::{DEPTH_MAX, SyntaxError};
use super::text::{Text, bounded};
use super::track::{Step, Tracker};
use super::value::Value;
use crate::machine::{TaskKey, TaskMeta};
use crate::ports::Assignment;

/// Bytes of the longest task or workflow id that is read; Conductor's are UUIDs of 36. A task with a longer one is
/// [`Element::Unreportable`].
pub const ID_MAX: usize = 64;

/// Bytes of the longest [`Misfit::reason`].
pub const REASON_MAX: usize = 256;

/// What every report about a task needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ids {
    /// `taskId`.
    pub task: String<ID_MAX>,
    /// `workflowInstanceId`.
    pub workflow: String<ID_MAX>,
}

impl Ids {
    /// The task's identity for the machine.
    #[must_use]
    pub fn key(&self) -> TaskKey {
        TaskKey::from_id(&self.task)
    }
}

/// One element of an answer.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is no allocator to put the larger one elsewhere")]
pub enum Element<'a> {
    /// A task to run.
    Task(TaskView<'a>),
    /// A task that cannot be run here: report it `FAILED` with [`Misfit::reason`].
    Bad {
        /// Whom to report.
        ids: Ids,
        /// Why.
        misfit: Misfit,
    },
    /// Not a task, or one without both ids: nothing can be reported. Log it, count it, go on.
    Unreportable {
        /// Why.
        misfit: Misfit,
    },
}

/// What keeps an element from being run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misfit {
    /// The element is not an object.
    NotObject,
    /// A member that must be there is missing, `null` or empty.
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member has another type than Conductor's model says.
    WrongType {
        /// Its name.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// An id is longer than [`ID_MAX`] bytes.
    IdTooLong {
        /// The member's name.
        member: &'static str,
    },
    /// A member that is kept is nested deeper than [`DEPTH_MAX`], batch and task included.
    TooDeep,
    /// What is kept of the task does not fit into the buffer.
    TooLarge {
        /// Bytes that would be kept.
        needed: usize,
        /// Bytes of the buffer.
        room: usize,
    },
}

impl Misfit {
    /// The reason to report, at most [`REASON_MAX`] bytes, without any of the task's content.
    #[must_use]
    pub fn reason(&self) -> String<REASON_MAX> {
        bounded(format_args!("{self}"))
    }
}

impl Misfit {
    /// What is said of it.
    pub(crate) fn message(&self) -> Message {
        let its = Piece::Text("the polled task's `");
        match self {
            Self::NotObject => {
                message(&[Piece::Text("the polled element is not a task but another JSON value")])
            }
            Self::Missing { member } => {
                message(&[Piece::Text("the polled task has no `"), Piece::Text(member), Piece::Text("`")])
            }
            Self::WrongType { member, expected } => {
                message(&[its, Piece::Text(member), Piece::Text("` is not "), Piece::Text(expected)])
            }
            Self::IdTooLong { member } => {
                let longer = Piece::Text("` is longer than ");
                [its, Piece::Text(member), longer, Piece::Number(ID_MAX), Piece::Text(" bytes")]
            }
            Self::TooDeep => message(&[
                Piece::Text("the polled task is nested deeper than "),
                Piece::Number(DEPTH_MAX as usize),
                Piece::Text(" levels; pass the data flatter, or as a string"),
            ]),
            Self::TooLarge { needed, room } => [
                Piece::Text("the polled task needs "),
                Piece::Number(*needed),
                Piece::Text(" bytes, and this worker has room for "),
                Piece::Number(*room),
                Piece::Text("; enlarge the worker's task buffer, or give the task less input"),
            ],
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.message(), f)
    }
}

/// A task as the server sent it, borrowed from the answer (or from what a [`TaskFilter`](super::TaskFilter) kept).
///
/// Members that are missing or `null` are zero, empty or `None`; numbers below zero count as zero. Of duplicate
/// members the last counts, as for the server's own Jackson. `Debug` shows neither input nor output, which may hold
/// secrets.
#[derive(Clone, PartialEq)]
pub struct TaskView<'a> {
    /// `taskId` and `workflowInstanceId`, decoded.
    pub ids: Ids,
    /// `taskType`; `taskDefName` where it is missing; empty where both are.
    pub task_type: Text<'a>,
    /// `taskDefName`.
    pub def_name: Text<'a>,
    /// `referenceTaskName`.
    pub reference_name: Text<'a>,
    /// `workflowType`.
    pub workflow_type: Text<'a>,
    /// `correlationId`.
    pub correlation_id: Option<Text<'a>>,
    /// `domain`.
    pub domain: Option<Text<'a>>,
    /// `retriedTaskId`: the attempt before this one.
    pub retried_task_id: Option<Text<'a>>,
    /// `externalInputPayloadStoragePath`: the input is there, and [`TaskView::input`] is not it.
    pub external_input: Option<Text<'a>>,
    /// `retryCount`.
    pub retry_count: u32,
    /// `pollCount`: how often the task was delivered, this time included.
    pub poll_count: u32,
    /// `seq`: the task's place in its workflow.
    pub seq: u32,
    /// `iteration` of a loop.
    pub iteration: u32,
    /// `workflowPriority`.
    pub priority: u32,
    /// `responseTimeoutSeconds`; `None`: missing or zero, no lease to keep.
    pub response_timeout: Option<Duration>,
    /// `callbackAfterSeconds` of the last yield.
    pub callback_after: Duration,
    /// `scheduledTime`, in milliseconds of the server's clock since 1970; 0: unknown.
    pub scheduled_time: i64,
    /// `startTime`, likewise: the first poll.
    pub start_time: i64,
    /// `inputData`: raw JSON, an object; `{}` where it is missing. Integers of any size stand as they were sent.
    pub input: &'a [u8],
    /// `outputData`: raw JSON, an object; what the task yielded with last time. A give-back echoes it.
    pub output: &'a [u8],
    /// `runtimeMetadata`: raw JSON, an object of secrets; `{}` where it is missing.
    pub runtime_metadata: &'a [u8],
}

impl<'a> TaskView<'a> {
    /// What the machine needs to know.
    #[must_use]
    pub fn meta(&self) -> TaskMeta {
        TaskMeta { key: self.ids.key(), response_timeout: self.response_timeout }
    }

    /// The task as an [`Executor`](crate::ports::Executor) sees it; `task_type` is the decoded type.
    #[must_use]
    pub fn assignment<'s>(&'s self, task_type: &'s str) -> Assignment<'s> {
        Assignment {
            task_id: &self.ids.task,
            workflow_id: &self.ids.workflow,
            task_type,
            retry_count: self.retry_count,
            poll_count: self.poll_count,
            input: self.input,
        }
    }

    fn read(bytes: &'a [u8], spans: &Spans, ids: &Ids) -> Result<Self, Misfit> {
        let read = Reader { bytes, spans };
        let def_name = read.text(Field::DefName)?.unwrap_or_default();
        let timeout = read.count(Field::ResponseTimeout)?;
        Ok(Self {
            ids: ids.clone(),
            task_type: read.text(Field::TaskType)?.filter(|text| !text.is_empty()).unwrap_or(def_name),
            def_name,
            reference_name: read.text(Field::RefName)?.unwrap_or_default(),
            workflow_type: read.text(Field::WorkflowType)?.unwrap_or_default(),
            correlation_id: read.text(Field::CorrelationId)?,
            domain: read.text(Field::Domain)?,
            retried_task_id: read.text(Field::RetriedTaskId)?,
            external_input: read.text(Field::ExternalInput)?.filter(|path| !path.is_empty()),
            retry_count: read.small(Field::RetryCount)?,
            poll_count: read.small(Field::PollCount)?,
            seq: read.small(Field::Seq)?,
            iteration: read.small(Field::Iteration)?,
            priority: read.small(Field::Priority)?,
            response_timeout: (timeout > 0).then(|| Duration::from_secs(timeout)),
            callback_after: Duration::from_secs(read.count(Field::CallbackAfter)?),
            scheduled_time: read.integer(Field::Scheduled)?,
            start_time: read.integer(Field::Started)?,
            input: read.object(Field::Input)?,
            output: read.object(Field::Output)?,
            runtime_metadata: read.object(Field::Runtime)?,
        })
    }
}

impl fmt::Debug for TaskView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskView")
            .field("ids", &self.ids)
            .field("task_type", &self.task_type)
            .field("retry_count", &self.retry_count)
            .field("poll_count", &self.poll_count)
            .field("response_timeout", &self.response_timeout)
            .field("input_bytes", &self.input.len())
            .field("output_bytes", &self.output.len())
            .finish_non_exhaustive()
    }
}

/// Iterates over the tasks of an answer that is in memory as a whole: an array of tasks, or a task alone.
///
/// Yields each element as soon as it is whole; the first syntax error is the last item.
#[derive(Clone)]
pub struct Tasks<'a> {
    body: &'a [u8],
    at: usize,
    tracker: Tracker,
    spans: Spans,
    over: bool,
}

impl fmt::Debug for Tasks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tasks(at {} of {} bytes)", self.at, self.body.len())
    }
}

/// Starts an iteration over the tasks of `body`, the answer of a poll or of `update-v2`.
///
/// An empty body is an error here: an answer with status 204 has no tasks, and is not to be read.
///
/// ```
/// use downbeat_core::wire::{Element, tasks};
/// let body = br#"[{"taskId":"t1","workflowInstanceId":"w1","taskType":"greet","inputData":{"n":1}}, 7]"#;
/// let mut tasks = tasks(body);
/// let Some(Ok(Element::Task(task))) = tasks.next() else { panic!("a task") };
/// assert_eq!((task.ids.task.as_str(), task.input), ("t1", &br#"{"n":1}"#[..]));
/// assert!(matches!(tasks.next(), Some(Ok(Element::Unreportable { .. }))));
/// assert!(tasks.next().is_none());
/// ```
#[must_use]
pub const fn tasks(body: &[u8]) -> Tasks<'_> {
    Tasks { body, at: 0, tracker: Tracker::new(), spans: Spans::new(), over: false }
}

impl<'a> Iterator for Tasks<'a> {
    type Item = Result<Element<'a>, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.advance().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<'a> Tasks<'a> {
    fn advance(&mut self) -> Result<Option<Element<'a>>, SyntaxError> {
        loop {
            let (taken, step) = self.tracker.step(self.body.get(self.at..).unwrap_or_default())?;
            if taken == 0 {
                return self.tracker.finish().map(|()| None);
            }
            let from = self.at;
            self.at = self.at.saturating_add(taken);
            match step {
                Step::Skip => {}
                Step::Begin => self.spans = Spans::new(),
                Step::Keep { field, first } => {
                    if first {
                        self.spans.begin(field, from);
                    }
                    self.spans.extend(field, self.at);
                }
                Step::End { alien } => {
                    return Ok(Some(element(self.body, &self.spans, &self.tracker, alien, None)));
                }
            }
        }
    }
}

/// Makes an element of what was kept. `overflow` is `needed` and `room`, where the buffer was too small.
pub(super) fn element<'a>(
    bytes: &'a [u8],
    spans: &Spans,
    tracker: &Tracker,
    alien: bool,
    overflow: Option<(usize, usize)>,
) -> Element<'a> {
    if alien {
        return Element::Unreportable { misfit: Misfit::NotObject };
    }
    let ids = match tracker.ids() {
        Ok(ids) => ids,
        Err(misfit) => return Element::Unreportable { misfit },
    };
    if let Some((needed, room)) = overflow {
        return Element::Bad { ids, misfit: Misfit::TooLarge { needed, room } };
    }
    if tracker.is_deep() {
        return Element::Bad { ids, misfit: Misfit::TooDeep };
    }
    match TaskView::read(bytes, spans, &ids) {
        Ok(task) => Element::Task(task),
        Err(misfit) => Element::Bad { ids, misfit },
    }
}

struct Reader<'a, 's> {
    bytes: &'a [u8],
    spans: &'s Spans,
}

impl<'a> Reader<'a, '_> {
    /// The value, unless it is missing or `null`.
    fn value(&self, field: Field) -> Option<Value<'a>> {
        self.spans.of(field, self.bytes).map(Value::new).filter(|value| !value.is_null())
    }

    fn text(&self, field: Field) -> Result<Option<Text<'a>>, Misfit> {
        let Some(value) = self.value(field) else { return Ok(None) };
        value.text().map(Some).ok_or_else(|| misfit(field, "a string"))
    }

    fn object(&self, field: Field) -> Result<&'a [u8], Misfit> {
        match self.value(field) {
            None => Ok(b"{}"),
            Some(value) if value.is_object() => Ok(value.raw()),
            Some(_) => Err(misfit(field, "an object")),
        }
    }

    fn integer(&self, field: Field) -> Result<i64, Misfit> {
        let Some(value) = self.value(field) else { return Ok(0) };
        value.integer().ok_or_else(|| misfit(field, "an integer of 64 bits"))
    }

    fn count(&self, field: Field) -> Result<u64, Misfit> {
        Ok(u64::try_from(self.integer(field)?).unwrap_or(0))
    }

    fn small(&self, field: Field) -> Result<u32, Misfit> {
        u32::try_from(self.count(field)?).map_err(|_| misfit(field, "an integer of 32 bits"))
    }
}

fn misfit(field: Field, expected: &'static str) -> Misfit {
    Misfit::WrongType { member: field.name(), expected }
}

const _: () = assert!(Field::Runtime.index() == FIELDS - 1, "every field has a place");
