//! A clock that stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use downbeat_core::machine::{Clock, Instant};

/// A clock that a test drives by hand. Clones show the same time, from any thread.
///
/// It is monotone whatever the test does, as [`Clock`] demands: it is never set back.
///
/// ```
/// use std::time::Duration;
/// use downbeat_core::machine::{Clock, Instant};
/// use downbeat_mock::ManualClock;
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_millis(5));
/// clock.set(Instant::from_millis(3)); // has passed: changes nothing
/// assert_eq!(clock.now(), Instant::from_millis(5));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Makes a clock that shows [`Instant::ZERO`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a clock that shows this time.
    #[must_use]
    pub fn starting_at(start: Instant) -> Self {
        Self(Arc::new(AtomicU64::new(start.as_micros())))
    }

    /// Moves the clock to this time, unless that has passed, and answers the time that it shows now.
    pub fn set(&self, to: Instant) -> Instant {
        let before = self.0.fetch_max(to.as_micros(), Ordering::SeqCst);
        Instant::from_micros(before).max(to)
    }

    /// Moves the clock forward, saturating at [`Instant::FAR_FUTURE`], and answers the time that it shows now.
    pub fn advance(&self, by: Duration) -> Instant {
        let forward = |now| Some(Instant::from_micros(now).saturating_add(by).as_micros());
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, forward);
        Instant::from_micros(before.unwrap_or_else(|now| now)).saturating_add(by)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_micros(self.0.load(Ordering::SeqCst))
    }
}
