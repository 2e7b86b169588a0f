//! What an oracle sees: the steps of the machines, what the server did, and what the world did to both.
//!
//! Nothing here shows a machine's fields. `at` is true time; a step also has the worker's own clock, which may be
//! skewed, and which is the only time that the machine knows.

use downbeat_core::machine::{Action, Input, Instant, TaskKey, Why};
pub use downbeat_server::model::{Effect, Report};

use crate::scenario::FaultKind;

/// Something that happened in a run, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A machine was told something and answered.
    Step {
        /// True time.
        at: Instant,
        /// Which worker, by number over all groups.
        worker: u32,
        /// The worker's clock.
        local: Instant,
        /// What it was told.
        input: Input,
        /// What it answered.
        action: Action,
    },
    /// A worker's process starts (or starts anew), with an empty machine.
    Started {
        /// True time.
        at: Instant,
        /// Which worker.
        worker: u32,
    },
    /// A worker's process is gone without a word: a crash.
    Crashed {
        /// True time.
        at: Instant,
        /// Which worker.
        worker: u32,
    },
    /// A result left for good: the driver stored it, or the store sent it later.
    Stored {
        /// True time.
        at: Instant,
        /// Which worker.
        worker: u32,
        /// Which task.
        key: TaskKey,
    },
    /// The driver has written a result durably, before its machine is told that the task has ended.
    Kept {
        /// True time.
        at: Instant,
        /// Which worker.
        worker: u32,
        /// Which task.
        key: TaskKey,
    },
    /// The driver has filed a result among its dead letters: the server will not take it.
    Buried {
        /// True time.
        at: Instant,
        /// Which worker.
        worker: u32,
        /// Which task.
        key: TaskKey,
    },
    /// A call reached the server and had its effect there, whatever becomes of the answer.
    Server {
        /// True time.
        at: Instant,
        /// What it was.
        effect: Effect,
    },
    /// A fault begins or ends.
    Fault {
        /// True time.
        at: Instant,
        /// Its number in the scenario.
        index: u32,
        /// Its kind.
        kind: FaultKind,
        /// Whether it begins.
        begins: bool,
    },
    /// No fault from here on.
    Healed {
        /// True time.
        at: Instant,
    },
}

impl Event {
    /// Returns when it happened, in true time.
    #[must_use]
    pub const fn at(&self) -> Instant {
        match self {
            Self::Step { at, .. }
            | Self::Started { at, .. }
            | Self::Crashed { at, .. }
            | Self::Stored { at, .. }
            | Self::Kept { at, .. }
            | Self::Buried { at, .. }
            | Self::Server { at, .. }
            | Self::Fault { at, .. }
            | Self::Healed { at } => *at,
        }
    }
}

/// A step of a hub: it may be told something of one worker and answer for another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HubStep {
    /// True time.
    pub at: Instant,
    /// The number of the hub; hubs are numbered on behind the workers.
    pub hub: u32,
    /// The process's clock.
    pub local: Instant,
    /// Whom the input is about, or `None` for the hub itself.
    pub told: Option<u32>,
    /// What it was told.
    pub input: Input,
    /// Who has to act, or `None` for the hub itself.
    pub to: Option<u32>,
    /// What it answered.
    pub action: Action,
}

impl HubStep {
    /// Returns the step as steps of those whom it concerns: of whoever was told, which ends in a wait without
    /// a deadline if another answers, and of whoever answered. What concerns the hub itself is a step of its
    /// own number.
    pub fn events(&self) -> impl Iterator<Item = Event> + use<> {
        let Self { at, local, input, action, .. } = *self;
        let step = move |worker, input, action| Event::Step { at, worker, local, input, action };
        let (told, to) = (self.told.unwrap_or(self.hub), self.to.unwrap_or(self.hub));
        if told == to {
            return Some(step(told, input, action)).into_iter().chain(None);
        }
        let nothing = Action::Wait { until: None, why: Why::InFlight };
        let first = (self.told.is_some() || input != Input::Tick).then(|| step(told, input, nothing));
        first.into_iter().chain(Some(step(to, Input::Tick, action)))
    }
}

/// Watches a run. Oracles, the record and the counters are watchers.
pub trait Watcher {
    /// Sees one event; whether the run may go on.
    fn on(&mut self, event: &Event) -> bool;

    /// Sees one step of a hub; whether the run may go on. Those who care for single workers see it as steps of the
    /// workers that it concerns.
    fn on_hub(&mut self, step: &HubStep) -> bool {
        let mut goes_on = true;
        for event in step.events() {
            goes_on &= self.on(&event);
        }
        goes_on
    }
}
