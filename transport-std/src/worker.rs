//! A task type, what runs its tasks, and how.

use std::fmt;

use downbeat_core::machine::Policy;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::TaskError;
use crate::handler::{Handle, Typed};

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
    pub(crate) handler: Box<dyn Handle>,
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
