//! The model server over real sockets: what it answers, how it closes, what its faults do.

mod basics;
mod cli;
mod client;
mod connections;
mod faults;
mod payloads;
mod polls;
mod results;
