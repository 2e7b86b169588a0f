//! S7: no pointless heartbeat.

use downbeat_core::machine::Action;

use super::{Oracle, Step, Verdict};

/// No extension for what was accepted or given up; at most one in flight for each entry.
#[derive(Debug)]
pub(super) struct NoPointlessHeartbeat;

impl Oracle for NoPointlessHeartbeat {
    fn name(&self) -> &'static str {
        "S7 no-pointless-heartbeat"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let Action::Extend { entry, .. } = *step.action else { return Ok(()) };
        match step.model.held(entry) {
            Some(held) if held.settled || held.rejected || held.lease.is_zero() => {
                Err(format!("extends a lease of task {:032x} that nobody needs", held.key.to_u128()))
            }
            Some(_) if step.model.extends(entry.index()) => {
                Err(format!("extends the lease in entry {} twice at once", entry.index()))
            }
            Some(held) if step.model.latest < held.extend.lo => Err(format!(
                "extends the lease of task {:032x} at {}, before it is due at {}",
                held.key.to_u128(),
                super::secs(step.model.latest),
                super::secs(held.extend.lo)
            )),
            Some(_) => Ok(()),
            None => Err(format!("extends a lease in entry {}, where no task is held", entry.index())),
        }
    }
}
