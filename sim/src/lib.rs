//! A model Conductor server and a deterministic simulator.

pub mod conform;
pub mod event;
pub mod oracle;
pub mod random;
pub mod scenario;
