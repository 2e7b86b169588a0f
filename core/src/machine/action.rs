//! What the machine asks for.

use core::time::Duration;

use super::ids::{CallId, EntryId, TaskKey};
use super::time::Instant;

/// Something the driver must now do, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
#[must_use = "an action is given once; if it is not performed, its entry or call waits for ever"]
pub enum Action {
    /// Run the user's code for the task just leased; answer with `Finished`.
    Run {
        /// Where the task is held from now on.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
        /// Which task.
        key: TaskKey,
    },
    /// Give the task just leased back with `IN_PROGRESS`, `callbackAfterSeconds` 1 and its polled output;
    /// answer with `Replied`. Read the whole of the poll's answer before, and tell the next task of it after.
    #[cfg_attr(feature = "record", serde(alias = "refuse"))]
    GiveBack {
        /// The call.
        call: CallId,
        /// Which task.
        key: TaskKey,
    },
    /// Forget the task just leased: it is being run or reported here already. Nothing is sent.
    Ignore {
        /// Which task.
        key: TaskKey,
    },
    /// Stop the user's code of this entry and answer with `Finished`, once. What is to become of its outcome says `why`.
    Recall {
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
        /// For what reason.
        #[cfg_attr(feature = "record", serde(default))]
        why: RecallReason,
    },
    /// The lease of this entry's task is over by the worker's own clock: the server has ended the task, and may give its
    /// retry to anybody. It is extended no more. Nothing is to be done but to say so.
    Lapsed {
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
    },
    /// The task just leased is the server's retry of the one that runs in this entry, whose lease has lapsed: that run goes
    /// on, for the new task. Report it under the new task's id from now on; nothing is answered.
    Adopt {
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
        /// Which task it runs now.
        key: TaskKey,
    },
    /// Ask the server for the state of this entry's task (`GET /tasks/{id}`). Answer with `Replied`: `Done`
    /// while it is in progress, `TimedOut` or `Ended` otherwise.
    Ask {
        /// The call.
        call: CallId,
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
    },
    /// Get a token; answer with `Replied(Token | NoAuth | error)`.
    Refresh {
        /// The call.
        call: CallId,
    },
    /// Extend the lease of this entry's task (`extendLease`); answer with `Replied`.
    Extend {
        /// The call.
        call: CallId,
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
    },
    /// Report this entry's outcome; answer with `Replied`. `Ok` frees the entry.
    Update {
        /// The call.
        call: CallId,
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
        /// How many reports of this outcome failed before; 401s do not count. Saturates at 65,535.
        attempt: u16,
        /// Use `update-v2`: the answer may bring one task, told by `Leased` before `Replied`.
        take_next: bool,
        /// Report that the task failed, for this reason, in place of its outcome. A driver with a store files the outcome
        /// under its dead letters when that report is accepted, unless the outcome is a yield.
        #[cfg_attr(feature = "record", serde(default, skip_serializing_if = "Option::is_none"))]
        instead: Option<Instead>,
    },
    /// Ask for up to `count` tasks; answer with a `Leased` for each, then `Replied`. Never break it off.
    Poll {
        /// The call.
        call: CallId,
        /// How many: 1 up to the entries that are free.
        count: u16,
        /// How long the server may hold the poll; at most 5 s (R-POLL-2).
        #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
        wait: Duration,
    },
    /// Hand this entry's result to durable storage; answer with `Replied` once it is safe there. `Ok` frees the entry.
    Spill {
        /// The call.
        call: CallId,
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
        /// Store the report that the task failed, for this reason; the outcome itself is a dead letter, unless it is a yield.
        #[cfg_attr(feature = "record", serde(default, skip_serializing_if = "Option::is_none"))]
        instead: Option<Instead>,
    },
    /// Forget this entry: its outcome was not accepted and will not be sent again. The entry is free.
    Discard {
        /// The entry.
        #[cfg_attr(feature = "record", serde(alias = "slot"))]
        entry: EntryId,
        /// For what reason.
        why: Loss,
    },
    /// Nothing to do until then, or until another input.
    Wait {
        /// When to `Tick` at the latest; later than now. `None`: only an input can bring work.
        until: Option<Instant>,
        /// What the wait is for.
        why: Why,
    },
    /// The worker is finished; every later step answers the same.
    Stopped,
}

