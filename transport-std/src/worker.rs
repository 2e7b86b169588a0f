//! A task type, what runs its tasks, and how.

use std::fmt;
use std::time::Duration;

use downbeat_core::machine::{OnLapse, Policy};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::TaskError;
use crate::handler::{Handler, Typed};

/// A worker: polls for one task type, and runs its tasks with a closure.
///
/// With [`Box<RawValue>`](crate::RawValue) as input or output, JSON passes through unchanged.
///
/// ```
/// use downbeat::{RawValue, Worker};
/// let echo = Worker::new("echo", |input: Box<RawValue>, _: &downbeat::Context| Ok(input)).slots(4);
/// assert_eq!(echo.task(), "echo");
/// ```
pub struct Worker {
    pub(crate) task: String,
    pub(crate) handler: Box<dyn Handler>,
    pub(crate) domain: Option<String>,
    pub(crate) worker_id: Option<String>,
    pub(crate) table: Option<u16>,
    pub(crate) policy: Policy,
    pub(crate) paused: bool,
}

impl Worker {
    /// Makes a worker with one slot.
    ///
    /// The handler is called by several threads at once, as many as there are slots. A panic of it is caught and
    /// reported as `FAILED` with the panic's text. An input that is not an `I` fails its task for good, with the
    /// place in the input as the reason. The output must be a JSON object (or `()`, for `{}`) of at most 10 MiB.
    pub fn new<I, O, F>(task: impl Into<String>, handler: F) -> Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(I, &Context) -> Result<O, TaskError> + Send + Sync + 'static,
    {
        Self {
            task: task.into(),
            handler: Box::new(Typed::<I, O, F>::new(handler)),
            domain: None,
            worker_id: None,
            table: None,
            policy: Policy::default(),
            paused: false,
        }
    }

    /// Tasks run at once: 1 to 32,767. Default 1.
    #[must_use]
    pub const fn slots(mut self, slots: u16) -> Self {
        self.policy.concurrency = slots;
        self
    }

    /// Polls this domain of the task type (`taskToDomain` in workflows). Empty: none. Default none.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into()).filter(|domain| !domain.is_empty());
        self
    }

    /// The name under which this worker polls, in place of the runner's.
    #[must_use]
    pub fn worker_id(mut self, worker_id: impl Into<String>) -> Self {
        self.worker_id = Some(worker_id.into()).filter(|id| !id.is_empty());
        self
    }

    /// Places for tasks that run, or are done and not accepted by the server yet: the slots up to 65,534. When all
    /// are taken, no task is asked for. Default: 4 for each slot, at least 16.
    #[must_use]
    pub const fn table(mut self, places: u16) -> Self {
        self.table = Some(places);
        self
    }

    /// What becomes of a run whose lease is over by the runner's own clock: the server counts the task as timed out then,
    /// and may give its retry to anybody. [`OnLapse::Finish`] lets it go on (a retry that comes to this worker is adopted,
    /// so that there is one copy of it here), [`OnLapse::Stop`] cancels it. Default `Finish`.
    #[must_use]
    pub const fn on_lapse(mut self, on_lapse: OnLapse) -> Self {
        self.policy.on_lapse = on_lapse;
        self
    }

    /// How often the server is asked whether it still waits for a task that runs, so that one whose workflow was terminated
    /// is cancelled ([`Context::cancel_reason`]): at the latest after this time and a call's. More than zero; `None`: never.
    /// Default 10 s. It costs one request per running task and interval; shorter tasks are never asked about.
    #[must_use]
    pub fn ask_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.policy.ask_interval = interval.into();
        self
    }

    /// How long a report of a result may take, and a poll beyond its wait: longer than other calls, as a task in an answer
    /// that nobody reads is out until its lease ends. More than zero. Default 30 s.
    #[must_use]
    pub const fn report_timeout(mut self, timeout: Duration) -> Self {
        self.policy.report_timeout = timeout;
        self
    }

    /// With a store: how long after its end a result that the server has not accepted goes to the store, whatever else is
    /// due; three times as long where the server answers and refuses this very result, and four times with a journal. More
    /// than zero. Default 75 s.
    #[must_use]
    pub const fn store_after(mut self, time: Duration) -> Self {
        self.policy.store_after = time;
        self
    }

    /// Changes the timing; see the fields of [`Policy`].
    ///
    /// What a runner's workers share is the runner's to say, and is overwritten: `store`, `authenticated`,
    /// `drain_timeout`, `max_calls`.
    #[must_use]
    pub fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// Starts without polling, until [`Handle::resume`](crate::Handle::resume). Default false.
    #[must_use]
    pub const fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// The task type.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// Places in the machine's table.
    pub(crate) fn capacity(&self) -> u16 {
        let slots = self.policy.concurrency;
        self.table.unwrap_or_else(|| slots.saturating_mul(4).max(16)).min(u16::MAX - 1)
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("task", &self.task)
            .field("domain", &self.domain)
            .field("slots", &self.policy.concurrency)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}
