//! S1: each run has exactly one end.

use downbeat_core::machine::Action;

use super::{Oracle, Ruling, Step};

/// Each `Run` is followed by exactly one end of that task; nothing leaks, nothing ends twice.
#[derive(Debug)]
pub(super) struct Conservation;

impl Oracle for Conservation {
    fn name(&self) -> &'static str {
        "S1 conservation"
    }

    fn judges_seed(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        let (verb, slot) = match *step.action {
            Action::Run { slot, key } => {
                return match page.at(slot) {
                    Some(held) => Err(format!(
                        "runs task {:032x} in place {}, where task {:032x} has not ended",
                        key.to_u128(),
                        slot.index(),
                        held.key.to_u128()
                    )),
                    None => Ok(()),
                };
            }
            Action::Stopped if page.held > 0 => {
                return Err(format!("stops while it holds {} tasks", page.held));
            }
            Action::Update { slot, .. } => ("reports", slot),
            Action::Spill { slot, .. } => ("stores", slot),
            Action::Discard { slot, .. } => ("discards", slot),
            Action::Recall { slot } => ("recalls", slot),
            Action::Extend { .. }
            | Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Refresh { .. }
            | Action::Poll { .. }
            | Action::Wait { .. }
            | Action::Stopped => return Ok(()),
        };
        match page.held(slot) {
            Some(_) => Ok(()),
            None => Err(format!(
                "{verb} place {} generation {}, where no task is held",
                slot.index(),
                slot.generation()
            )),
        }
    }
}
