//! How far a worker is towards its end, as the machine keeps it.

use super::input::Control;
use super::policy::Policy;
use super::time::Instant;

/// How far the worker is towards its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Lifecycle {
    /// Polls, runs, reports.
    Open,
    /// As open, without polls.
    Paused,
    /// Finishes what it holds; at this time the rest is recalled.
    Draining {
        /// `None`: never.
        recall_at: Option<Instant>,
    },
    /// Running tasks were asked to end; at this time the worker aborts.
    Recalling {
        /// When.
        abort_at: Instant,
    },
    /// Gives up what it holds, or hands it to the store.
    Aborted,
    /// The end.
    Stopped,
}

/// A [`Lifecycle`] with its time beside it: what is asked at every step is one byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(from = "Lifecycle", into = "Lifecycle"))]
pub(crate) struct LifecycleState {
    pub(crate) kind: LifecycleKind,
    /// When it ends by itself, by recall or abort, or `FAR_FUTURE` for never.
    pub(crate) ends: Instant,
}

/// As [`Lifecycle`], in its order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum LifecycleKind {
    Open,
    Paused,
    Draining,
    Recalling,
    Aborted,
    Stopped,
}

impl LifecycleState {
    pub(crate) const fn new(kind: LifecycleKind) -> Self {
        Self { kind, ends: Instant::FAR_FUTURE }
    }

    /// What a decision from outside makes of it: once draining, only an abort counts.
    pub(crate) fn told(self, control: Control, now: Instant, policy: &Policy) -> Self {
        match control {
            Control::Abort if self.kind < LifecycleKind::Aborted => Self::new(LifecycleKind::Aborted),
            _ if self.kind >= LifecycleKind::Draining => self,
            Control::Drain => {
                let ends = policy
                    .drain_timeout
                    .as_ref()
                    .map_or(Instant::FAR_FUTURE, |limit| now.saturating_add_ref(limit));
                Self { kind: LifecycleKind::Draining, ends }
            }
            Control::Pause => Self::new(LifecycleKind::Paused),
            Control::Resume => Self::new(LifecycleKind::Open),
            Control::Abort => self,
        }
    }
}

impl From<LifecycleState> for Lifecycle {
    fn from(lifecycle: LifecycleState) -> Self {
        let LifecycleState { kind, ends } = lifecycle;
        match kind {
            LifecycleKind::Open => Self::Open,
            LifecycleKind::Paused => Self::Paused,
            LifecycleKind::Draining => {
                Self::Draining { recall_at: Some(ends).filter(|at| *at < Instant::FAR_FUTURE) }
            }
            LifecycleKind::Recalling => Self::Recalling { abort_at: ends },
            LifecycleKind::Aborted => Self::Aborted,
            LifecycleKind::Stopped => Self::Stopped,
        }
    }
}

impl From<Lifecycle> for LifecycleState {
    fn from(lifecycle: Lifecycle) -> Self {
        match lifecycle {
            Lifecycle::Open => Self::new(LifecycleKind::Open),
            Lifecycle::Paused => Self::new(LifecycleKind::Paused),
            Lifecycle::Draining { recall_at } => {
                Self { kind: LifecycleKind::Draining, ends: recall_at.unwrap_or(Instant::FAR_FUTURE) }
            }
            Lifecycle::Recalling { abort_at } => Self { kind: LifecycleKind::Recalling, ends: abort_at },
            Lifecycle::Aborted => Self::new(LifecycleKind::Aborted),
            Lifecycle::Stopped => Self::new(LifecycleKind::Stopped),
        }
    }
}
