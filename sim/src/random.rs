//! Everything random in a run, from the scenario's seed.

pub use downbeat_server::random::{Random, mix};
