//! What the machine asks for.

use core::time::Duration;

use super::ids::{CallId, SlotId, TaskKey};
use super::time::Instant;

/// Something the driver must now do, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
#[must_use = "an action is given once; if it is not performed, its slot or call waits for ever"]
pub enum Action {
    /// Run the user's code for the task just leased; answer with `Finished`.
    Run {
        /// Where the task is held from now on.
        slot: SlotId,
        /// Which task.
        key: TaskKey,
    },
    /// Give the task just leased back: `IN_PROGRESS`, `callbackAfterSeconds` 1, its polled output echoed; answer with
    /// `Replied`. Read the whole of the poll's answer before, and tell the next task of it after.
    Refuse {
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
    /// Stop the user's code of this slot and answer with `Finished`: its outcome if it has one, else a yield of 1 s
    /// that echoes the polled output (the drain's time is over, and the task is given back).
    Recall {
        /// The slot.
        slot: SlotId,
    },
    /// Get a token; answer with `Replied(Token | NoAuth | error)`.
    Refresh {
        /// The call.
        call: CallId,
    },
    /// Extend the lease of this slot's task (`extendLease`); answer with `Replied`.
    Extend {
        /// The call.
        call: CallId,
        /// The slot.
        slot: SlotId,
    },
    /// Report this slot's outcome; answer with `Replied`. `Ok` frees the slot.
    Update {
        /// The call.
        call: CallId,
        /// The slot.
        slot: SlotId,
        /// How many reports of this outcome failed before; 401s do not count. Saturates at 65,535.
        attempt: u16,
        /// Use `update-v2`: the answer may bring one task, told by `Leased` before `Replied`.
        take_next: bool,
    },
    /// Ask for up to `count` tasks; answer with a `Leased` for each, then `Replied`. Never break it off.
    Poll {
        /// The call.
        call: CallId,
        /// How many: 1 up to the places that are free.
        count: u16,
        /// How long the server may hold the poll; at most 5 s (R-POLL-2).
        #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
        wait: Duration,
    },
    /// Hand this slot's result to durable storage; answer with `Replied` once it is safe there. `Ok` frees the slot.
    Spill {
        /// The call.
        call: CallId,
        /// The slot.
        slot: SlotId,
    },
    /// Forget this slot: its outcome was not accepted and will not be sent again. The slot is free.
    Discard {
        /// The slot.
        slot: SlotId,
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
    /// The call that is made, to the server or to the store; `None`: none is.
    #[must_use]
    pub const fn call(&self) -> Option<CallId> {
        match self {
            Self::Refuse { call, .. }
            | Self::Refresh { call }
            | Self::Extend { call, .. }
            | Self::Update { call, .. }
            | Self::Poll { call, .. }
            | Self::Spill { call, .. } => Some(*call),
            Self::Run { .. }
            | Self::Ignore { .. }
            | Self::Recall { .. }
            | Self::Discard { .. }
            | Self::Wait { .. }
            | Self::Stopped => None,
        }
    }

    /// What it is called in logs and views, the same word as in a record: `run`, `refuse` and so on.
    ///
    /// ```
    /// use downbeat_core::machine::Action;
    /// assert_eq!(Action::Stopped.name(), "stopped");
    /// ```
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Refuse { .. } => "refuse",
            Self::Ignore { .. } => "ignore",
            Self::Recall { .. } => "recall",
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
    /// No free place for a task: all run, or the table is full of unreported results.
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
    /// Four tries failed, and the policy is the seed's, which gives up then.
    GaveUp,
}
