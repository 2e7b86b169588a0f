//! No more commands at once than there are file descriptors for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::RECALL_SLICE;

struct Gate {
    most: u64,
    inside: u64,
}

static GATE: Mutex<Gate> = Mutex::new(Gate { most: u64::MAX, inside: 0 });
static LEFT: Condvar = Condvar::new();

/// The right to run one command.
pub(super) struct Permit(());

fn gate() -> MutexGuard<'static, Gate> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on so many commands run at once, at least one.
pub(super) fn narrow(most: u64) {
    gate().most = most.max(1);
}

/// Waits for a turn. Returns `None` if `recalled` became true first. It is asked every 100 ms.
pub(super) fn enter(recalled: &dyn Fn() -> bool) -> Option<Permit> {
    let mut gate = gate();
    while gate.inside >= gate.most {
        gate = LEFT.wait_timeout(gate, RECALL_SLICE).unwrap_or_else(PoisonError::into_inner).0;
        if recalled() {
            return None;
        }
    }
    gate.inside += 1;
    Some(Permit(()))
}

impl Drop for Permit {
    fn drop(&mut self) {
        gate().inside -= 1;
        LEFT.notify_one();
    }
}
