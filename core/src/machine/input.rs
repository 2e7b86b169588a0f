//! What the machine is told.

use core::time::Duration;

use super::ids::{CallId, SlotId, TaskKey};

/// Something that happened. Plain data, so that a run can be recorded and replayed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Input {
    /// Time passed, or the driver asks for the next action.
    Tick,
    /// One task of the answer to `call`. Any number precede that call's [`Input::Replied`].
    ///
    /// It is answered at once by `Run`, `Refuse` or `Ignore` for that very task (by `Stopped` once stopped).
    Leased {
        /// The poll, or the update with `take_next`, that brought the task.
        call: CallId,
        /// The task.
        task: TaskMeta,
    },
    /// A call ended.
    Replied {
        /// The call.
        call: CallId,
        /// How it ended.
        reply: Reply,
    },
    /// The user's code for a slot ended.
    Finished {
        /// The slot that was given by `Run`.
        slot: SlotId,
        /// What is to be reported.
        outcome: Outcome,
    },
    /// A hub has news of the shared token. Workers that stand alone ignore it.
    Token(TokenNews),
    /// Somebody outside decided something.
    Control(Control),
}

/// What the machine needs to know of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct TaskMeta {
    /// Which task it is.
    pub key: TaskKey,
    /// How long the server waits for a sign of life (`responseTimeoutSeconds`); `None` or zero: no lease to keep.
    #[cfg_attr(
        feature = "record",
        serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
    )]
    pub response_timeout: Option<Duration>,
}

/// What a finished task wants the server to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Outcome {
    /// The task is over (completed, failed, failed terminally); repeating this report is harmless (R-UPDATE-2).
    Final,
    /// The task goes back to the queue for `callback_after` (whole seconds on the wire); repeating this report
    /// late is *not* harmless (R-UPDATE-3, S4).
    Yield {
        /// How long the server keeps the task from being delivered again.
        #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
        callback_after: Duration,
    },
}

/// How a call ended.
pub type Reply = Result<Answer, CallError>;

/// A call that the server (or the store) accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Answer {
    /// Accepted. For a poll: all its tasks were told by [`Input::Leased`] before.
    Done,
    /// `Refresh` brought a token.
    Token {
        /// How long it is good for; `None`: the policy's `token_life`.
        #[cfg_attr(
            feature = "record",
            serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
        )]
        valid_for: Option<Duration>,
    },
    /// `Refresh` found that this server wants no token (`/token` answers 404): none is asked for until a 401.
    NoAuth,
}

/// Why a call failed, as far as it decides what comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct CallError {
    /// What kind of failure.
    pub fault: Fault,
    /// How long the server asked to be left alone, counted from the answer; bounded by `retry_after_max`.
    #[cfg_attr(
        feature = "record",
        serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
    )]
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// A failure without a `Retry-After`.
    #[must_use]
    pub const fn new(fault: Fault) -> Self {
        Self { fault, retry_after: None }
    }
}

/// Kinds of failure. Each is a question the machine has to answer differently.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Fault {
    /// The request never left, so it had no effect (connection refused, name not found).
    NotSent,
    /// The request may have had its effect (sent, no readable answer).
    Unknown,
    /// 401 or 403: the token is missing, expired or wrong.
    Unauthorized,
    /// 429: the server asks for less.
    Throttled,
    /// 5xx: the server failed, or says so of a mistake of ours (R-HTTP-5).
    Server,
    /// The server will never accept this request (400, 404, 409, 413 …).
    Rejected,
    /// The server has no `update-v2` (404 or 405 on that path); nothing took effect.
    Unsupported,
}

/// What a hub tells its workers of the token they share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum TokenNews {
    /// There is a token (or none is needed), of this generation.
    Fresh {
        /// Grows by one with every new token, wraps.
        generation: u16,
    },
    /// The token is gone: nothing that needs one may be sent.
    Missing,
}

/// A decision from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Control {
    /// Ask for no new task until `Resume`; go on with all else.
    Pause,
    /// Ask for tasks again. Nothing after `Drain`.
    Resume,
    /// Ask for no new task, finish what is held, then stop. Cannot be taken back.
    Drain,
    /// Give up what is held (results go to the store where there is one), then stop.
    Abort,
}
