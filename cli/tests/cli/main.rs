//! The built binary against the model server in this process.

#![expect(clippy::unwrap_used, reason = "a test whose scene cannot be set has failed")]

mod commands;
mod ending;
mod harness;
mod outage;
mod processes;
mod servers;
mod shows;
mod store;
mod usage;
