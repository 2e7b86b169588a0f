//! The binary `downbeat`: makes any executable a Conductor worker.

mod clock;
mod exec;
fn main() {}
