//! What `wire` promises, one file per subject, only through the public surface.

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
