//! The hub of a runner: the machines of all its workers, with memory of any size.

use downbeat_core::machine::{Entry, Hub, Machine, Member};

/// The hub's memory: boxed, so that any number of workers and entries will do.
pub(crate) type BoxedMachine = Machine<Box<[Entry]>>;
/// A worker in the hub.
pub(crate) type BoxedMember = Member<Box<[Entry]>>;
/// The hub of a runner.
pub(crate) type BoxedHub = Hub<Box<[BoxedMember]>, Box<[Entry]>>;
