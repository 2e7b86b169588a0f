//! The worker as one pure state machine.
//!
//! ```text
//!            Leased                 Finished                 Replied(Ok)
//!   Free ------------> Running ----------------> Reporting ---------------> Free
//!    ^                    | Recall (drain is over)   |  ^  | Replied(Err): later again,
//!    |                    v                          |  +--+ after four failures to the store (Spill)
//!    |                 Recalled ---- Finished ------>|
//!    |                                               v
//!    +-------------------------- Discard -------- Spent   rejected, aborted, unsafe yield
//! ```
//!
//! [`Machine::step`] takes the time and an [`Input`] and answers an [`Action`]. Actions are derived from the state and
//! never queued. One poll is in flight at the most, and one update and one extension per entry. Before each call stand
//! gates, whichever opens last:
//!
//! | gate | closed by | opens |
//! | --- | --- | --- |
//! | poll (`gate.rs`) | an empty or failed poll, `Retry-After` | after the backoff; only polls and `take_next` wait |
//! | token (`auth.rs`) | no token, a 401 | when a refresh succeeds |
//! | link (`link.rs`) | a call that did not reach the server | after the backoff, for one probe; any answer opens it |
//! | lanes | `max_calls` calls in flight | when one ends |
//!
//! | file | noun |
//! | --- | --- |
//! | `worker` | the state and `step` |
//! | `lease` | a task arrives |
//! | `reply` | a call or the user's code ends |
//! | `choose` | what comes next, and until when to wait |
//! | `lifecycle` | how far it is towards the end |
//! | `table`, `lean` | the indexes; a machine without them |
//! | `hub` | many workers under one token and budget |

mod action;
mod auth;
mod backoff;
mod choose;
mod cx;
mod entry;
mod flaw;
mod gate;
mod hub;
mod ids;
mod input;
mod kind;
mod lean;
mod lease;
mod lifecycle;
mod link;
#[cfg(feature = "mutants")]
pub mod mutant;
mod policy;
mod reply;
mod rng;
mod snapshot;
mod table;
mod time;
mod worker;

pub use action::{Action, Instead, Loss, RecallReason, Why};
pub use backoff::Backoff;
pub use entry::{Entry, Phase, Storage};
pub use flaw::{Flaw, Flawless};
pub use hub::{Hub, HubAction, HubInput, HubPolicy, Member};
pub use ids::{CallId, CallKind, EntryId, TaskKey};
pub use input::{Answer, CallError, Control, Fault, Input, Outcome, Reply, TaskMeta, TokenNews};
pub use kind::{Kind, Sound};
pub use lean::{Lean, LeanWorker};
pub use lifecycle::Lifecycle;
pub use policy::{LONG_POLL_MAX, OnLapse, Policy, PolicyError, Rules};
pub use snapshot::{HeldTask, Snapshot};
#[cfg(feature = "record")]
pub(crate) use time::micros;
pub use time::{Clock, Instant};
pub use worker::{Machine, Worker};

/// The size that the issue and docs promise: a worker of eight fits a microcontroller's corner.
const _: () = assert!(size_of::<Worker<8>>() <= 2048);
const _: () = assert!(size_of::<Worker<4>>() <= 1152);
