//! Faults to order: what goes wrong, for which calls, for how long, how often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downbeat_core::machine::Instant;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::clock::Clock;
use super::conductor::Status;
use crate::random::Random;

/// What can go wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// Connections are refused, and those that are open are cut.
    Down,
    /// Connections are taken and reset at once.
    Reset,
    /// Answered with this status (400 to 599), without effect.
    Status(u16),
    /// Takes effect later by [`Fault::by`].
    Slow,
    /// Takes effect at once, and is answered later by [`Fault::by`].
    SlowAnswer,
    /// The connection is closed without effect and without an answer.
    LostRequest,
    /// The connection is closed after the effect, without an answer.
    LostAnswer,
    /// The connection is cut in the middle of the answer, after the effect.
    Cut,
    /// 200 with an HTML page, without effect: some other server, or a proxy's login page.
    Html,
    /// 200 with a body that is called JSON and is none, without effect.
    Garbage,
    /// The answer is well-formed HTTP and half of its JSON, after the effect.
    Truncated,
    /// A poll gives nothing, 200 `[]` or 204, without effect: as while the database is away (R-STORAGE-1).
    Nothing,
    /// 200 with an empty body in place of an answer without a task, after the effect (R-UPDATE-15).
    Empty,
    /// 200 with `null` in place of an answer without a task, after the effect (R-UPDATE-15).
    Null,
    /// A polled task has an input that is a string.
    MalformedTask,
    /// A polled task has no `taskId`.
    NoId,
    /// A polled task is of another type.
    WrongType,
    /// A poll gives one task more than asked for, if there is one.
    OverDeliver,
    /// A poll gives, besides, a task that is out already, if there is one.
    Duplicate,
}

/// Kinds of calls, for faults that concern some of them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallKind {
    /// Polls, single and batch.
    Poll,
    /// Results, `update-v2` among them.
    Update,
    /// Lease extensions.
    Extend,
    /// Reads of a task.
    Ask,
    /// Token requests.
    Token,
    /// Task logs.
    Log,
    /// Workflows: start, read, end.
    Workflow,
    /// Definitions.
    Metadata,
    /// Anything else under `/api`.
    Other,
}

/// Who words the body of a [`FaultKind::Status`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultBody {
    /// Conductor's own JSON.
    #[default]
    Conductor,
    /// A gateway's JSON: `{"message":"no Route matched with those values"}` (R-HTTP-9).
    Gateway,
    /// A proxy's page.
    Html,
    /// Nobody: there is none.
    Empty,
}

/// A fault. `Fault::new(kind)` concerns all calls, until it is removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For how long; `None` means until removed.
    pub lasts: Option<Duration>,
    /// How many times; `None` means any number.
    pub count: Option<u64>,
    /// How many of the calls concerned are hit, in percent.
    pub percent: u8,
    /// `Retry-After`, in seconds, with [`FaultKind::Status`].
    pub retry_after: Option<u64>,
    /// Who words the body, with [`FaultKind::Status`].
    pub body: FaultBody,
    /// The delay of [`FaultKind::Slow`] and [`FaultKind::SlowAnswer`]; default 1 s.
    pub by: Duration,
    /// Which calls; `None` means all.
    pub calls: Option<Vec<CallKind>>,
    /// Only polls and results of this task type.
    pub task: Option<String>,
    /// Only answers that bring a task: for the kinds that come after the effect.
    pub with_task: bool,
    /// Only results with this status.
    pub with_status: Option<Status>,
    /// Only requests whose body is longer, in bytes.
    pub above_bytes: Option<usize>,
}

impl Fault {
    /// Makes a fault of all calls, until it is removed.
    #[must_use]
    pub const fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            lasts: None,
            count: None,
            percent: 100,
            retry_after: None,
            body: FaultBody::Conductor,
            by: Duration::from_secs(1),
            calls: None,
            task: None,
            with_task: false,
            with_status: None,
            above_bytes: None,
        }
    }

    /// Ends it after a time.
    #[must_use]
    pub const fn lasting(mut self, lasts: Duration) -> Self {
        self.lasts = Some(lasts);
        self
    }

    /// Ends it after so many hits.
    #[must_use]
    pub const fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Confines it to some kinds of calls.
    #[must_use]
    pub fn on(mut self, calls: &[CallKind]) -> Self {
        self.calls = Some(calls.to_vec());
        self
    }

    /// Confines it to polls and results of a task type.
    #[must_use]
    pub fn for_task(mut self, task: &str) -> Self {
        self.task = Some(task.to_owned());
        self
    }

    /// Confines it to answers that bring a task.
    #[must_use]
    pub const fn with_task(mut self) -> Self {
        self.with_task = true;
        self
    }

    /// Confines it to results with a status. Only COMPLETED makes a poison of a task whose failure is taken.
    #[must_use]
    pub const fn with_status(mut self, status: Status) -> Self {
        self.with_status = Some(status);
        self
    }

    /// Confines it to requests whose body is longer than so many bytes.
    #[must_use]
    pub const fn above_bytes(mut self, bytes: usize) -> Self {
        self.above_bytes = Some(bytes);
        self
    }

    /// Says who words the body of a [`FaultKind::Status`].
    #[must_use]
    pub const fn worded_by(mut self, body: FaultBody) -> Self {
        self.body = body;
        self
    }

    /// Adds a `Retry-After`.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Sets the delay of [`FaultKind::Slow`] and [`FaultKind::SlowAnswer`].
    #[must_use]
    pub const fn by(mut self, delay: Duration) -> Self {
        self.by = delay;
        self
    }
}

