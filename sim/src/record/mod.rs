//! The record of a run: JSON Lines, the same from the simulator and from the runner (docs/timelines.md).

mod line;
mod read;
mod write;

pub(crate) use line::Liner;
pub use line::{BoxedHub, BrokenRule, Header, Line};
pub use read::{Entry, Hubs, ReadError, Record, read};
pub use write::Recorder;
pub(crate) use write::header;
