//! Everything random in a run: only integer arithmetic, so that a seed gives the same run on every machine.

/// SplitMix64: small, fast, and good enough to decide what goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Random(u64);

impl Random {
    /// Starts a stream. Streams of neighbouring seeds are unrelated.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Makes a stream for one concern of a run, so that a change in one does not move the others.
    #[must_use]
    pub const fn stream(seed: u64, concern: u64) -> Self {
        Self(mix(seed ^ mix(concern)))
    }

    /// Draws the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Draws a number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.bits()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// Draws a number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// Draws true in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u8) -> bool {
        percent >= 100 || self.below(100) < u64::from(percent)
    }

    /// Draws one of the items, by weight; the first if all weights are zero.
    pub fn weighted<T: Copy>(&mut self, items: &[(T, u32)]) -> Option<T> {
        let total: u64 = items.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut draw = self.below(total);
        for (item, weight) in items {
            if draw < u64::from(*weight) {
                return Some(*item);
            }
            draw -= u64::from(*weight);
        }
        items.first().map(|(item, _)| *item)
    }

    /// Draws an exponentially distributed number with this mean, at most 44 times as much.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        // -ln(u) for u in (0, 1]: 64 - log2 of 64 random bits, in 16 binary places, times ln 2.
        let log2 = log2_16(self.bits() | 1);
        let nats = (u128::from((64 << 16) - log2) * 45_426) >> 16;
        u64::try_from((u128::from(mean) * nats) >> 16).unwrap_or(u64::MAX)
    }
}

/// Mixes 64 bits (SplitMix's finaliser).
#[must_use]
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// log2 of a number above 0 with 16 binary places, by repeated squaring.
fn log2_16(value: u64) -> u64 {
    let whole = u64::from(63 - value.leading_zeros());
    let mut mantissa = u128::from(value) << (63 - whole);
    let mut log = whole;
    for _ in 0..16 {
        mantissa = (mantissa * mantissa) >> 63;
        log <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log |= 1;
        }
    }
    log
}
