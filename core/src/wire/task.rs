//! Tasks, as polls bring them.

use core::fmt;
use core::time::Duration;

use super::field::{FIELDS, Field, Spans};
use super::ids::{ID_MAX, Ids};
use super::misfit::Misfit;
use super::notice::TaskState;
use super::scan::SyntaxError;
use super::text::Text;
use super::track::{Step, Tracker};
use super::value::Value;
use crate::machine::{TaskKey, TaskMeta};
use crate::ports::Assignment;

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

/// A task as the server sent it, borrowed from the answer (or from what a [`TaskFilter`](super::TaskFilter) kept).
///
/// Members that are missing or `null` are zero, empty or `None`; numbers below zero count as zero. The last
/// of duplicate members counts, as for the server's own Jackson. `Debug` shows neither input nor output,
/// which may hold secrets.
#[derive(Clone, PartialEq)]
pub struct TaskView<'a> {
    /// `taskId` and `workflowInstanceId`, decoded.
    pub ids: Ids,
    /// `taskType`, or `taskDefName` if it is missing; empty if both are.
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
    /// `responseTimeoutSeconds`; `None` if missing or zero, and then there is no lease to keep.
    pub response_timeout: Option<Duration>,
    /// `callbackAfterSeconds` of the last yield.
    pub callback_after: Duration,
    /// `scheduledTime`, in milliseconds of the server's clock since 1970, or 0 if unknown.
    pub scheduled_time: i64,
    /// `startTime`, likewise: the first poll.
    pub start_time: i64,
    /// `updateTime`, likewise: the last sign of life, which is this poll.
    pub update_time: i64,
    /// `pollTimeoutSeconds` of `taskDefinition`, or if there is none of `workflowTask.taskDefinition`; `None`
    /// if missing, zero, or not a whole number.
    ///
    /// The server counts it from the first scheduling of the task, and looks when the task is in the queue
    /// (R-TIMEOUT-3). If this much and the `callbackAfterSeconds` of a give-back or a yield are over when it
    /// comes, it ends task and workflow `TIMED_OUT` inside that very request.
    pub poll_timeout: Option<Duration>,
    /// `inputData`: raw JSON, an object, or `{}` if it is missing. Integers of any size stand as they were
    /// sent.
    pub input: &'a [u8],
    /// `outputData`: raw JSON, an object, what the task yielded with last time. A give-back echoes it.
    pub output: &'a [u8],
    /// `runtimeMetadata`: raw JSON, an object of secrets, or `{}` if it is missing.
    pub runtime_metadata: &'a [u8],
}

impl<'a> TaskView<'a> {
    /// Returns what the machine needs to know.
    ///
    /// `give_back_within` is what was left of [`TaskView::poll_timeout`], counted from
    /// [`TaskView::scheduled_time`], when the server sent the task: by the latest of its own times, as
    /// `startTime` may be an earlier poll's. Zero if nothing is left, `None` if one of the two is unknown.
    /// The callback of the give-back, which the server adds, is a reserve. `retry_of` is of
    /// [`TaskView::retried_task_id`], if that is written without escapes, as an id of the server is.
    #[must_use]
    pub fn meta(&self) -> TaskMeta {
        let give_back_within = self.poll_timeout.filter(|_| self.scheduled_time > 0).map(|timeout| {
            let passed = self.start_time.max(self.update_time).saturating_sub(self.scheduled_time).max(0);
            // The time has 32 bits, so that a small machine can divide it; after 49 days nothing is left.
            u32::try_from(passed)
                .map_or(Duration::ZERO, |passed| timeout.saturating_sub(Duration::from_millis(passed.into())))
        });
        let retried = self.retried_task_id.and_then(|id| id.plain());
        let retry_of = retried.filter(|id| (1..=ID_MAX).contains(&id.len())).map(TaskKey::from_id);
        TaskMeta { give_back_within, retry_of, ..TaskMeta::new(self.ids.key(), self.response_timeout) }
    }

    /// Returns the task as an [`Executor`](crate::ports::Executor) sees it; `task_type` is the decoded type.
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

