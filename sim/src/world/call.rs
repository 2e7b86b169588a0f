//! Calls between workers and server, as the world carries them.

use std::time::Duration;

use downbeat_core::machine::{Answer, CallError, Fault, Instant, Reply, SlotId, TaskKey};

use super::unit::Verdict;
use crate::scenario::CallClass;

/// What a worker asks the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// Up to `count` tasks; the server may wait.
    Poll { count: u16, wait: Duration },
    /// Take this report; `take_next`: and give me a task.
    Report { key: TaskKey, verdict: Verdict, take_next: bool },
    /// Take this task back.
    GiveBack { key: TaskKey },
    /// Extend this task's lease.
    Extend { key: TaskKey },
    /// A token.
    Token,
    /// Take this result from the store's resender.
    Resend { key: TaskKey, verdict: Verdict },
}

impl Ask {
    pub(crate) const fn class(&self) -> CallClass {
        match self {
            Self::Poll { .. } => CallClass::Poll,
            Self::Report { .. } | Self::GiveBack { .. } | Self::Resend { .. } => CallClass::Update,
            Self::Extend { .. } => CallClass::Extend,
            Self::Token => CallClass::Token,
        }
    }

    /// How long the server may hold it.
    pub(crate) const fn wait(&self) -> Duration {
        match self {
            Self::Poll { wait, .. } => *wait,
            Self::Report { .. }
            | Self::GiveBack { .. }
            | Self::Resend { .. }
            | Self::Extend { .. }
            | Self::Token => Duration::ZERO,
        }
    }

    /// The task whose result this is.
    pub(crate) const fn result_of(&self) -> Option<TaskKey> {
        match self {
            Self::Report { key, .. } | Self::Resend { key, .. } => Some(*key),
            Self::Poll { .. } | Self::GiveBack { .. } | Self::Extend { .. } | Self::Token => None,
        }
    }
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// Tasks with their leases (to polls, and to updates that take the next).
    Tasks(Vec<(TaskKey, Duration)>),
    /// Accepted.
    Done,
    /// A token, by number.
    Token(u64),
    /// The server wants no token.
    NoAuth,
    /// Not accepted, or not answered.
    Failed(CallError),
}

impl Said {
    pub(crate) const fn fault(fault: Fault) -> Self {
        Self::Failed(CallError::new(fault))
    }

    /// The reply as the machine is told it.
    pub(crate) const fn reply(&self) -> Reply {
        match self {
            Self::Tasks(_) | Self::Done => Ok(Answer::Done),
            Self::Token(_) => Ok(Answer::Token { valid_for: None }),
            Self::NoAuth => Ok(Answer::NoAuth),
            Self::Failed(error) => Err(*error),
        }
    }
}

/// A call that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) ask: Ask,
    /// The worker gives up then.
    pub(crate) deadline: Instant,
    /// The number of the token that it carries.
    pub(crate) token: Option<u64>,
    /// The slot that it reports.
    pub(crate) slot: Option<SlotId>,
}
