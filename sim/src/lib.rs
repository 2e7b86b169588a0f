//! A model Conductor server and a deterministic simulator.

pub mod conform;
