//! The one place of the binary that reads the clock.

use std::time::{Duration, Instant};

/// The time since the process began to count.
#[expect(clippy::disallowed_methods, reason = "running commands and showing progress are drivers' work")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What is left until `until`; zero once it has passed.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(now())
}

/// Waits, if there is nothing else to wait for: other processes tell nobody.
#[expect(
    clippy::disallowed_methods,
    reason = "orders are placed at a pace; other processes are looked at now and then"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
