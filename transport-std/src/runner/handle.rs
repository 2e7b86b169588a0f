//! What can be said to a running runner, and what it says at its end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use downbeat_core::machine::{Control, HubInput, Input, Snapshot};

use super::shared::Shared;
use crate::metrics::Name;

/// A runner at work. Dropping it leaves it at work.
#[derive(Debug)]
pub struct Running {
    pub(super) handle: Handle,
}

impl Running {
    /// What other threads may use to talk to the runner.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the runner has ended: drained or aborted. User code that never ends is not waited for.
    #[must_use]
    pub fn join(self) -> Summary {
        let shared = &self.handle.shared;
        shared.crew.wait_ended();
        shared.declare_over();
        shared.crew.end_record();
        shared.counts.summary()
    }
}

/// Talks to a runner at work, from any thread. Clones talk to the same runner.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// Asks for no new task, finishes what is held, then ends. After the drain's time running tasks are given back.
    pub fn drain(&self) {
        self.shared.tell_from_outside(HubInput::Control(Control::Drain));
        // Said once it is so: from here on no task is asked for.
        tracing::info!("draining: no new tasks, what runs may finish");
    }

    /// Gives up what is held (results go to the store where there is one), then ends.
    pub fn abort(&self) {
        tracing::warn!("aborting: running tasks are left to their leases");
        for side in &self.shared.sides {
            side.cancel_all();
        }
        self.shared.tell_from_outside(HubInput::Control(Control::Abort));
    }

    /// Stops polling for this task type; what runs goes on. Answers how many workers have it.
    pub fn pause(&self, task: &str) -> usize {
        self.control(task, Control::Pause)
    }

    /// Polls for this task type again. Answers how many workers have it.
    pub fn resume(&self, task: &str) -> usize {
        self.control(task, Control::Resume)
    }

    fn control(&self, task: &str, control: Control) -> usize {
        let workers = (0..).zip(&self.shared.sides).filter(|(_, side)| side.task == task);
        workers
            .map(|(worker, side)| {
                if control == Control::Pause {
                    self.shared.measure(|metrics| metrics.add(Name::Paused, &[&side.task], 1));
                }
                let input = Input::Control(control);
                self.shared.tell_from_outside(HubInput::Worker { worker, input });
            })
            .count()
    }

    /// The state of each worker, in the order in which they were added.
    #[must_use]
    pub fn snapshot(&self) -> Vec<WorkerState> {
        self.shared.crew.look(|hub| {
            let states = hub.members().iter().map(|member| member.machine().snapshot());
            let sides = self.shared.sides.iter();
            sides
                .zip(states)
                .map(|(side, state)| WorkerState {
                    task: side.task.clone(),
                    domain: side.domain.clone(),
                    state,
                })
                .collect()
        })
    }

    /// What the runner did so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.shared.counts.summary()
    }

    /// Where the admin endpoint listens; `None`: there is none.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.shared.admin
    }

    /// Whether the runner has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.crew.has_ended()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.shared.sides.len()).finish_non_exhaustive()
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
#[non_exhaustive]
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
    /// Results that the server took from the store, earlier runs' included.
    pub resent: u64,
    /// Results that were given up: rejected by the server, or unreported at an abort without a store.
    pub given_up: u64,
    /// Elements of polls that could not even be reported.
    pub unreportable: u64,
    /// Events that found the channel full.
    pub events_dropped: u64,
}
