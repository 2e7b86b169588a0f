//! Drawing a length of time from a spread.

use std::time::Duration;

use super::model::Spread;
use crate::random::Random;

impl Spread {
    /// Draws a length of time.
    pub(crate) fn draw(&self, random: &mut Random) -> Duration {
        let micros = |length: Duration| u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(match self {
            Self::Fixed { of } => micros(of.get()),
            Self::Uniform { min, max } => random.between(micros(min.get()), micros(max.get())),
            Self::Exponential { mean, max } => random.exponential(micros(mean.get())).min(micros(max.get())),
        })
    }
}
