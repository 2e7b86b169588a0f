//! What can be said to a running runner, and what it says at its end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use downbeat_core::machine::{Control, HubInput, Input, Snapshot};

use super::counts::Summary;
use super::shared::Shared;
use super::slots::WorkerSlots;
use crate::context::CancelReason;
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
        shared.scheduler.wait_ended();
        shared.declare_over();
        shared.scheduler.end_record();
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

    /// Gives up what is held (results go to the store if there is one), then ends.
    pub fn abort(&self) {
        let then = if self.shared.notes().is_some() { "the next start" } else { "their leases" };
        tracing::warn!("aborting: running tasks are left to {then}");
        let held: Vec<_> = self.shared.workers.iter().flat_map(WorkerSlots::all_held).collect();
        self.shared.tell_from_outside(HubInput::Control(Control::Abort));
        // Not before: what a run that is broken off comes to is no result.
        held.iter().for_each(|held| held.recall.cancel(CancelReason::Draining));
    }

    /// Stops polling for this task type; what runs goes on. Returns how many workers have it.
    pub fn pause(&self, task: &str) -> usize {
        self.control(task, Control::Pause)
    }

    /// Polls for this task type again. Returns how many workers have it.
    pub fn resume(&self, task: &str) -> usize {
        self.control(task, Control::Resume)
    }

    fn control(&self, task: &str, control: Control) -> usize {
        let workers = (0..).zip(&*self.shared.workers).filter(|(_, slots)| slots.task == task);
        workers
            .map(|(worker, slots)| {
                if control == Control::Pause {
                    self.shared.measure(|metrics| metrics.add(Name::Paused, &[&slots.task], 1));
                }
                let input = Input::Control(control);
                self.shared.tell_from_outside(HubInput::Worker { worker, input });
            })
            .count()
    }

    /// The state of each worker, in the order in which they were added.
    #[must_use]
    pub fn snapshot(&self) -> Vec<WorkerState> {
        self.shared.scheduler.look(|hub| {
            let states = hub.members().iter().map(|member| member.machine().snapshot());
            let workers = self.shared.workers.iter();
            workers
                .zip(states)
                .map(|(slots, state)| WorkerState {
                    task: slots.task.clone(),
                    domain: slots.domain.clone(),
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
        self.shared.scheduler.has_ended()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.shared.workers.len()).finish_non_exhaustive()
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
