//! How far a worker is towards its end, as the machine keeps it.

use super::input::Control;
use super::policy::Policy;
use super::time::Instant;
use super::worker::Mode;

/// A [`Mode`] with its time beside it: what is asked at every step is one byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(from = "Mode", into = "Mode"))]
pub(crate) struct Course {
    pub(crate) stage: Stage,
    /// When the stage ends by itself: recall or abort; `FAR_FUTURE`: never.
    pub(crate) ends: Instant,
}

/// As [`Mode`], in its order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    Open,
    Paused,
    Draining,
    Recalling,
    Aborted,
    Stopped,
}

impl Course {
    pub(crate) const fn of(stage: Stage) -> Self {
        Self { stage, ends: Instant::FAR_FUTURE }
    }

    /// What a decision from outside makes of it: once draining, only an abort counts.
    pub(crate) fn told(self, control: Control, now: Instant, policy: &Policy) -> Self {
        match control {
            Control::Abort if self.stage < Stage::Aborted => Self::of(Stage::Aborted),
            _ if self.stage >= Stage::Draining => self,
            Control::Drain => {
                let ends =
                    policy.drain_timeout.as_ref().map_or(Instant::FAR_FUTURE, |limit| now.later(limit));
                Self { stage: Stage::Draining, ends }
            }
            Control::Pause => Self::of(Stage::Paused),
            Control::Resume => Self::of(Stage::Open),
            Control::Abort => self,
        }
    }
}

impl From<Course> for Mode {
    fn from(course: Course) -> Self {
        let Course { stage, ends } = course;
        match stage {
            Stage::Open => Self::Open,
            Stage::Paused => Self::Paused,
            Stage::Draining => {
                Self::Draining { recall_at: Some(ends).filter(|at| *at < Instant::FAR_FUTURE) }
            }
            Stage::Recalling => Self::Recalling { abort_at: ends },
            Stage::Aborted => Self::Aborted,
            Stage::Stopped => Self::Stopped,
        }
    }
}

impl From<Mode> for Course {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Open => Self::of(Stage::Open),
            Mode::Paused => Self::of(Stage::Paused),
            Mode::Draining { recall_at } => {
                Self { stage: Stage::Draining, ends: recall_at.unwrap_or(Instant::FAR_FUTURE) }
            }
            Mode::Recalling { abort_at } => Self { stage: Stage::Recalling, ends: abort_at },
            Mode::Aborted => Self::of(Stage::Aborted),
            Mode::Stopped => Self::of(Stage::Stopped),
        }
    }
}
