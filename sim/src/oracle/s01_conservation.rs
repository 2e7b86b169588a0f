//! S1: each run has exactly one end.

use downbeat_core::machine::Action;

use super::{Oracle, Step, Verdict};

/// Each `Run` is followed by exactly one end of that task; nothing leaks, nothing ends twice.
#[derive(Debug)]
pub(super) struct Conservation;

impl Oracle for Conservation {
    fn name(&self) -> &'static str {
        "S1 conservation"
    }

    fn judges_ruby(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let (verb, entry) = match *step.action {
            Action::Run { entry, key } => {
                return match model.at(entry) {
                    Some(held) => Err(format!(
                        "runs task {:032x} in entry {}, where task {:032x} has not ended",
                        key.to_u128(),
                        entry.index(),
                        held.key.to_u128()
                    )),
                    None => Ok(()),
                };
            }
            Action::Stopped if model.held > 0 => {
                return Err(format!("stops while it holds {} tasks", model.held));
            }
            Action::Update { entry, .. } => ("reports", entry),
            Action::Spill { entry, .. } => ("stores", entry),
            Action::Discard { entry, .. } => ("discards", entry),
            Action::Recall { entry, .. } => ("recalls", entry),
            Action::Lapsed { entry } => ("lets lapse", entry),
            Action::Adopt { entry, .. } => ("adopts a task in", entry),
            Action::Ask { entry, .. } => ("asks about", entry),
            Action::Extend { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Refresh { .. }
            | Action::Poll { .. }
            | Action::Wait { .. }
            | Action::Stopped => return Ok(()),
        };
        match model.held(entry) {
            Some(_) => Ok(()),
            None => Err(format!(
                "{verb} entry {} generation {}, where no task is held",
                entry.index(),
                entry.generation()
            )),
        }
    }
}
