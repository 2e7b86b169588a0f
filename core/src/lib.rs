//! The Conductor worker as one pure `no_std` state machine.
#![no_std]

pub mod machine;
pub mod ports;
pub mod wire;
