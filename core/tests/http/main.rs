//! HTTP/1.1 as `core::http` speaks it, one file per subject.

mod client;
mod pieces;
mod response;
