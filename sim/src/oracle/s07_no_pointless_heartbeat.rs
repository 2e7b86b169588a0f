//! S7: no pointless heartbeat.

use downbeat_core::machine::Action;

use super::{Oracle, Ruling, Step};

/// No extension for what was accepted or given up; at most one in flight for each place.
#[derive(Debug)]
pub(super) struct NoPointlessHeartbeat;

impl Oracle for NoPointlessHeartbeat {
    fn name(&self) -> &'static str {
        "S7 no-pointless-heartbeat"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let Action::Extend { slot, .. } = *step.action else { return Ok(()) };
        match step.page.held(slot) {
            Some(held) if held.settled || held.rejected || held.lease.is_zero() => {
                Err(format!("extends a lease of task {:032x} that nobody needs", held.key.to_u128()))
            }
            Some(_) if step.page.extends(slot.index()) => {
                Err(format!("extends the lease in place {} twice at once", slot.index()))
            }
            Some(held) if step.page.latest < held.extend.lo => Err(format!(
                "extends the lease of task {:032x} at {}, before it is due at {}",
                held.key.to_u128(),
                super::secs(step.page.latest),
                super::secs(held.extend.lo)
            )),
            Some(_) => Ok(()),
            None => Err(format!("extends a lease in place {}, where no task is held", slot.index())),
        }
    }
}
