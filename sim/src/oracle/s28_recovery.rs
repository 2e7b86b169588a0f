//! S28: what an earlier life had in hand is taken back.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other answer is wrong")]

use downbeat_core::machine::{Action, Input};

use super::model::Lifecycle;
use super::{Oracle, Step, Verdict};

/// A task that the driver's journal has of an earlier life is run on if there is room, and only left if there
/// is none, or if it is held already. What becomes of it then is judged as of any other: its lease is due at
/// once (S6).
#[derive(Debug)]
pub(super) struct Recovery;

impl Oracle for Recovery {
    fn name(&self) -> &'static str {
        "S28 recovery"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let Input::Recovered { task } = step.input else { return Ok(()) };
        // A hub may answer for another; nothing is left for a worker that has ended.
        let model = step.model;
        if model.lifecycle == Lifecycle::Stopped
            || matches!(step.action, Action::Wait { .. } | Action::Stopped)
        {
            return Ok(());
        }
        let here = model.all().any(|held| held.key == task.key && !held.settled);
        let room = model.running < model.policy.concurrency && model.held < model.capacity;
        let key = task.key.to_u128();
        match step.action {
            Action::Run { .. } if here => Err(format!("takes task {key:032x} back, which is here already")),
            Action::Run { .. } => Ok(()),
            Action::Ignore { .. } if !here && room => Err(format!(
                "leaves task {key:032x}, which an earlier life had in hand, though there is room"
            )),
            Action::Ignore { .. } => Ok(()),
            action => {
                Err(format!("answers {action:?} to task {key:032x}, which an earlier life had in hand"))
            }
        }
    }
}
