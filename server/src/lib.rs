//! A model Conductor server: what a worker can tell of one, as a state machine, and over HTTP.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`model`] | Conductor as a state machine under virtual time: queues, leases, retries, yields, long polls, tokens |
//! | `http` | the same server over HTTP on loopback, with faults to order (feature `http`) |
//! | [`random`] | random numbers that a seed repeats on every machine |

#[cfg(feature = "http")]
pub mod http;
pub mod model;
pub mod random;
