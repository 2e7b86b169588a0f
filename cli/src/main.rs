//! The binary `downbeat`: makes any executable a Conductor worker.

mod clock;
mod config;
mod duration;
mod exec;
fn main() {}
