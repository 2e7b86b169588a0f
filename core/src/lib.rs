//! The Conductor worker as one pure `no_std` state machine: no clock, no I/O, no allocator, no `unsafe`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`machine`] | all decisions: a [`Worker`](machine::Worker) is told what happened and answers what to do next |
//! | [`wire`] | formats: Conductor's JSON, its request targets, and what its answers mean |
//! | `record` | under the feature of that name: what the record of a run is made of |
//! | [`http`] | HTTP/1.1 for one client, over any stream of bytes and in the caller's memory |
//! | [`drive`] | a whole driver for one connection: the loop of a microcontroller, blocking and async |
//! | [`ports`] | what a driver stands on: a transport of bytes, an executor of the user's code |
//!
//! A *driver* performs the machine's actions: `downbeat` with threads, `downbeat-sim` under virtual time, firmware
//! with one loop. `docs/driver-contract.md` has the one rule that a driver keeps.
#![no_std]
#![warn(
    clippy::alloc_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::std_instead_of_core
)]

pub mod drive;
pub mod http;
pub mod machine;
pub mod ports;
#[cfg(feature = "record")]
pub mod record;
pub mod wire;
