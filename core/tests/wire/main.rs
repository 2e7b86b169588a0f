//! What `wire` promises, one file per subject, through the public surface alone.

mod agree;
mod answer;
mod classify;
mod filter;
mod golden;
mod result;
mod scan;
mod status;
mod target;
mod tasks;
mod text;
