//! Calls between workers and server, as the world carries them.

use std::time::Duration;

use downbeat_core::machine::{Answer, CallError, EntryId, Fault, Instant, Reply, TaskKey, TaskMeta};

use super::ending::Ending;
use crate::scenario::CallClass;

/// What a worker asks the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    /// Up to `count` tasks; the server may wait.
    Poll { count: u16, wait: Duration },
    /// Take this report. With `take_next`, give me a task too. With `instead` it says that the task failed,
    /// in its outcome's place.
    Report { key: TaskKey, ending: Ending, take_next: bool, instead: bool },
    /// Take this task back.
    GiveBack { key: TaskKey },
    /// Extend this task's lease.
    Extend { key: TaskKey },
    /// What has become of this task?
    Question { key: TaskKey },
    /// A token.
    Token,
    /// Take this result from the store's sender.
    Resend { key: TaskKey, ending: Ending },
}

impl Request {
    pub(crate) const fn class(&self) -> CallClass {
        match self {
            Self::Poll { .. } => CallClass::Poll,
            Self::Report { .. } | Self::GiveBack { .. } | Self::Resend { .. } => CallClass::Update,
            Self::Extend { .. } => CallClass::Extend,
            Self::Question { .. } => CallClass::Ask,
            Self::Token => CallClass::Token,
        }
    }

    /// The task that the store's sender gives back with it.
    pub(crate) fn given_back(&self) -> Option<TaskKey> {
        match self {
            Self::Resend { key, ending } if !ending.is_result() => Some(*key),
            Self::Resend { .. }
            | Self::Poll { .. }
            | Self::Report { .. }
            | Self::GiveBack { .. }
            | Self::Extend { .. }
            | Self::Question { .. }
            | Self::Token => None,
        }
    }

    /// The task whose outcome this is, and whether the outcome itself is in it.
    pub(crate) const fn result_of(&self) -> Option<(TaskKey, bool)> {
        match self {
            Self::Report { key, instead, .. } => Some((*key, !*instead)),
            Self::Resend { key, .. } => Some((*key, true)),
            Self::Poll { .. }
            | Self::GiveBack { .. }
            | Self::Extend { .. }
            | Self::Question { .. }
            | Self::Token => None,
        }
    }
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Response {
    /// Tasks (to polls, and to updates that take the next).
    Tasks(Vec<TaskMeta>),
    /// Accepted; or still in progress.
    Done,
    /// The server has ended the task.
    Ended,
    /// The server has timed the task out.
    TimedOut,
    /// A token, by number.
    Token(u64),
    /// The server wants no token.
    NoAuth,
    /// Not accepted, or not answered.
    Failed(CallError),
}

impl Response {
    pub(crate) const fn fault(fault: Fault) -> Self {
        Self::Failed(CallError::new(fault))
    }

    /// The reply as the machine is told it.
    pub(crate) const fn reply(&self) -> Reply {
        match self {
            Self::Tasks(_) | Self::Done => Ok(Answer::Done),
            Self::Ended => Ok(Answer::Ended),
            Self::TimedOut => Ok(Answer::TimedOut),
            Self::Token(_) => Ok(Answer::Token { valid_for: None }),
            Self::NoAuth => Ok(Answer::NoAuth),
            Self::Failed(error) => Err(*error),
        }
    }
}

/// A call that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) request: Request,
    /// The worker gives up then.
    pub(crate) deadline: Instant,
    /// The number of the token that it carries.
    pub(crate) token: Option<u64>,
    /// The entry that it reports.
    pub(crate) entry: Option<EntryId>,
}
