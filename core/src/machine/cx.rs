//! What the parts of a machine are given at a step: the time, the policy, and chance.

use core::marker::PhantomData;

use super::backoff::Backoff;
use super::kind::Kind;
use super::policy::Policy;
use super::rng::Rng;
use super::time::Instant;

/// The context of one step of a machine of kind `M`; `P` is its policy, or its hub's.
pub(crate) struct Cx<'a, M, P = Policy> {
    pub(crate) now: Instant,
    pub(crate) policy: &'a P,
    pub(crate) rng: &'a mut Rng,
    kind: PhantomData<M>,
}

impl<'a, M: Kind, P> Cx<'a, M, P> {
    pub(crate) const fn new(now: Instant, policy: &'a P, rng: &'a mut Rng) -> Self {
        Self { now, policy, rng, kind: PhantomData }
    }

    /// The end of a backoff's delay after so many failures in a row.
    pub(crate) fn after(&mut self, backoff: &Backoff, failures: u32) -> Instant {
        self.now.saturating_add_micros(backoff.delay::<M>(failures, self.rng))
    }
}

/// The context of a machine, or of a hub: it borrows the policy and the rng, and leaves the other fields.
macro_rules! cx {
    ($machine:ident) => {
        Cx::<M, _>::new($machine.now, &$machine.policy, &mut $machine.rng)
    };
}
pub(crate) use cx;
