//! Time as the machine sees it: a number that a driver hands in.

use core::num::NonZero;
use core::time::Duration;

/// A point in time: whole microseconds since an arbitrary start, chosen by the driver.
///
/// Range: 0 to `u64::MAX` (584,000 years). All arithmetic saturates at both ends; nothing wraps or panics.
///
/// ```
/// use core::time::Duration;
/// use downbeat_core::machine::Instant;
/// let start = Instant::from_millis(5);
/// assert_eq!(start.saturating_add(Duration::from_millis(2)).as_millis(), 7);
/// assert_eq!(Instant::ZERO.saturating_duration_since(start), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The start of the driver's time.
    pub const ZERO: Self = Self(0);
    /// The end of time; a deadline there never comes.
    pub const FAR_FUTURE: Self = Self(u64::MAX);
    /// The last instant at which anything is due.
    pub(crate) const LAST: Self = Self(u64::MAX - 1);

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

    /// Returns the whole milliseconds since the start, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns the instant `delay` later; saturates at [`Instant::FAR_FUTURE`].
    #[must_use]
    pub const fn saturating_add(self, delay: Duration) -> Self {
        self.saturating_add_micros(micros(delay))
    }

    /// Returns the instant `delay` earlier; saturates at [`Instant::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, delay: Duration) -> Self {
        Self(self.0.saturating_sub(micros(delay)))
    }

    /// Returns how long it is from `earlier` to this instant; zero if `earlier` is the later one.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// How long it is from this instant to `later`, and no longer than `most`, which is below 71 minutes.
    pub(crate) fn until_within(self, later: Self, most: Duration) -> Duration {
        brief(later.0.saturating_sub(self.0).min(micros(most)))
    }

    /// The instant so many microseconds later; saturates at [`Instant::FAR_FUTURE`].
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) const fn saturating_add_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// As [`Instant::saturating_add`], of a delay that lies in memory: on a small machine the call is shorter.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) const fn saturating_add_ref(self, delay: &Duration) -> Self {
        self.saturating_add_micros(micros(*delay))
    }
}

/// Where a driver gets `now` from. The machine never holds one.
///
/// An implementation must be monotonic (never earlier than an answer it gave before), must not overflow within
/// the device's life, and must not fail. Source: the contract of `embassy-time-driver`.
pub trait Clock {
    /// Returns the time now.
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

/// A duration of so many microseconds; saturates at `u32::MAX` of them (71 minutes).
pub(crate) fn brief(micros: u64) -> Duration {
    let micros = u32::try_from(micros).unwrap_or(u32::MAX);
    Duration::from_micros(u64::from(micros))
}

/// A divisor; 1 for 0.
pub(crate) const fn divisor(by: u32) -> NonZero<u32> {
    match NonZero::new(by) {
        Some(by) => by,
        None => NonZero::<u32>::MIN,
    }
}

/// Quotient and remainder, digit by digit: a small machine has no division of 64 bits, and the general one of its
/// library is large. `by` is at most 2^24.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn divide(value: u64, by: NonZero<u32>) -> (u64, u32) {
    let (mut quotient, mut rest) = (0_u64, 0_u32);
    for digit in value.to_be_bytes() {
        rest = rest << 8 | u32::from(digit);
        quotient = quotient << 8 | u64::from(rest / by);
        rest %= by;
    }
    (quotient, rest)
}

#[cfg(test)]
mod tests {
    use super::{divide, divisor};

    #[test]
    fn division_by_digits_is_division() {
        let by = [1, 2, 5, 100, 999, 1_000_000, 1 << 24];
        let values = [0, 1, 4, 5, 99, 100, 4_294_967_295, 4_294_967_296, 1 << 63, u64::MAX - 1, u64::MAX];
        for (by, value) in by.into_iter().flat_map(|by| values.map(|value| (by, value))) {
            let wide = u64::from(by);
            let expected = (value / wide, u32::try_from(value % wide).unwrap());
            assert_eq!(divide(value, divisor(by)), expected, "{value} / {by}");
        }
    }
}
