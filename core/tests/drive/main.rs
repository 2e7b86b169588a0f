//! The single-lane driver against a server in memory, under a virtual clock: blocking and async, the same bytes.

mod cancel;
mod faults;
mod golden;
mod life;
mod sizes;
mod world;
