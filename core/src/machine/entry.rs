//! One entry of the table: the state of one task, from its lease to the acceptance of its outcome.

use core::time::Duration;

use super::action::{Instead, Loss};
use super::flaw::Flaw;
use super::ids::{EntryId, TaskKey};
use super::input::Outcome;
use super::kind::Kind;
use super::time::{Instant, micros};

/// "No entry", as an index.
pub(crate) const NIL: u16 = u16::MAX;

/// One entry of a machine's table. Make a table of `[Entry::FREE; N]`, or of a slice or vector of them.
///
/// Size: 136 bytes. The links of the table's indexes live in the entries, so that a table needs no memory
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
    #[cfg_attr(
        feature = "record",
        serde(default = "SideCall::none", skip_serializing_if = "SideCall::is_none")
    )]
    pub(crate) ask: SideCall,
    /// Until when the task may be given back, or yield (R-TIMEOUT-3).
    pub(crate) give_back_until: Instant,
    /// The server has ended the task: its outcome is discarded.
    pub(crate) ended: bool,
    pub(crate) links: Links,
}

/// Where a machine keeps its entries: an array, a slice in a box, a vector, or whatever else is a slice of
/// them.
pub trait Storage: AsRef<[Entry]> + AsMut<[Entry]> {}

impl<S: AsRef<[Entry]> + AsMut<[Entry]>> Storage for S {}

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

/// The outcome and its way to the server. Meaningful only in `Phase::Reporting`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Report {
    /// Microseconds until a yielded task is delivered again, or `FINAL` if the task is over.
    pub(crate) callback_after: u64,
    /// When the call in flight was sent. While none is, when the next try is due. While the code runs, when
    /// its task is asked about.
    pub(crate) at: Instant,
    /// For a result, when it goes to the store if the server has not accepted it, or `FAR_FUTURE` for never.
    /// For a yield, when the first try was sent that may have had effect, or `FAR_FUTURE` for none.
    pub(crate) mark: Instant,
    pub(crate) serial: u32,
    pub(crate) attempt: u16,
    /// The token's generation that the call in flight was sent with.
    pub(crate) token: u16,
    pub(crate) in_flight: InFlight,
    /// A task came with the answer of the update in flight.
    pub(crate) brought: bool,
    /// It was run.
    pub(crate) ran: bool,
    /// How many tries in a row were answered with 401.
    #[cfg_attr(feature = "record", serde(rename = "refusals"))]
    pub(crate) unauthorized: u8,
    /// How many tries were answered by a refusal of this very outcome (500, 403) while the server was well otherwise.
    pub(crate) refused: u8,
    /// The next try says that the task failed, in the outcome's place.
    pub(crate) instead: Option<Instead>,
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
    /// Length in microseconds, or 0 if there is none to keep.
    pub(crate) length: u64,
    /// When this task's call in flight was sent; while none is, when the next is due.
    pub(crate) at: Instant,
    /// When the lease is over, by the latest extension that was accepted.
    pub(crate) ends: Instant,
    pub(crate) call: SideCall,
}

/// A call about a task beside its report: the extension of its lease, or the question whether it is still wanted. It may
/// outlive the task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct SideCall {
    pub(crate) serial: u32,
    /// The token's generation that it was sent with.
    pub(crate) token: u16,
    pub(crate) in_flight: Whose,
    /// The latest extension was answered with 401.
    #[cfg_attr(feature = "record", serde(rename = "refused"))]
    pub(crate) unauthorized: bool,
}

/// Whether a call is in flight, and for which task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub(crate) enum Whose {
    /// None is.
    Nobodys,
    /// For the task that is here.
    Own,
    /// For a task that was here before.
    Former,
}

impl SideCall {
    pub(crate) const NONE: Self =
        Self { serial: 0, token: 0, in_flight: Whose::Nobodys, unauthorized: false };

    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.in_flight, Whose::Nobodys)
    }

    /// The token's generation, if the call with this number is in flight.
    pub(crate) fn token_of(&self, serial: u32) -> Option<u16> {
        (!self.is_idle() && self.serial == serial).then_some(self.token)
    }

    /// Another task has come.
    pub(crate) const fn outlive(&mut self) {
        if !self.is_idle() {
            self.in_flight = Whose::Former;
        }
    }
}

/// Which heap of deadlines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heap {
    /// When a lease is extended next.
    Lease = 0,
    /// When an outcome is reported next.
    Report = 1,
    /// When something becomes of a task without the server ([`Entry::limit`]).
    Limit = 2,
    /// When the server is asked about a running task next.
    Ask = 3,
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
    pub(crate) stands: [u16; 4],
    /// For each heap: the position at which this entry stands.
    pub(crate) position: [u16; 4],
}

impl Entry {
    /// An entry without a task.
    pub const FREE: Self = Self {
        key: TaskKey::from_u128(0),
        generation: 0,
        phase: Phase::Free,
        report: Report::NONE,
        lease: Lease::NONE,
        ask: SideCall::NONE,
        give_back_until: Instant::FAR_FUTURE,
        ended: false,
        links: Links { next: NIL, bucket: NIL, chain: NIL, stands: [NIL; 4], position: [NIL; 4] },
    };

