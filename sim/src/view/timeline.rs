//! A run as spans, marks and arrows on rows: what Perfetto and the page draw.

mod build;

use downbeat_core::machine::{Instant, TaskKey};

/// Whose row it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Process {
    Server,
    Faults,
    Worker(u32),
}

/// Which of a process's rows.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum RowKind {
    /// The process itself (its life, its pauses), and one of the faults by number.
    Own(u32),
    /// An entry of the table: runs and reports.
    Entry(u16),
    /// The lease of the task in that entry, and its extensions.
    Lease(u16),
    /// Polls, and the windows in which none is sent.
    Poll,
    /// Token refreshes.
    Auth,
    /// Tasks that were given too much, on their way back.
    Return,
}

/// A row.
pub(super) type Row = (Process, RowKind);

/// What a span is of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Run,
    Report,
    /// Between a failed report and the next.
    Retry,
    Store,
    Lease,
    Extend,
    Poll,
    EmptyPoll,
    GiveBack,
    Refresh,
    Backoff,
    Up,
    Paused,
    Fault,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Report => "update",
            Self::Retry => "waits to retry",
            Self::Store => "store",
            Self::Lease => "lease",
            Self::Extend => "extend",
            Self::Poll => "poll",
            Self::EmptyPoll => "empty poll",
            Self::GiveBack => "give back",
            Self::Refresh => "refresh token",
            Self::Backoff => "backoff",
            Self::Up => "up",
            Self::Paused => "paused",
            Self::Fault => "fault",
        }
    }
}

/// Something that lasted.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) row: Row,
    pub(super) kind: Kind,
    pub(super) from: Instant,
    /// `None`: not before the record ends.
    pub(super) until: Option<Instant>,
    /// It ended as it should not.
    pub(super) failed: bool,
    pub(super) task: Option<TaskKey>,
    /// How it began and how it ended, in words.
    pub(super) note: String,
}

/// Something that happened at one moment.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) row: Row,
    pub(super) at: Instant,
    pub(super) what: String,
    /// It belongs among what a person looks for first.
    pub(super) loud: bool,
}

/// From what went wrong to what makes it good: a failed attempt to its retry, a lapse to the second run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrow {
    pub(super) from: (Instant, Row),
    pub(super) to: (Instant, Row),
    pub(super) kind: Way,
}

/// What an arrow leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// From a failed report to the next.
    Retry,
    /// From a lapse to the run that it costs.
    SecondRun,
    /// From a yield, or a failure that the task reported, to the next run.
    NextRun,
}

/// The order in which things happened, by their numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    Begin(usize),
    End(usize),
    Mark(usize),
    Arrow(usize),
    Count { process: Process, at: Instant, name: &'static str, value: u64 },
}

/// A whole run.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) spans: Vec<Span>,
    pub(super) marks: Vec<Mark>,
    pub(super) arrows: Vec<Arrow>,
    pub(super) order: Vec<Happening>,
    /// When no fault was left, or `None` if there was none or the record does not say.
    pub(super) healed: Option<Instant>,
    pub(super) end: Instant,
    /// Calls that were sent, and those that failed: when.
    pub(super) calls: Vec<(Instant, bool)>,
}
