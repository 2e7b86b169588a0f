//! How long to wait after the n-th failure in a row. Integer arithmetic only.

use core::time::Duration;

use super::flaw::Flaw;
use super::kind::Kind;
use super::rng::Rng;
use super::time::micros;

/// An exponential delay: `min(base · 2^(n-1), cap)`, then shortened by up to `jitter` percent.
///
/// Jitter comes after the cap and only shortens, so the cap holds whatever the draw (backon, which lengthens after
/// the cap, gives up to twice its maximum).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Backoff {
    /// The delay after the first failure; above zero.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub base: Duration,
    /// The longest delay; at least `base`.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub cap: Duration,
    /// The largest part, in percent, by which a delay is shortened; 0 to 50.
    pub jitter: u8,
}

impl Backoff {
    /// Returns the longest delay after `failures` failures in a row, before jitter. Zero after none.
    ///
    /// ```
    /// use core::time::Duration;
    /// use downbeat_core::machine::Backoff;
    /// let auth = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(60), jitter: 0 };
    /// let secs: Vec<u64> = (0..8).map(|n| auth.ceiling(n).as_secs()).collect();
    /// assert_eq!(secs, [0, 2, 4, 8, 16, 32, 60, 60]);
    /// assert_eq!(auth.ceiling(u32::MAX).as_secs(), 60);
    /// ```
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        Duration::from_micros(self.limit(failures))
    }

    pub(crate) fn is_sound(&self) -> bool {
        micros(self.base) > 0 && self.base <= self.cap && self.jitter <= 50
    }

    /// The delay after so many failures in a row, in microseconds.
    pub(crate) fn delay<M: Kind>(&self, failures: u32, rng: &mut Rng) -> u64 {
        if M::Flaw::CAP_BEFORE_JITTER {
            let raw = self.limit(failures);
            return raw.saturating_add(rng.part(raw, self.jitter.max(50)));
        }
        if M::Flaw::EXPONENT_UNCLAMPED {
            let shift = failures.saturating_sub(1);
            return micros(self.base).checked_shl(shift).unwrap_or(0).min(micros(self.cap));
        }
        shorten(self.limit(failures), self.jitter, rng)
    }

    /// [`Backoff::ceiling`] in microseconds.
    fn limit(&self, failures: u32) -> u64 {
        double(micros(self.base), failures).min(micros(self.cap))
    }
}

/// A delay in microseconds, shortened by a random part of up to `percent`.
pub(crate) fn shorten(delay: u64, percent: u8, rng: &mut Rng) -> u64 {
    delay.saturating_sub(rng.part(delay, percent))
}

/// A delay in microseconds, lengthened by a random part of up to `percent`.
pub(crate) fn lengthen(delay: u64, percent: u8, rng: &mut Rng) -> u64 {
    delay.saturating_add(rng.part(delay, percent))
}

/// `base · 2^(n-1)`, saturating; 0 for n = 0.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn double(base: u64, n: u32) -> u64 {
    let Some(shift) = n.checked_sub(1) else { return 0 };
    if shift > base.leading_zeros() { u64::MAX } else { base.checked_shl(shift).unwrap_or(u64::MAX) }
}
