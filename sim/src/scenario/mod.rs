//! Scenarios: files that say everything a run depends on. Read, checked, generated, written.

mod check;
mod fleet;
mod generate;
mod limits;
mod load;
mod model;
mod span;

pub use check::Problem;
pub use fleet::Crew;
pub use generate::{Profile, generate};
pub(crate) use load::nearest;
pub use load::{LoadError, parse, read, schema, to_json, to_toml};
pub use model::{
    Arrival, Backend, CallClass, Fault, FaultKind, Network, Outcomes, PolicyChoice, Preset, Process,
    Scenario, Server, Spread, Tasks, VERSION, Workers,
};
pub use span::Span;
