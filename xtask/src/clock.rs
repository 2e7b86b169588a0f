//! The only place of this tool that reads a clock or sleeps.

use std::time::{Duration, Instant};

/// Measures how long something took.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "CI steps are timed for people")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

/// Asks `probe` every `pause` until it has an answer, for at most `limit`.
pub(crate) fn wait_for<T>(
    limit: Duration,
    pause: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Option<T> {
    let watch = Stopwatch::start();
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if watch.elapsed() >= limit {
            return None;
        }
        rest(pause);
    }
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for, and gives no sign")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
