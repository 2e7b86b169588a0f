//! Kinds of machines: what one has, and what it lacks.
//!
//! A kind is a type parameter of the machine, so that what it lacks is left out when the code is compiled.

use super::flaw::{Flaw, Flawless};

pub(crate) mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can name it is what seals the trait")]
    pub trait Sealed {}
}

/// What a machine has. Sealed: production code can name only [`Sound`] and [`Lean`](super::Lean).
pub trait Kind: sealed::Sealed + Clone + PartialEq + core::fmt::Debug {
    /// The mistake that it makes: [`Flawless`], but for the machines that the simulator's oracles must catch.
    type Flaw: Flaw;

    /// The Ruby SDK's rules are there. What [`Lean`](super::Lean) leaves out, a policy cannot ask for.
    const RUBY: bool = true;
    /// The machine can work under a hub.
    const HUB: bool = true;
    /// There may be a store.
    const STORE: bool = true;
    /// The table is indexed. Without indexes it is looked through, which suits a few entries.
    const INDEXED: bool = true;
}

/// The whole machine, as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Sound {}

impl sealed::Sealed for Sound {}

impl Kind for Sound {
    type Flaw = Flawless;
}
