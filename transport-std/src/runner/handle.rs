//! What can be said to a running runner, and what it says at its end.

use downbeat_core::machine::Snapshot;

use super::Runner;
use crate::error::Error;

/// A runner at work. Dropping it leaves it at work.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
}

impl Running {
    /// What other threads may use to talk to the runner.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the runner has ended: drained or aborted.
    #[must_use]
    pub fn join(self) -> Summary {
        Summary::default()
    }
}

/// Talks to a runner at work, from any thread. Clones talk to the same runner.
#[derive(Clone, Debug)]
pub struct Handle {}

impl Handle {
    /// Asks for no new task, finishes what is held, then ends. After the drain's time running tasks are given back.
    pub fn drain(&self) {}

    /// Gives up what is held (results go to the store where there is one), then ends.
    pub fn abort(&self) {}

    /// Stops polling for this task type; what runs goes on. Answers how many workers have it.
    pub fn pause(&self, task: &str) -> usize {
        let _ = task;
        0
    }

    /// Polls for this task type again. Answers how many workers have it.
    pub fn resume(&self, task: &str) -> usize {
        let _ = task;
        0
    }

    /// The state of each worker, in the order in which they were added.
    #[must_use]
    pub fn snapshot(&self) -> Vec<WorkerState> {
        Vec::new()
    }
}

/// One worker, as seen from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerState {
    /// Its task type.
    pub task: String,
    /// Its domain.
    pub domain: Option<String>,
    /// The machine's state.
    pub state: Snapshot,
}

/// What a runner did, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Tasks that were run.
    pub tasks: u64,
    /// Results that the server accepted: completed.
    pub completed: u64,
    /// Results that the server accepted: failed, to be retried.
    pub failed: u64,
    /// Results that the server accepted: failed for good.
    pub failed_terminally: u64,
    /// Results that the server accepted: in progress, to be called again.
    pub in_progress: u64,
    /// Tasks that were given back to the server: too many, or not done when the drain's time was over.
    pub given_back: u64,
    /// Results that went to the store.
    pub stored: u64,
    /// Results that were given up: rejected by the server, or unreported at an abort without a store.
    pub given_up: u64,
    /// Elements of polls that could not even be reported.
    pub unreportable: u64,
    /// Events that found the channel full.
    pub events_dropped: u64,
}

impl Runner {
    /// Starts the runner's threads and answers at once.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn start(mut self) -> Result<Running, Error> {
        self.settings()?;
        Ok(Running { handle: Handle {} })
    }
}
