//! The model server over real sockets: what it answers, how it closes, what its faults do.

mod basics;
mod client;
mod connections;
mod faults;
mod gateways;
mod generations;
mod lifecycle;
mod payloads;
mod polls;
mod results;
