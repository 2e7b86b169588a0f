//! What has been asked and done, for tests and people.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::clock::Clock;
use super::{TaskCounts, WorkflowStatus};

/// How many seconds of history are kept.
const HISTORY: usize = 600;

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Second {
    /// Which second, counted from the server's start.
    pub second: u64,
    /// Requests that arrived.
    pub requests: u64,
    /// Polls among them.
    pub polls: u64,
    /// Connections that arrived, those that were reset at once among them.
    pub connections: u64,
}

/// What has been asked and done since the server's start.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Stats {
    /// Requests by endpoint.
    pub requests: BTreeMap<String, u64>,
    /// Responses by status; 0 counts those that a fault kept from being sent.
    pub answers: BTreeMap<u16, u64>,
    /// Connections taken.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// Connections reset at once, by a fault.
    pub reset_connections: u64,
    /// Tasks.
    pub tasks: TaskCounts,
    /// Workflows by status.
    pub workflows: BTreeMap<WorkflowStatus, u64>,
    /// The seconds in which something happened, oldest first; 600 at most.
    pub seconds: Vec<Second>,
}

impl Stats {
    /// Returns how often an endpoint was asked.
    #[must_use]
    pub fn requests_to(&self, endpoint: &str) -> u64 {
        self.requests.get(endpoint).copied().unwrap_or(0)
    }

    /// Returns the most connections that arrived within one second of the clock.
    #[must_use]
    pub fn most_connections_per_second(&self) -> u64 {
        self.seconds.iter().map(|second| second.connections).max().unwrap_or(0)
    }
}

#[derive(Debug)]
pub(super) struct Counters {
    clock: Clock,
    began: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: BTreeMap<&'static str, u64>,
    answers: BTreeMap<u16, u64>,
    connections: u64,
    open: u64,
    reset: u64,
    seconds: VecDeque<Second>,
}

impl Counters {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, began: clock.now().as_micros(), inner: Mutex::new(Inner::default()) }
    }

    pub(super) fn request(&self, endpoint: &'static str, is_poll: bool) {
        let mut inner = self.lock();
        *inner.requests.entry(endpoint).or_default() += 1;
        let second = self.second(&mut inner);
        second.requests += 1;
        second.polls += u64::from(is_poll);
    }

    pub(super) fn answer(&self, status: u16) {
        *self.lock().answers.entry(status).or_default() += 1;
    }

    pub(super) fn opened(&self) {
        let mut inner = self.lock();
        inner.connections += 1;
        inner.open += 1;
        self.second(&mut inner).connections += 1;
    }

    pub(super) fn closed(&self) {
        let mut inner = self.lock();
        inner.open = inner.open.saturating_sub(1);
    }

    pub(super) fn reset(&self) {
        let mut inner = self.lock();
        inner.reset += 1;
        self.second(&mut inner).connections += 1;
    }

    pub(super) fn open(&self) -> u64 {
        self.lock().open
    }

    pub(super) fn stats(&self, tasks: TaskCounts, workflows: BTreeMap<WorkflowStatus, u64>) -> Stats {
        let inner = self.lock();
        Stats {
            requests: inner.requests.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            answers: inner.answers.clone(),
            connections: inner.connections,
            open_connections: inner.open,
            reset_connections: inner.reset,
            tasks,
            workflows,
            seconds: inner.seconds.iter().copied().collect(),
        }
    }

    fn second<'a>(&self, inner: &'a mut Inner) -> &'a mut Second {
        let number = self.clock.now().as_micros().saturating_sub(self.began) / 1_000_000;
        if inner.seconds.back().is_none_or(|last| last.second < number) {
            if inner.seconds.len() == HISTORY {
                inner.seconds.pop_front();
            }
            inner.seconds.push_back(Second { second: number, ..Second::default() });
        }
        let last = inner.seconds.len() - 1;
        &mut inner.seconds[last]
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
