//! How rough a scenario is.

use clap::ValueEnum;

/// How rough a generated scenario is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Profile {
    /// No faults: what must work without them.
    Calm,
    /// A few faults of a few kinds.
    #[default]
    Stormy,
    /// Many faults of all kinds at once.
    Radioactive,
    /// Processes with many workers of many queues behind one hub, as `downbeat run` is one; from no faults to many. A
    /// swarm without a profile draws none of these, so that its seeds mean what they always have.
    Processes,
}

impl Profile {
    /// Returns its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Stormy => "stormy",
            Self::Radioactive => "radioactive",
            Self::Processes => "processes",
        }
    }

    /// How many faults there are, at the least and at the most.
    pub(super) const fn faults(self) -> (u64, u64) {
        match self {
            Self::Calm => (0, 0),
            Self::Stormy => (1, 8),
            Self::Processes | Self::Radioactive => (10, 40),
        }
    }
}
