//! S17: stale inputs change nothing.

use downbeat_core::machine::{Action, Input};

use super::{Oracle, Step, Verdict};

/// Replies to unknown calls, and ends of tasks with an old generation, change nothing.
#[derive(Debug)]
pub(super) struct StaleInputs;

impl Oracle for StaleInputs {
    fn name(&self) -> &'static str {
        "S17 stale-inputs"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        match *step.action {
            Action::Update { entry, .. } | Action::Spill { entry, .. } => match model.held(entry) {
                Some(held) if held.outcome.is_none() => Err(format!(
                    "reports task {:032x}, whose code has not ended: the end of an earlier task was believed",
                    held.key.to_u128()
                )),
                _ => Ok(()),
            },
            Action::Run { .. } => match *step.input {
                Input::Leased { call, .. } if !model.brings(call) => {
                    Err("runs a task of a call that is not open".to_owned())
                }
                Input::Tick
                | Input::Leased { .. }
                | Input::Recovered { .. }
                | Input::Replied { .. }
                | Input::Finished { .. }
                | Input::Token(_)
                | Input::Control(_) => Ok(()),
            },
            Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ask { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Poll { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }
}