impl Action {
    /// Returns the call that is made, to the server or to the store, or `None` if none is.
    #[must_use]
    pub const fn call(&self) -> Option<CallId> {
        match self {
            Self::GiveBack { call, .. }
            | Self::Refresh { call }
            | Self::Extend { call, .. }
            | Self::Ask { call, .. }
            | Self::Update { call, .. }
            | Self::Poll { call, .. }
            | Self::Spill { call, .. } => Some(*call),
            Self::Run { .. }
            | Self::Ignore { .. }
            | Self::Recall { .. }
            | Self::Lapsed { .. }
            | Self::Adopt { .. }
            | Self::Discard { .. }
            | Self::Wait { .. }
            | Self::Stopped => None,
        }
    }

    /// Returns what it is called in logs and views, the same word as in a record: `run`, `give_back` and so
    /// on.
    ///
    /// ```
    /// use downbeat_core::machine::Action;
    /// assert_eq!(Action::Stopped.name(), "stopped");
    /// ```
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::GiveBack { .. } => "give_back",
            Self::Ignore { .. } => "ignore",
            Self::Recall { .. } => "recall",
            Self::Lapsed { .. } => "lapsed",
            Self::Adopt { .. } => "adopt",
            Self::Ask { .. } => "ask",
            Self::Refresh { .. } => "refresh",
            Self::Extend { .. } => "extend",
            Self::Update { .. } => "update",
            Self::Poll { .. } => "poll",
            Self::Spill { .. } => "spill",
            Self::Discard { .. } => "discard",
            Self::Wait { .. } => "wait",
            Self::Stopped => "stopped",
        }
    }
}

/// What a wait is for: the obligation that comes first, or what is in the way.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Why {
    /// The queue was empty; the poll gate opens then.
    Empty,
    /// The last poll failed; the poll gate opens then.
    Failing,
    /// The server cannot be reached; one call is tried then.
    Unreachable,
    /// Authorisation failed, or the token is due to be renewed then.
    Auth,
    /// The server asked to be left alone until then.
    RetryAfter,
    /// Paused: no poll until `Resume`.
    Paused,
    /// No free entry for a task: all run, or the table is full of unreported results.
    Full,
    /// All calls allowed at a time are in flight.
    Busy,
    /// A call is in flight and nothing else is due.
    InFlight,
    /// A lease is due to be extended then.
    Lease,
    /// A result is due to be reported again then.
    Update,
    /// Draining: what is held ends first, or the drain's time is over then.
    Draining,
    /// A lease is over then, or a result goes to the store.
    Limit,
    /// The server is to be asked about a running task then.
    Ask,
}

/// Why running code is stopped, and what becomes of its outcome.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum RecallReason {
    /// The drain's time is over. An outcome is reported if there is one; otherwise `Finished` with a yield of 1 s that echoes
    /// the polled output gives the task back.
    #[default]
    Drain,
    /// The server has ended the task: its workflow was terminated or restarted. Whatever the code returns is discarded.
    Cancelled,
    /// The lease is over, and [`OnLapse::Stop`](super::OnLapse::Stop) is set. Whatever the code returns is discarded.
    Lapsed,
}

/// Why a small report that the task failed takes the place of its outcome.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Instead {
    /// The outcome is larger than the server, or a proxy before it, takes (413): failed, and not to be retried.
    TooLarge,
    /// The server will never accept the outcome (another 4xx): failed.
    Rejected,
    /// The server, which does answer, has refused the outcome again and again (500, 403): failed.
    Refused,
    /// The outcome is a yield or a give-back, and it is too late for one: the server would time the workflow out for it
    /// (R-TIMEOUT-3). Failed, so that a retry is left.
    PollTimeout,
}

/// Why an outcome was given up.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Loss {
    /// The server will never accept it (S16). A driver with a store files a result under its dead letters.
    Rejected,
    /// `Abort`, and no store to keep it.
    Aborted,
    /// A yield whose first report may have had effect, and whose repeat could take the task from its next holder (S4).
    UnsafeYield,
    /// Four tries failed, and the policy is the Ruby SDK's, which gives up then.
    GaveUp,
    /// The server refused it, and the report that the task failed too, for as long as they are tried. A driver with a store
    /// files a result under its dead letters.
    Refused,
    /// The server has ended the task otherwise: its workflow was cancelled or restarted, or its lease lapsed. Nobody waits
    /// for this outcome; nothing is wrong.
    Ended,
}
