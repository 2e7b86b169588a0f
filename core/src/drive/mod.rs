//! The single-lane driver: one worker, one connection, one loop, in fixed memory.
//!
//! [`Session`] is the whole of it but the I/O: it holds the [`Worker`](crate::machine::Worker), the held tasks' ids
//! and results, the token and the buffers, and says what it needs next ([`Demand`]). [`run`] and [`run_async`] are
//! the two loops that give it that, over a blocking [`Link`] and over an [`AsyncLink`]; a host with another idea of
//! I/O writes its own, thirty lines long.
//!
//! ```text
//!   Executor <--- start, step, cancel --- Session --- Demand ---> run / run_async ---> Link, Idle
//!   (the user's code, in steps)              ^                          |
//!                                            +--- what came of it ------+
//! ```
//!
//! There is one lane: while a call is in flight nothing else happens. So the user's code runs in steps
//! between calls, and the server holds a poll no longer than until the next step is due. A step that takes
//! long delays the extension of leases by as much.
//!
//! What is bounded, and what happens at the bound: docs/embedding.md.

mod asynchronous;
mod blocking;
mod call;
mod config;
mod idle;
mod session;
mod slots;

pub use crate::http::{AsyncLink, Link, Site};
pub use asynchronous::run_async;
pub use blocking::run;
pub use config::{Buffers, Config, Key, SetupError, WINDOW};
pub use idle::{AsyncIdle, Idle};
pub use session::{Counts, Demand, Session};
