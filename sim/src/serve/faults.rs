//! Faults to order: what goes wrong, for which calls, for how long, how often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downbeat_core::machine::Instant;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::clock::Clock;
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
    /// A polled task has an input that is a string.
    MalformedTask,
    /// A polled task has no `taskId`.
    NoId,
    /// A polled task is of another type.
    WrongType,
    /// A poll gives one task more than asked for, where there is one.
    OverDeliver,
    /// A poll gives, besides, a task that is out already, where there is one.
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

/// A fault. `Fault::new(kind)` concerns all calls, until it is removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For how long; `None`: until removed.
    pub lasts: Option<Duration>,
    /// How many times; `None`: any number.
    pub count: Option<u64>,
    /// How many of the calls concerned are hit, in percent.
    pub percent: u8,
    /// `Retry-After`, in seconds, with [`FaultKind::Status`].
    pub retry_after: Option<u64>,
    /// The delay of [`FaultKind::Slow`]; default 1 s.
    pub by: Duration,
    /// Which calls; `None`: all.
    pub calls: Option<Vec<CallKind>>,
    /// Only polls and results of this task type.
    pub task: Option<String>,
    /// Only answers that bring a task: for [`FaultKind::LostAnswer`], [`FaultKind::Cut`] and [`FaultKind::Truncated`].
    pub with_task: bool,
}

impl Fault {
    /// A fault of all calls, until it is removed.
    #[must_use]
    pub const fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            lasts: None,
            count: None,
            percent: 100,
            retry_after: None,
            by: Duration::from_secs(1),
            calls: None,
            task: None,
            with_task: false,
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
    pub fn of_task(mut self, task: &str) -> Self {
        self.task = Some(task.to_owned());
        self
    }

    /// Confines it to answers that bring a task.
    #[must_use]
    pub const fn with_task(mut self) -> Self {
        self.with_task = true;
        self
    }

    /// Adds a `Retry-After`.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Sets the delay of [`FaultKind::Slow`].
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
        let until = fault.lasts.map(|lasts| self.0.clock.now().after(lasts));
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

    /// The faults in force, in the order in which they were added.
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

    /// Until when connections are refused: [`Instant::FAR_FUTURE`] without an end; `None`: they are taken.
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

// -------------------------------------------------------------------- words

const WORDS: [(&str, FaultKind); 14] = [
    ("down", FaultKind::Down),
    ("reset", FaultKind::Reset),
    ("slow", FaultKind::Slow),
    ("lost_request", FaultKind::LostRequest),
    ("lost_answer", FaultKind::LostAnswer),
    ("cut", FaultKind::Cut),
    ("html", FaultKind::Html),
    ("garbage", FaultKind::Garbage),
    ("truncated", FaultKind::Truncated),
    ("malformed_task", FaultKind::MalformedTask),
    ("no_id", FaultKind::NoId),
    ("wrong_type", FaultKind::WrongType),
    ("over_deliver", FaultKind::OverDeliver),
    ("duplicate", FaultKind::Duplicate),
];

impl FaultKind {
    /// The word of the control endpoint: `down`, `lost_answer`, or a status such as `503`.
    #[must_use]
    pub fn word(self) -> String {
        let known = WORDS.iter().find(|(_, kind)| *kind == self).map(|(word, _)| (*word).to_owned());
        if let Self::Status(status) = self { status.to_string() } else { known.unwrap_or_default() }
    }

    fn parse(word: &str) -> Option<Self> {
        let known = WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
        known.or_else(|| {
            let status = word.parse::<u16>().ok()?;
            (400..600).contains(&status).then_some(Self::Status(status))
        })
    }
}

/// A fault as the control endpoint takes and shows it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<CallKind>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(default)]
    with_task: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
}

impl Wire {
    /// The fault that is ordered, or what is wrong with the order.
    pub(super) fn read(self) -> Result<Fault, String> {
        let Some(kind) = FaultKind::parse(&self.kind) else {
            let words = WORDS.map(|(word, _)| word).join(", ");
            return Err(format!(
                "kind \"{}\" is not known; take a status from 400 to 599, or {words}",
                self.kind
            ));
        };
        let bounded = self.for_ms.is_some();
        if matches!(kind, FaultKind::Down) && !bounded {
            return Err("down needs for_ms: nothing could reach the server to end it".to_owned());
        }
        if matches!(kind, FaultKind::Reset) && !bounded && self.count.is_none() {
            return Err("reset needs for_ms or count: nothing could reach the server to end it".to_owned());
        }
        if self.percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return Err("percent must be 1 to 100".to_owned());
        }
        Ok(Fault {
            kind,
            lasts: self.for_ms.map(Duration::from_millis),
            count: self.count,
            percent: self.percent.unwrap_or(100),
            retry_after: self.retry_after_s,
            by: self.by_ms.map_or(Duration::from_secs(1), Duration::from_millis),
            calls: self.calls,
            task: self.task,
            with_task: self.with_task,
        })
    }
}

impl From<&ActiveFault> for Wire {
    fn from(active: &ActiveFault) -> Self {
        let fault = &active.fault;
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: Some(active.id),
            kind: fault.kind.word(),
            for_ms: fault.lasts.map(millis),
            count: fault.count,
            percent: Some(fault.percent),
            retry_after_s: fault.retry_after,
            by_ms: (fault.kind == FaultKind::Slow).then(|| millis(fault.by)),
            calls: fault.calls.clone(),
            task: fault.task.clone(),
            with_task: fault.with_task,
            hits: Some(active.hits),
        }
    }
}
