//! How the user's code ends.

use std::time::Duration;

use downbeat_core::machine::Instead;

use crate::event::Report;

/// What the user's code will say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ending {
    pub(crate) report: Report,
    pub(crate) callback_after: Duration,
}

impl Ending {
    /// A task that is given back.
    pub(crate) const GIVE_BACK: Self = Self { report: Report::Yield, callback_after: Duration::from_secs(1) };

    /// What is said in the place of this outcome.
    pub(crate) const fn instead(self, why: Instead) -> Self {
        let report = if matches!(why, Instead::TooLarge) { Report::Terminal } else { Report::Failed };
        Self { report, ..self }
    }

    /// Whether it is a result.
    pub(crate) fn is_result(&self) -> bool {
        self.report != Report::Yield
    }
}
