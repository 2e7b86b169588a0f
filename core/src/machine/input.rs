//! What the machine is told.

use core::time::Duration;

use super::ids::{CallId, EntryId, TaskKey};

/// Something that happened. Plain data, so that a run can be recorded and replayed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Input {
    /// Time passed, or the driver asks for the next action.
    Tick,
    /// One task of the answer to `call`. Any number precede that call's [`Input::Replied`].
    ///
    /// It is answered at once by `Run`, `GiveBack` or `Ignore` for that very task (by `Stopped` once stopped).
    Leased {
        /// The poll, or the update with `take_next`, that brought the task.
        call: CallId,
        /// The task.
        task: TaskMeta,
    },
    /// A task that an earlier life of this worker had in hand, by the driver's journal; to be told before the first `Tick`.
    ///
    /// The machine answers at once for that very task, by `Run`, or by `Ignore` if there is no room. With
    /// `Run` the driver does not start the code again: it tells `Finished` with what the journal has of the
    /// task, or with a yield. Its lease is extended at once, because nobody knows how much of it is left, and
    /// its outcome is reported as any other.
    Recovered {
        /// The task; `give_back_within` counts from now.
        task: TaskMeta,
    },
    /// A call ended.
    Replied {
        /// The call.
        call: CallId,
        /// How it ended.
        reply: Reply,
    },
    /// The user's code for an entry ended.
    Finished {
        /// The entry that was given by `Run`.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
        /// What is to be reported.
        outcome: Outcome,
    },
    /// A hub has news of the shared token. Workers without a hub ignore it.
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
    /// How long the server waits for a sign of life (`responseTimeoutSeconds`); `None` or zero if there is no
    /// lease to keep.
    #[cfg_attr(
        feature = "record",
        serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
    )]
    pub response_timeout: Option<Duration>,
    /// How long from the sending of the call that brought it the task may be given back, or yield; `None`
    /// means at any time. Later than `pollTimeoutSeconds` after its first scheduling, that report would end
    /// the workflow (R-TIMEOUT-3).
    #[cfg_attr(
        feature = "record",
        serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
    )]
    pub give_back_within: Option<Duration>,
    /// The task that this one is the server's retry of (`retriedTaskId`).
    #[cfg_attr(feature = "record", serde(default, skip_serializing_if = "Option::is_none"))]
    pub retry_of: Option<TaskKey>,
}

impl TaskMeta {
    /// Makes a task that may be given back at any time and is nobody's retry.
    #[must_use]
    pub const fn new(key: TaskKey, response_timeout: Option<Duration>) -> Self {
        Self { key, response_timeout, give_back_within: None, retry_of: None }
    }
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
        /// How long it is good for; `None` means the policy's `token_life`.
        #[cfg_attr(
            feature = "record",
            serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
        )]
        valid_for: Option<Duration>,
    },
    /// `Refresh` found that this server wants no token (`/token` answers 404): none is asked for until a 401.
    NoAuth,
    /// `Ask` found that the server has ended the task: its workflow was terminated.
    Ended,
    /// `Ask` found that the server has timed the task out: to the worker, its lease is over.
    TimedOut,
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
    /// Makes a failure without a `Retry-After`.
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
    /// As `Unknown`: the server took the request and did not answer within the call's limit.
    Slow,
    /// 401, or a code that says so: the token is missing, expired or wrong.
    Unauthorized,
    /// 403: refused. A new token may help, once (S9).
    Forbidden,
    /// 429, 503: the server takes no requests now, and nothing took effect.
    Throttled,
    /// 502, 504, 408, 425: the server, or what stands before it, is in trouble. A 404 that is not Conductor's own word
    /// counts as this: somebody else answered in its place.
    Server,
    /// 500 and any other 5xx: the server failed on this request, through no fault or through one of ours
    /// (R-HTTP-5). The request may have had its effect all the same.
    Internal,
    /// The server will never accept this request (400, 409, 422 …).
    Rejected,
    /// 413: the request is larger than the server, or a proxy before it, takes.
    TooLarge,
    /// 404 in Conductor's own words: there is no such task, or no such workflow, any more.
    Gone,
    /// The server has no `update-v2` (404, 405, or a 5xx that says so, on that path); nothing took effect.
    Unsupported,
}

impl Fault {
    /// All of them, in their order: for whoever draws one.
    pub const ALL: [Self; 12] = [
        Self::NotSent,
        Self::Unknown,
        Self::Slow,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Throttled,
        Self::Server,
        Self::Internal,
        Self::Rejected,
        Self::TooLarge,
        Self::Gone,
        Self::Unsupported,
    ];
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
    /// Give up what is held (results go to the store if there is one), then stop.
    Abort,
}
