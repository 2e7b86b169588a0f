//! Scenarios: files that say everything a run depends on. Read, checked, generated, written.

mod check;
mod clock;
mod fleet;
mod generate;
mod limits;
mod load;
mod model;
mod policy;
mod setting;
mod span;
mod spread;

pub use check::Problem;
pub use clock::Clocks;
pub use fleet::{Hub, Process, machine_seed};
pub use generate::{Profile, generate};
pub(crate) use load::nearest;
pub use load::{LoadError, parse, read, schema, to_json, to_toml};
pub use model::{
    Arrival, Backend, CallClass, Fault, FaultKind, Generation, Network, Outcomes, Processes, Scenario,
    Server, Spread, Tasks, VERSION, Workers,
};
pub use policy::{Journal, OnLapse, PolicyChoice, Preset};
pub(crate) use setting::YIELDS_MAX;
pub use setting::{Bounds, Setting};
pub use span::Span;
