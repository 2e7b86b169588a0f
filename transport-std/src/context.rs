//! What a handler knows of its task besides the input.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downbeat_core::machine::Clock;
use downbeat_core::wire::LOGS_MAX;
use serde_json::value::RawValue;

use crate::clock::{StdClock, unix_millis};
use crate::error::{TaskError, TaskErrorKind};

/// Bytes of the longest log line that is kept; the rest of a longer one is cut off.
const LINE_MAX: usize = 8 * 1024;

/// The task at hand: its ids, its log, and whether it is to end early.
///
/// `Debug` shows neither log nor output.
pub struct Context {
    pub(crate) facts: Arc<TaskFacts>,
    pub(crate) recall: Arc<Recall>,
    log: Mutex<LogLines>,
    note_process: Option<NoteProcess>,
}

/// Notes, for the task of this id, the process group of its command and when the leader of that group began.
pub(crate) type NoteProcess = Arc<dyn Fn(&str, i32, u64) + Send + Sync>;

/// Why a task is to end early.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CancelReason {
    /// The runner drains and its time is over, or it aborts. An outcome is still reported; without one the task is given
    /// back.
    Draining,
    /// The server has ended the task: its workflow was terminated or restarted, or somebody else has reported it. Whatever
    /// the handler returns is dropped.
    WorkflowEnded,
    /// The task's lease is over, and the worker stops such runs ([`Worker::on_lapse`](crate::Worker::on_lapse)). Whatever
    /// the handler returns is dropped.
    LeaseLapsed,
}

/// What the server said of a task, without its input.
#[derive(Clone, Default)]
pub(crate) struct TaskFacts {
    pub(crate) task_id: String,
    pub(crate) workflow_id: String,
    pub(crate) task_type: String,
    pub(crate) retry_count: u32,
    pub(crate) poll_count: u32,
    /// Raw JSON, an object.
    pub(crate) polled_output: String,
    /// How long the server waits for a sign of life; zero: there is no lease.
    pub(crate) lease: Duration,
    /// Until when it may be given back, in milliseconds since 1970; `None`: at any time.
    pub(crate) give_back_until_ms: Option<i64>,
}

impl Context {
    pub(crate) fn new(facts: Arc<TaskFacts>, recall: Arc<Recall>, note_process: Option<NoteProcess>) -> Self {
        Self { facts, recall, log: Mutex::new(LogLines::default()), note_process }
    }

    /// Notes the process group of the task's command, and when its leader began (as whoever ends it after a crash counts
    /// it), so that the next runner with the same store can end what this one leaves behind. Without a store nothing
    /// happens.
    #[doc(hidden)]
    pub fn note_process(&self, group: i32, started: u64) {
        if let Some(note) = &self.note_process {
            note(&self.facts.task_id, group, started);
        }
    }

    /// The task's id: the same for every delivery of this attempt, so it makes an idempotency key.
    ///
    /// It stays what it was at the start, also where the lease ended meanwhile and the run goes on for the server's retry
    /// of the task.
    #[must_use]
    pub fn task_id(&self) -> &str {
        &self.facts.task_id
    }

    /// The id of the task's workflow.
    #[must_use]
    pub fn workflow_id(&self) -> &str {
        &self.facts.workflow_id
    }

    /// The task's type.
    #[must_use]
    pub fn task_type(&self) -> &str {
        &self.facts.task_type
    }

    /// How often this task was retried before; 0 at first.
    #[must_use]
    pub fn retry_count(&self) -> u32 {
        self.facts.retry_count
    }

    /// How often this task was delivered, this time included.
    #[must_use]
    pub fn poll_count(&self) -> u32 {
        self.facts.poll_count
    }

    /// The output that the task had when it was delivered: raw JSON, an object; what an earlier delivery reported
    /// with [`TaskError::in_progress`].
    #[must_use]
    pub fn polled_output(&self) -> &str {
        &self.facts.polled_output
    }

    /// Adds a line to the task's log; it is sent with the result.
    ///
    /// The server keeps 10 lines of a result: of more, the last are sent, and how many were left out. A line is cut
    /// at 8 KiB.
    pub fn log(&self, line: impl Into<String>) {
        let mut line = line.into();
        if line.len() > LINE_MAX {
            let end = (0..=LINE_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
            line.truncate(end);
        }
        lock(&self.log).push(line, unix_millis());
    }

    /// Whether the task is to end early: the runner drains and its time is over, or it aborts, or nobody waits for the
    /// task any more. [`Context::cancel_reason`] says which.
    ///
    /// While draining, what the handler returns within a second is still reported; then the task is given back to the
    /// server, and whatever the handler returns is dropped. For the other reasons it is dropped in any case.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel_reason().is_some()
    }

    /// Why the task is to end early; `None`: it is not. It never changes once it is there.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.recall.reason()
    }

    /// Waits for `timeout`, or until the task is to end early; answers whether it is. A sleep that can be woken.
    #[must_use]
    pub fn wait_cancelled(&self, timeout: Duration) -> bool {
        self.recall.wait(timeout)
    }

    /// What to return when the task was cancelled and has no outcome: it goes back to the server as it came, for
    /// another worker to take after 1 s.
    #[must_use]
    pub fn give_back(&self) -> TaskError {
        let polled = RawValue::from_string(self.facts.polled_output.clone()).ok();
        TaskError { kind: TaskErrorKind::GiveBack, output: polled.map(Ok) }
    }

    /// The lines to be sent, at most [`LOGS_MAX`], with their times.
    pub(crate) fn take_log(&self) -> Vec<(String, i64)> {
        std::mem::take(&mut *lock(&self.log)).into_lines()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task_id", &self.facts.task_id)
            .field("workflow_id", &self.facts.workflow_id)
            .field("task_type", &self.facts.task_type)
            .field("retry_count", &self.facts.retry_count)
            .field("poll_count", &self.facts.poll_count)
            .finish_non_exhaustive()
    }
}

/// The end of a log.
#[derive(Default)]
struct LogLines {
    last: VecDeque<(String, i64)>,
    left_out: u64,
}

impl LogLines {
    fn push(&mut self, line: String, at: i64) {
        self.last.push_back((line, at));
        if self.last.len() > LOGS_MAX {
            self.last.pop_front();
            self.left_out += 1;
        }
    }

    fn into_lines(mut self) -> Vec<(String, i64)> {
        if self.left_out > 0 {
            // The note takes the place of one more line.
            let at = self.last.pop_front().map_or(0, |(_, at)| at);
            let note = format!("({} earlier lines were left out)", self.left_out + 1);
            self.last.push_front((note, at));
        }
        self.last.into()
    }
}

/// Tells a handler that its task is to end early.
#[derive(Default)]
pub(crate) struct Recall {
    cancelled: Mutex<Option<CancelReason>>,
    changed: Condvar,
}

impl Recall {
    /// The first of several reasons stays.
    pub(crate) fn cancel(&self, why: CancelReason) {
        lock(&self.cancelled).get_or_insert(why);
        self.changed.notify_all();
    }

    pub(crate) fn reason(&self) -> Option<CancelReason> {
        *lock(&self.cancelled)
    }

    fn wait(&self, timeout: Duration) -> bool {
        let clock = StdClock::new();
        let until = clock.now().saturating_add(timeout);
        let mut cancelled = lock(&self.cancelled);
        while cancelled.is_none() {
            let left = until.saturating_duration_since(clock.now());
            if left.is_zero() {
                break;
            }
            cancelled = self.changed.wait_timeout(cancelled, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        cancelled.is_some()
    }
}

/// Locks; a panic of another holder leaves nothing half done here.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