/// A fault in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ActiveFault {
    /// Its number.
    pub id: u64,
    /// What was ordered.
    pub fault: Fault,
    /// How many calls it has hit.
    pub hits: u64,
    until: Option<Instant>,
}

impl ActiveFault {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
            || self.fault.count.is_some_and(|count| self.hits >= count)
    }
}

/// The faults in force; a handle that can be copied.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    /// Whether there is any, so that a call without faults takes no lock.
    any: AtomicBool,
    list: Mutex<List>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct List {
    active: Vec<ActiveFault>,
    next: u64,
    random: Random,
}

impl Faults {
    pub(super) fn new(clock: Clock, seed: u64) -> Self {
        let list = List { active: Vec::new(), next: 1, random: Random::stream(seed, 0xfa17) };
        Self(Arc::new(Inner {
            clock,
            any: AtomicBool::new(false),
            list: Mutex::new(list),
            changed: watch::Sender::new(()),
        }))
    }

    /// Puts a fault into force; its number.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut list = self.lock();
        let id = list.next;
        list.next += 1;
        let until = fault.lasts.map(|lasts| self.0.clock.now().saturating_add(lasts));
        list.active.push(ActiveFault { id, fault, hits: 0, until });
        self.0.any.store(true, Ordering::Relaxed);
        drop(list);
        self.0.changed.send_replace(());
        id
    }

    /// Ends a fault; whether it was in force.
    pub fn remove(&self, id: u64) -> bool {
        let mut list = self.lock();
        let before = list.active.len();
        list.active.retain(|active| active.id != id);
        let gone = list.active.len() < before;
        drop(list);
        self.0.changed.send_replace(());
        gone
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.lock().active.clear();
        self.0.any.store(false, Ordering::Relaxed);
        self.0.changed.send_replace(());
    }

    /// Returns the faults in force, in the order in which they were added.
    #[must_use]
    pub fn active(&self) -> Vec<ActiveFault> {
        self.lock().active.clone()
    }

    /// Whether there is any fault in force, as far as a call without a lock can know.
    pub(super) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// Whether a fault of a kind is in force.
    pub(super) fn has(&self, kind: FaultKind) -> bool {
        self.any() && self.lock().active.iter().any(|active| active.fault.kind == kind)
    }

    /// A fault that hits a call, if one does; that hit is counted.
    pub(super) fn hit(
        &self,
        call: Option<CallKind>,
        task: Option<&str>,
        of: impl Fn(&Fault) -> bool,
    ) -> Option<Fault> {
        if !self.any() {
            return None;
        }
        let mut list = self.lock();
        let List { active, random, .. } = &mut *list;
        for active in active.iter_mut() {
            let fault = &active.fault;
            let concerns = call
                .is_none_or(|call| fault.calls.as_ref().is_none_or(|calls| calls.contains(&call)))
                && fault.task.as_deref().is_none_or(|wanted| task == Some(wanted));
            if concerns && of(fault) && random.percent(fault.percent) {
                active.hits += 1;
                return Some(active.fault.clone());
            }
        }
        None
    }

    /// Until when connections are refused ([`Instant::FAR_FUTURE`] without an end), or `None` if they are
    /// taken.
    pub(super) fn down_until(&self) -> Option<Instant> {
        let list = self.lock();
        let down = list.active.iter().filter(|active| active.fault.kind == FaultKind::Down);
        down.map(|active| active.until.unwrap_or(Instant::FAR_FUTURE)).max()
    }

    /// Tells when faults are added or removed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// The list, without the faults that are over.
    fn lock(&self) -> MutexGuard<'_, List> {
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.0.clock.now();
        list.active.retain(|active| !active.is_over(now));
        self.0.any.store(!list.active.is_empty(), Ordering::Relaxed);
        list
    }
}
