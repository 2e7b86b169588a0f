//! The jitter's random numbers: small, seeded, the same on every machine.

use core::num::NonZero;

use super::time::{divide, divisor};

const HUNDRED: NonZero<u32> = divisor(100);

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, one multiplication chain per number.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `percent` of `whole`, both included; draws nothing for 0 percent.
    pub(crate) fn part(&mut self, whole: u64, percent: u8) -> u64 {
        if percent == 0 {
            return 0;
        }
        // Nothing here overflows while `percent` is at most 100.
        let (hundreds, rest) = divide(whole, HUNDRED);
        let rest = rest.wrapping_mul(u32::from(percent)) / HUNDRED;
        let room = hundreds.wrapping_mul(u64::from(percent)).wrapping_add(u64::from(rest));
        // The high half of a product of two halves: what 64 bits hold.
        let draw = u128::from(self.next()).wrapping_mul(u128::from(room.saturating_add(1))) >> 64;
        u64::try_from(draw).unwrap_or(u64::MAX)
    }
}
