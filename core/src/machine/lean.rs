//! The machine for one lane and a small table: what such a driver never asks for is not in it.

use super::entry::Entry;
use super::flaw::Flawless;
use super::kind::{Kind, sealed};
use super::policy::{Policy, PolicyError};
use super::worker::Machine;

/// A worker as [`Worker`](super::Worker) is, in half of the code: for a driver of one lane without a store and a hub.
///
/// It has neither the Ruby SDK's rules nor a store (a policy that asks for them is an error), and cannot join
/// a hub (that does not compile). It looks through its table instead of keeping indexes: a step costs O(N),
/// so `N` should be some dozens at the most. For a policy that both take, both answer the same inputs by the
/// same actions.
///
/// ```
/// use downbeat_core::machine::{LeanWorker, Policy};
/// assert!(LeanWorker::<2>::new(Policy::default(), 4711).is_ok());
/// let error = LeanWorker::<2>::new(Policy::ruby_sdk(), 4711).unwrap_err();
/// assert_eq!(error.to_string(), "policy field `rules` is out of bounds: it takes Downbeat's, in a lean machine");
/// ```
pub type LeanWorker<const N: usize> = Machine<[Entry; N], Lean>;

/// The kind of machine that [`LeanWorker`] is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Lean {}

impl sealed::Sealed for Lean {}

impl Kind for Lean {
    type Flaw = Flawless;
    const RUBY: bool = false;
    const HUB: bool = false;
    const STORE: bool = false;
    const INDEXED: bool = false;
}

impl<const N: usize> Machine<[Entry; N], Lean> {
    /// Makes a lean worker; as the other [`Machine::new`].
    ///
    /// # Errors
    /// Names the policy's field that is out of bounds, or that asks for what a lean machine does not have.
    pub fn new(policy: Policy, seed: u64) -> Result<Self, PolicyError> {
        Self::from_entries([Entry::FREE; N], policy, seed)
    }
}
