//! Time as the machine sees it: a number that a driver hands in.

use core::time::Duration;

/// A point in time: whole microseconds since an arbitrary start, chosen by the driver.
///
/// Range: 0 to `u64::MAX` (584,000 years). All arithmetic saturates at both ends; nothing wraps or panics.
///
/// ```
/// use core::time::Duration;
/// use downbeat_core::machine::Instant;
/// let start = Instant::from_millis(5);
/// assert_eq!(start.after(Duration::from_millis(2)).as_millis(), 7);
/// assert_eq!(start.until(Instant::ZERO), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The start of the driver's time.
    pub const ZERO: Self = Self(0);
    /// The end of time; a deadline there never comes.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// Makes an instant of microseconds since the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Makes an instant of milliseconds since the start; saturates at [`Instant::FAR_FUTURE`].
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Makes an instant of seconds since the start; saturates at [`Instant::FAR_FUTURE`].
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// The instant `delay` later; saturates at [`Instant::FAR_FUTURE`].
    #[must_use]
    pub const fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(micros(delay)))
    }

    /// The instant `delay` earlier; saturates at [`Instant::ZERO`].
    #[must_use]
    pub const fn before(self, delay: Duration) -> Self {
        Self(self.0.saturating_sub(micros(delay)))
    }

    /// How long it is from this instant to `later`; zero if `later` has passed.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }
}

/// Where a driver gets `now` from. The machine never holds one.
///
/// An implementation must be monotonic (never earlier than an answer it gave before), must not overflow within
/// the device's life, and must not fail. Source: the contract of `embassy-time-driver`.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Instant;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Instant {
        (**self).now()
    }
}

/// Microseconds in a duration; saturates at `u64::MAX`.
///
/// A function of its own on small machines, which have no 64-bit multiplication: it is used everywhere.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) const fn micros(delay: Duration) -> u64 {
    const SECS_MAX: u64 = u64::MAX / 1_000_000;
    let secs = delay.as_secs();
    if secs > SECS_MAX {
        return u64::MAX;
    }
    secs.wrapping_mul(1_000_000).saturating_add(delay.subsec_micros() as u64)
}
