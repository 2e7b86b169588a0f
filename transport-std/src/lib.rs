//! Conductor task workers that lose no result.
//!
//! A [`Worker`] is a task type and a closure; a [`Runner`] polls for its tasks, runs them, extends their leases and
//! reports their results, with threads and without an async runtime. All decisions are made by the machine of
//! `downbeat-core`; this crate performs them.
//!
//! ```no_run
//! use downbeat::{Context, TaskError, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Order { id: u64, cents: u64 }
//!
//! #[derive(Serialize)]
//! struct Receipt { paid: u64 }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pay = |order: Order, context: &Context| {
//!         context.log(format!("paying order {}", order.id));
//!         if order.cents == 0 {
//!             return Err(TaskError::terminal("an order of nothing cannot be paid"));
//!         }
//!         Ok(Receipt { paid: order.cents })
//!     };
//!     downbeat::Runner::from_env()?.worker(Worker::new("pay", pay).slots(8)).run()?;
//!     Ok(())
//! }
//! ```
//!
//! The promise is at-least-once: no result is lost, and a task may run twice (a worker that was cut off, a lease that
//! ended). `docs/runner.md` has the picture of the threads; `docs/invariants.md` what is promised.

mod clock;
mod config;
mod context;
mod error;
mod event;
mod handler;
mod hub;
mod metrics;
mod record;
mod runner;
pub mod store;
mod transport;
mod worker;

pub use clock::StdClock;
pub use config::{Origin, Setting, variables};
pub use context::{CancelReason, Context};
pub use error::{Error, TaskError};
pub use event::{Event, EventKind};
pub use metrics::Metrics;
pub use record::Recording;
pub use runner::{Handle, Runner, Running, Summary, WorkerState};
pub use store::Journal;
pub use transport::{LeanTransport, TransportChoice, UreqTransport};
pub use worker::Worker;

pub use downbeat_core::machine::{OnLapse, Policy};
pub use serde_json::value::RawValue;
