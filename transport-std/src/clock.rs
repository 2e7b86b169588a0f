//! The one clock of the runner.

use downbeat_core::machine::{Clock, Instant};

/// Monotonic time since it was made. Clones share their start, so that they agree.
#[derive(Clone, Copy, Debug)]
pub struct StdClock {
    start: std::time::Instant,
}

impl StdClock {
    /// Starts a clock at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the runner is a driver: this is its clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for StdClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for StdClock {
    fn now(&self) -> Instant {
        Instant::ZERO.saturating_add(self.start.elapsed())
    }
}

/// Milliseconds since 1970, for people and for the server's records; nothing is decided on it.
#[expect(clippy::disallowed_methods, reason = "times of log lines and events are wall-clock times")]
pub(crate) fn unix_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