    pub(crate) const fn id(&self, index: u16) -> EntryId {
        EntryId::new(index, self.generation)
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Recalled)
    }

    /// The question about the task, or the extension of its lease.
    pub(crate) const fn side_call(&mut self, asks: bool) -> &mut SideCall {
        if asks { &mut self.ask } else { &mut self.lease.call }
    }

    /// Another task has come: what is in flight says nothing of it.
    pub(crate) const fn outlive_calls(&mut self) {
        self.lease.call.outlive();
        self.ask.outlive();
    }

    /// Whether the entry's task is held under its key: not given up, and not delivered again.
    pub(crate) const fn is_kept(&self) -> bool {
        self.is_running() || matches!(self.phase, Phase::Reporting) && !self.report.settled
    }

    /// Whether an obligation of this kind is to be met when it is due; until then nothing is in flight for it.
    pub(crate) fn owes(&self, what: Heap) -> bool {
        match what {
            Heap::Lease => self.is_kept() && self.lease.length > 0 && self.lease.call.is_idle(),
            Heap::Report => self.owes_report(),
            Heap::Limit => true,
            Heap::Ask => self.is_running() && !self.ended && self.ask.is_idle(),
        }
    }

    pub(crate) fn owes_report(&self) -> bool {
        self.phase == Phase::Reporting
            && self.report.in_flight == InFlight::Nothing
            && !self.report.spill_next
    }

    /// When an obligation of this kind is due, if it is owed.
    pub(crate) fn due<M: Kind>(&self, what: Heap) -> Instant {
        match what {
            Heap::Lease => self.lease.at.max(self.alone_until::<M>(self.is_reporting(), self.report.at)),
            Heap::Report => {
                let extends = self.lease.call.in_flight == Whose::Own;
                self.report.at.max(self.alone_until::<M>(extends, self.lease.at))
            }
            Heap::Ask => self.report.at,
            Heap::Limit => self.limit(),
        }
    }

    /// Until when the call that was sent then is the only one that writes to the task, if it is in flight: until nine tenths
    /// of the lease are over, and for a tenth of it at least (S29, R-LEASE-5).
    fn alone_until<M: Kind>(&self, in_flight: bool, sent: Instant) -> Instant {
        if !in_flight || M::Flaw::WRITES_TOGETHER {
            return Instant::ZERO;
        }
        let tenth = self.lease.length / 10;
        let last = Instant::from_micros(self.lease.ends.as_micros().saturating_sub(tenth));
        sent.saturating_add_micros(tenth).max(last)
    }

    /// Whether a report of the outcome is on its way to the server.
    fn is_reporting(&self) -> bool {
        matches!(self.report.in_flight, InFlight::Update | InFlight::UpdateAndTakeNext)
    }

    /// When the lease is over. It is `FAR_FUTURE` if there is none, or if an extension in flight may have
    /// been accepted in time, which its reply tells.
    pub(crate) fn lapse(&self) -> Instant {
        let known = self.lease.length > 0 && self.lease.call.in_flight != Whose::Own;
        if known { self.lease.ends } else { Instant::FAR_FUTURE }
    }

    /// When something becomes of the task without the server: its lease is over, or its result goes to the store.
    pub(crate) fn limit(&self) -> Instant {
        let lapse = self.lapse();
        let store = if self.report.is_final() { self.report.mark } else { Instant::FAR_FUTURE };
        match self.phase {
            Phase::Free | Phase::Spent(_) => Instant::FAR_FUTURE,
            // It is to be recalled, which cannot wait.
            Phase::Running if self.ended => Instant::ZERO,
            Phase::Reporting if self.owes_report() => lapse.min(store),
            Phase::Running | Phase::Recalled | Phase::Reporting => lapse,
        }
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self::FREE
    }
}

/// The callback of an outcome that is final.
pub(crate) const FINAL: u64 = u64::MAX;

impl Report {
    /// A fresh report of an outcome.
    pub(crate) fn new(outcome: Outcome, at: Instant) -> Self {
        let callback_after = match outcome {
            Outcome::Final => FINAL,
            Outcome::Yield { callback_after } => micros(callback_after).min(FINAL.saturating_sub(1)),
        };
        Self { callback_after, at, ..Self::NONE }
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
        at: Instant::ZERO,
        mark: Instant::FAR_FUTURE,
        serial: 0,
        attempt: 0,
        token: 0,
        in_flight: InFlight::Nothing,
        brought: false,
        ran: false,
        unauthorized: 0,
        refused: 0,
        instead: None,
        spill_next: false,
        settled: false,
    };
}

impl Lease {
    pub(crate) const NONE: Self =
        Self { length: 0, at: Instant::ZERO, ends: Instant::FAR_FUTURE, call: SideCall::NONE };
}

/// A record leaves out the parts of an entry that say nothing.
#[cfg(feature = "record")]
mod nothing {
    use super::{Lease, Report, SideCall};

    impl Report {
        pub(super) fn none() -> Self {
            Self::NONE
        }

        pub(super) fn is_none(&self) -> bool {
            *self == Self::NONE
        }
    }

    impl SideCall {
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
