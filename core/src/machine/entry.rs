//! One place of the table: the state of one task, from its lease to the acceptance of its outcome.

use core::time::Duration;

use super::action::Loss;
use super::ids::{SlotId, TaskKey};
use super::input::Outcome;
use super::time::{Instant, micros};

/// "No entry", as an index.
pub(crate) const NIL: u16 = u16::MAX;

/// One place of a machine's table. Make a table of `[Entry::FREE; N]`, or of a slice or vector of them.
///
/// Size: at most 120 bytes. The links of the table's indexes live in the entries, so that a table needs no memory
/// beside them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    pub(crate) key: TaskKey,
    pub(crate) generation: u16,
    pub(crate) phase: Phase,
    #[cfg_attr(feature = "record", serde(default = "Report::none", skip_serializing_if = "Report::is_none"))]
    pub(crate) report: Report,
    #[cfg_attr(feature = "record", serde(default = "Lease::none", skip_serializing_if = "Lease::is_none"))]
    pub(crate) lease: Lease,
    pub(crate) links: Links,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Phase {
    /// No task.
    Free,
    /// The user's code runs.
    Running,
    /// The user's code runs and has been asked to end.
    Recalled,
    /// The code has ended; its outcome is not accepted yet.
    Reporting,
    /// The outcome is given up and about to be discarded.
    Spent(Loss),
}

/// The outcome and its way to the server. Meaningful in `Phase::Reporting` alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Report {
    /// Microseconds until a yielded task is delivered again; `FINAL`: the task is over.
    pub(crate) callback_after: u64,
    /// When the next try is due; only while no call is in flight.
    pub(crate) due: Instant,
    /// When the call in flight was sent.
    pub(crate) sent: Instant,
    /// When the first try was sent of which nobody knows whether it had effect; `FAR_FUTURE`: none.
    pub(crate) unsure_since: Instant,
    pub(crate) serial: u32,
    pub(crate) attempt: u16,
    /// The token's generation that the call in flight was sent with.
    pub(crate) token: u16,
    pub(crate) in_flight: InFlight,
    /// A task came with the answer of the update in flight.
    pub(crate) brought: bool,
    /// It was run.
    pub(crate) ran: bool,
    /// How many tries in a row were answered with 401 or 403.
    pub(crate) refusals: u8,
    /// The next try goes to the store.
    pub(crate) spill_next: bool,
    /// The server delivered this task again, which proves that its yield was accepted: the reply frees the entry.
    pub(crate) settled: bool,
}

/// What is in flight for an outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub(crate) enum InFlight {
    Nothing,
    Update,
    UpdateAndTakeNext,
    Spill,
}

/// The lease of the task, and the call that extends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Lease {
    /// Length in microseconds; 0: there is none to keep.
    pub(crate) length: u64,
    /// When the next extension is due; only while no call is in flight.
    pub(crate) due: Instant,
    /// When the call in flight was sent.
    pub(crate) sent: Instant,
    pub(crate) serial: u32,
    pub(crate) token: u16,
    pub(crate) in_flight: Extension,
    /// The latest try was answered with 401 or 403.
    pub(crate) refused: bool,
}

/// Whether an extension is in flight. It may outlive its task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub(crate) enum Extension {
    None,
    /// For the task that is here.
    Own,
    /// For a task that was here before.
    Former,
}

/// Links of the table's indexes; each is an entry's index, a heap position, or `NIL`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Links {
    /// The next entry of the list that this one is in: free, spent, or to be spilled.
    pub(crate) next: u16,
    /// First entry of the hash bucket with this entry's index.
    pub(crate) bucket: u16,
    /// The next entry of the bucket that this entry's key is in.
    pub(crate) chain: u16,
    /// For each heap: the entry that stands at the position with this entry's index.
    pub(crate) stands: [u16; 2],
    /// For each heap: the position at which this entry stands.
    pub(crate) position: [u16; 2],
}

impl Entry {
    /// A place without a task.
    pub const FREE: Self = Self {
        key: TaskKey::from_u128(0),
        generation: 0,
        phase: Phase::Free,
        report: Report::NONE,
        lease: Lease::NONE,
        links: Links { next: NIL, bucket: NIL, chain: NIL, stands: [NIL; 2], position: [NIL; 2] },
    };

    pub(crate) const fn slot(&self, index: u16) -> SlotId {
        SlotId::new(index, self.generation)
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Recalled)
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self::FREE
    }
}

/// The callback of an outcome that is final.
const FINAL: u64 = u64::MAX;

impl Report {
    /// A fresh report of an outcome.
    pub(crate) fn of(outcome: Outcome, due: Instant) -> Self {
        let callback_after = match outcome {
            Outcome::Final => FINAL,
            Outcome::Yield { callback_after } => micros(callback_after).min(FINAL.saturating_sub(1)),
        };
        Self { callback_after, due, ..Self::NONE }
    }

    pub(crate) const fn is_final(&self) -> bool {
        self.callback_after == FINAL
    }

    pub(crate) const fn outcome(&self) -> Outcome {
        if self.is_final() {
            Outcome::Final
        } else {
            Outcome::Yield { callback_after: Duration::from_micros(self.callback_after) }
        }
    }

    pub(crate) const NONE: Self = Self {
        callback_after: FINAL,
        due: Instant::ZERO,
        sent: Instant::ZERO,
        unsure_since: Instant::FAR_FUTURE,
        serial: 0,
        attempt: 0,
        token: 0,
        in_flight: InFlight::Nothing,
        brought: false,
        ran: false,
        refusals: 0,
        spill_next: false,
        settled: false,
    };
}

impl Lease {
    pub(crate) const NONE: Self = Self {
        length: 0,
        due: Instant::ZERO,
        sent: Instant::ZERO,
        serial: 0,
        token: 0,
        in_flight: Extension::None,
        refused: false,
    };
}

/// A record leaves out the parts of an entry that say nothing.
#[cfg(feature = "record")]
mod nothing {
    use super::{Lease, Report};

    impl Report {
        pub(super) fn none() -> Self {
            Self::NONE
        }

        pub(super) fn is_none(&self) -> bool {
            *self == Self::NONE
        }
    }

    impl Lease {
        pub(super) fn none() -> Self {
            Self::NONE
        }

        pub(super) fn is_none(&self) -> bool {
            *self == Self::NONE
        }
    }
}
