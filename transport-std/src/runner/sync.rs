//! Locks, condition variables and threads of the scheduler: those of `std`. The exploration of its schedules
//! (tests/schedules) compiles the scheduler with others, of the same names.

use std::io;

pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
pub(super) use std::thread::{Thread, ThreadId, current, park, park_timeout as park_until};

pub(super) use crate::context::lock;

/// Waits on a condition variable; a panic of another holder leaves nothing half done.
pub(super) fn wait<'m, T>(condition: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    condition.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts a thread that nobody joins.
pub(super) fn spawn(name: String, life: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(life).map(drop)
}
