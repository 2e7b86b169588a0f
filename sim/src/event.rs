//! What an oracle sees: the steps of the machines, what the server did, and what the world did to both.
//!
//! Nothing here shows a machine's fields. `at` is true time; a step also has the worker's own clock, which may be
//! skewed, and which is the only time that the machine knows.

use downbeat_core::machine::{Action, CallId, Input, Instant, SlotId, TaskKey, Why};

use serde::{Deserialize, Serialize};

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
    /// When it happened, in true time.
    #[must_use]
    pub const fn at(&self) -> Instant {
        match self {
            Self::Step { at, .. }
            | Self::Started { at, .. }
            | Self::Crashed { at, .. }
            | Self::Stored { at, .. }
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
    /// Whom the input is about; `None`: the hub itself.
    pub told: Option<u32>,
    /// What it was told.
    pub input: Input,
    /// Who has to act; `None`: the hub itself.
    pub to: Option<u32>,
    /// What it answered.
    pub action: Action,
}

impl HubStep {
    /// The step as steps of those whom it concerns: of whoever was told, which ends in a wait without a deadline where
    /// another answers, and of whoever answered. What concerns the hub itself is a step of its own number.
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

/// What the server did. Task keys tell deliveries of one task apart from those of its retries: a retry has a new id.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A task was put into the queue: a new one, or the retry of another.
    Scheduled {
        /// Which task.
        key: TaskKey,
        /// The number of its stream in the scenario.
        stream: u32,
        /// The task that this one retries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_of: Option<TaskKey>,
    },
    /// A task was handed to a worker.
    Delivered {
        /// Which task.
        key: TaskKey,
        /// To whom.
        worker: u32,
        /// By which of its calls.
        call: CallId,
        /// How long the lease is.
        #[serde(with = "micros")]
        lease: core::time::Duration,
    },
    /// A lease was extended; `known`: the task was in progress.
    Extended {
        /// Which task.
        key: TaskKey,
        /// By whom.
        worker: u32,
        /// Whether it had effect.
        known: bool,
    },
    /// A lease ended unextended: the task is TIMED_OUT, and a retry may follow.
    Lapsed {
        /// Which task.
        key: TaskKey,
        /// Whose lease it was.
        worker: u32,
    },
    /// A report arrived.
    Reported {
        /// Which task.
        key: TaskKey,
        /// From whom.
        worker: u32,
        /// By which call; `None`: by the store's resender.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// What it said.
        report: Report,
        /// Whether it changed anything: the first terminal report does, later ones are ignored with a 200.
        applied: bool,
    },
    /// A token was issued.
    TokenIssued {
        /// To whom.
        worker: u32,
    },
    /// A poll or an update was refused for its token.
    TokenRefused {
        /// From whom.
        worker: u32,
    },
}

/// What a report said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// `COMPLETED`.
    Completed,
    /// `FAILED`.
    Failed,
    /// `FAILED_WITH_TERMINAL_ERROR`.
    Terminal,
    /// `IN_PROGRESS` with a callback.
    Yield,
}

/// One place of one worker, over all its lives.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The worker's number.
    pub worker: u32,
    /// Its slot.
    pub slot: SlotId,
}

/// A length of time in a record: whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}
