//! What a runner has done so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::held_task::ReportKind;

/// What a runner did, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Tasks that were run.
    pub tasks: u64,
    /// Results that the server accepted: completed.
    pub completed: u64,
    /// Results that the server accepted: failed, to be retried.
    pub failed: u64,
    /// Results that the server accepted: failed for good.
    pub failed_terminally: u64,
    /// Results that the server accepted: in progress, to be called again.
    pub in_progress: u64,
    /// Tasks that were given back to the server: too many, or not done when the drain's time was over.
    pub given_back: u64,
    /// Reports that the server answered well after their leases had ended, by the runner's own clock: it drops what it has
    /// timed out, and does not say so. They are counted as nothing else.
    pub late: u64,
    /// Results that went to the store.
    pub stored: u64,
    /// Results that the server took from the store, earlier runs' included.
    pub resent: u64,
    /// Results that were given up: rejected by the server, or unreported at an abort without a store.
    pub given_up: u64,
    /// Results in whose place the server has accepted a report that the task failed: too large, rejected, or refused again
    /// and again. Those reports are counted as failed, or failed for good, too.
    pub replaced: u64,
    /// Leases that ended while their tasks were held, by the runner's own clock.
    pub lapsed: u64,
    /// Runs that went on for the server's retry of their task, after their lease had ended.
    pub adopted: u64,
    /// Runs and results that nobody waits for any more: the server has ended the task, or its lease is over and such runs
    /// are stopped.
    pub cancelled: u64,
    /// Elements of polls that could not even be reported.
    pub unreportable: u64,
    /// Events that found the channel full.
    pub events_dropped: u64,
}

/// What a runner did so far.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) tasks: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) failed_terminally: AtomicU64,
    pub(crate) in_progress: AtomicU64,
    pub(crate) given_back: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) resent: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) replaced: AtomicU64,
    pub(crate) lapsed: AtomicU64,
    pub(crate) adopted: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) unreportable: AtomicU64,
    pub(crate) events_dropped: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(crate) fn accepted(&self, kind: ReportKind) {
        count(match kind {
            ReportKind::Completed => &self.completed,
            ReportKind::Failed => &self.failed,
            ReportKind::Terminal => &self.failed_terminally,
            ReportKind::InProgress => &self.in_progress,
            ReportKind::GivenBack => &self.given_back,
        });
    }

    pub(crate) fn summary(&self) -> Summary {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            tasks: read(&self.tasks),
            completed: read(&self.completed),
            failed: read(&self.failed),
            failed_terminally: read(&self.failed_terminally),
            in_progress: read(&self.in_progress),
            given_back: read(&self.given_back),
            late: read(&self.late),
            stored: read(&self.stored),
            resent: read(&self.resent),
            given_up: read(&self.given_up),
            replaced: read(&self.replaced),
            lapsed: read(&self.lapsed),
            adopted: read(&self.adopted),
            cancelled: read(&self.cancelled),
            unreportable: read(&self.unreportable),
            events_dropped: read(&self.events_dropped),
        }
    }
}
