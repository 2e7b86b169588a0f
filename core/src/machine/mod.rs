//! The worker as one pure state machine.
mod action;
mod backoff;
mod ids;
mod input;
pub mod mutant;
mod policy;
mod rng;
mod time;

pub use action::{Action, Loss, Why};
pub use backoff::Backoff;
pub use ids::{CallId, SlotId, TaskKey};
pub use input::{Answer, CallError, Control, Fault, Input, Outcome, Reply, TaskMeta, TokenNews};
pub use policy::{LONG_POLL_MAX, Policy, PolicyError, Rules};
pub use time::{Clock, Instant};
