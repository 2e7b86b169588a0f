//! Chance from a seed: SplitMix64 (Steele, Lea, Flood 2014).

/// The same numbers for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u32) -> Self {
        Self(seed as u64)
    }

    /// A number from `low` to `high`, both included; `low` where `high` is below it.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_within_their_bounds_both_of_which_come_and_the_seed_says_which() {
        let mut random = Random::new(1);
        let numbers: Vec<u64> = (0..100).map(|_| random.between(2, 4)).collect();
        assert_eq!(
            (numbers.iter().min(), numbers.iter().max()),
            (Some(&2), Some(&4)),
            "a hundred of three numbers"
        );
        let mut same = Random::new(1);
        assert!(numbers.iter().all(|number| same.between(2, 4) == *number));
    }
}
