//! The worker as one pure state machine.
mod action;
mod auth;
mod backoff;
mod choose;
mod entry;
mod gate;
mod hub;
mod ids;
mod input;
mod lease;
mod link;
pub mod mutant;
mod policy;
mod reply;
mod rng;
mod snapshot;
mod table;
mod time;
mod worker;

pub use action::{Action, Loss, Why};
pub use backoff::Backoff;
pub use entry::{Entry, Phase};
pub use hub::{Hub, HubAction, HubInput, HubPolicy, Member};
pub use ids::{CallId, SlotId, TaskKey};
pub use input::{Answer, CallError, Control, Fault, Input, Outcome, Reply, TaskMeta, TokenNews};
pub use policy::{LONG_POLL_MAX, Policy, PolicyError, Rules};
pub use snapshot::{HeldTask, Snapshot};
pub use time::{Clock, Instant};
pub use worker::{Machine, Mode, Worker};

/// The size that the issue and docs promise: a worker of eight fits a microcontroller's corner.
const _: () = assert!(size_of::<Worker<8>>() <= 2048);
const _: () = assert!(size_of::<Worker<4>>() <= 1024);
