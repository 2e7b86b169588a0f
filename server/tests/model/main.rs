//! The model server's rules at their boundaries, under virtual time: one unit before, and at the instant.

mod lease;
mod poll;
mod retry;
mod support;
mod token;
mod update;
