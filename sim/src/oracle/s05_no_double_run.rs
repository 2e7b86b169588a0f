//! S5: no two runs of a task overlap.

use std::collections::BTreeMap;

use downbeat_core::machine::{Action, Input, TaskKey};

use super::book::Page;
use super::{Oracle, Ruling, Step};

/// No two runs of a task overlap, in one worker or across the fleet. A lapsed lease gives the retry a new key, so that
/// two runs of one key are always a mistake.
#[derive(Debug, Default)]
pub(super) struct NoDoubleRun {
    runs: BTreeMap<TaskKey, u32>,
}

impl Oracle for NoDoubleRun {
    fn name(&self) -> &'static str {
        "S5 no-double-run"
    }

    fn judges_seed(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        if let Input::Finished { slot, .. } = *step.input
            && let Some(held) = step.page.held(slot)
        {
            self.runs.remove(&held.key);
        }
        match *step.action {
            Action::Discard { slot, .. } => {
                if let Some(held) = step.page.held(slot).filter(|held| held.outcome.is_none()) {
                    self.runs.remove(&held.key);
                }
                Ok(())
            }
            Action::Run { key, .. } => match self.runs.insert(key, step.worker) {
                Some(other) => Err(format!(
                    "runs task {:032x} while worker {other} runs it, whose lease has not ended",
                    key.to_u128()
                )),
                None => Ok(()),
            },
            Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn life(&mut self, _: u32, page: &Page) {
        for held in page.all().filter(|held| held.outcome.is_none()) {
            self.runs.remove(&held.key);
        }
    }
}
