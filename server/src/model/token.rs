//! The tokens that are good (R-TOKEN-1).

use std::collections::VecDeque;
use std::time::Duration;

use downbeat_core::machine::Instant;

/// When each of the latest tokens ends. They are numbered as they are issued, and all live equally long, so
/// that they also end in that order. To find one costs the same in a large fleet as in a small one.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    pub(super) life: Option<Duration>,
    pub(super) ends: VecDeque<Instant>,
    /// The number of the first of them; those before are not good any more.
    pub(super) first: u64,
}

impl Tokens {
    pub(super) const fn new(life: Option<Duration>) -> Self {
        Self { life, ends: VecDeque::new(), first: 1 }
    }
}