    /// Reads a task, or says what is wrong with it.
    fn read(bytes: &'a [u8], spans: &Spans, ids: Ids, poll_timeout: u32) -> Element<'a> {
        let mut read = Reader { bytes, spans, wrong: None };
        let def_name = read.text(Field::DefName).unwrap_or_default();
        let timeout = read.count(Field::ResponseTimeout);
        let element = Element::Task(Self {
            ids: ids.clone(),
            task_type: read.text(Field::TaskType).filter(|text| !text.is_empty()).unwrap_or(def_name),
            def_name,
            reference_name: read.text(Field::RefName).unwrap_or_default(),
            workflow_type: read.text(Field::WorkflowType).unwrap_or_default(),
            correlation_id: read.text(Field::CorrelationId),
            domain: read.text(Field::Domain),
            retried_task_id: read.text(Field::RetriedTaskId),
            external_input: read.text(Field::ExternalInput).filter(|path| !path.is_empty()),
            retry_count: read.small(Field::RetryCount),
            poll_count: read.small(Field::PollCount),
            seq: read.small(Field::Seq),
            iteration: read.small(Field::Iteration),
            priority: read.small(Field::Priority),
            response_timeout: (timeout > 0).then(|| Duration::from_secs(timeout)),
            callback_after: Duration::from_secs(read.count(Field::CallbackAfter)),
            scheduled_time: read.integer(Field::Scheduled),
            start_time: read.integer(Field::Started),
            update_time: read.integer(Field::Updated),
            poll_timeout: (poll_timeout > 0).then(|| Duration::from_secs(poll_timeout.into())),
            input: read.object(Field::Input),
            output: read.object(Field::Output),
            runtime_metadata: read.object(Field::Runtime),
        });
        match read.wrong {
            None => element,
            Some(misfit) => Element::Bad { ids, misfit },
        }
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

/// Iterates over the tasks of an answer that is in memory as a whole: an array of tasks, or a single task.
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
/// An empty body and a lone `null` have no tasks in them: some servers and proxies answer so instead of 204. One that was
/// cut off is an error.
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

/// Reads the state of a task out of `body`, the answer of `GET /tasks/{id}`: its member `status`. The last of
/// duplicates counts. [`TaskFilter::state`](super::TaskFilter::state) does so in pieces.
///
/// Never fails: what is not one whole JSON object, or has another status, is [`TaskState::Unknown`].
///
/// ```
/// use downbeat_core::wire::{TaskState, read_status};
/// assert_eq!(read_status(br#"{"taskId":"t1","status":"IN_PROGRESS"}"#), TaskState::InProgress);
/// assert_eq!(read_status(br#"{"taskId":"t1","status":"TIMED_OUT"}"#), TaskState::TimedOut);
/// assert_eq!(read_status(br#"{"taskId":"t1","status":"TIMED_OUT""#), TaskState::Unknown);
/// ```
#[must_use]
pub fn read_status(body: &[u8]) -> TaskState {
    let mut tasks = tasks(body);
    while tasks.next().is_some() {}
    tasks.tracker.state()
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

/// Makes an element of what was kept. `overflow` is `needed` and `room`, if the buffer was too small.
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
    TaskView::read(bytes, spans, ids, tracker.poll_timeout())
}

/// Reads the values of a task, and remembers the first that is not what it should be.
struct Reader<'a, 's> {
    bytes: &'a [u8],
    spans: &'s Spans,
    wrong: Option<Misfit>,
}

impl<'a> Reader<'a, '_> {
    /// The value, unless it is missing or `null`.
    fn value(&self, field: Field) -> Option<Value<'a>> {
        self.spans.of(field, self.bytes).map(Value::new).filter(|value| !value.is_null())
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn is_not(&mut self, field: Field, expected: &'static str) {
        if self.wrong.is_none() {
            self.wrong = Some(Misfit::WrongType { member: field.name(), expected });
        }
    }

    fn text(&mut self, field: Field) -> Option<Text<'a>> {
        let text = self.value(field)?.text();
        if text.is_none() {
            self.is_not(field, "a string");
        }
        text
    }

    fn object(&mut self, field: Field) -> &'a [u8] {
        let Some(value) = self.value(field) else { return b"{}" };
        if !value.is_object() {
            self.is_not(field, "an object");
        }
        value.raw()
    }

    fn integer(&mut self, field: Field) -> i64 {
        let Some(value) = self.value(field) else { return 0 };
        let integer = value.integer();
        if integer.is_none() {
            self.is_not(field, "an integer of 64 bits");
        }
        integer.unwrap_or(0)
    }

    fn count(&mut self, field: Field) -> u64 {
        u64::try_from(self.integer(field)).unwrap_or(0)
    }

    fn small(&mut self, field: Field) -> u32 {
        let small = u32::try_from(self.count(field)).ok();
        if small.is_none() {
            self.is_not(field, "an integer of 32 bits");
        }
        small.unwrap_or(0)
    }
}

const _: () = assert!(Field::Runtime.index() == FIELDS - 1, "every field has a place");
