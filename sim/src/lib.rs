//! A model Conductor server and a deterministic simulator that drives the real worker core.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`conform`] | traces of the original Ruby class against [`Policy::ruby_sdk`](downbeat_core::machine::Policy::ruby_sdk) |
//! | [`scenario`] | everything that a run depends on, as a file |
//! | [`event`], [`oracle`] | what happens in a run, and the judges that see it |
//! | [`record`], [`replay`] | what is written of a run, and tried again on the core |
//! | [`view`], [`explain`], [`step`] | a run to look at, to be told, to be stepped through |
//! | [`world`] | workers, server and network in one queue of events |
//! | [`trial`], [`swarm`], [`probe`] | one run judged, many of them, and what they must have met |
//! | [`mutants`], [`tampered`] | checks that the checks work |
//! | [`table`] | what two policies do to a server in trouble |
//! | [`shrink`], [`report`] | a failing run made small, and told |
//! | [`cli`] | the command line |
//!
//! The server is that of `downbeat-server`.

mod built;
pub mod cli;
mod commit;
pub mod conform;
pub mod event;
pub mod explain;
pub mod mutants;
pub mod oracle;
pub mod probe;
pub mod random;
pub mod record;
mod recorded;
pub mod replay;
pub mod report;
pub mod scenario;
pub mod shrink;
pub mod step;
pub mod swarm;
pub mod table;
pub mod tampered;
pub mod trial;
pub mod view;
pub mod world;
