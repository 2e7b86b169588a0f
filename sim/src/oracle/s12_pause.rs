//! S12: a pause is a pause.

use downbeat_core::machine::{Action, Why};

use super::model::Lifecycle;
use super::{Oracle, Step, Verdict};

/// After `Pause` there is no poll and no `take_next` until `Resume`, nor a wait for one.
#[derive(Debug)]
pub(super) struct Pause;

impl Oracle for Pause {
    fn name(&self) -> &'static str {
        "S12 pause"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        if step.model.lifecycle != Lifecycle::Paused {
            return Ok(());
        }
        match *step.action {
            Action::Poll { .. } => Err("polls while paused".to_owned()),
            Action::Update { take_next: true, .. } => Err("takes the next task while paused".to_owned()),
            Action::Wait { until: Some(_), why: Why::Paused } => {
                Err("wakes while paused, for nothing but the pause".to_owned())
            }
            Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ask { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }
}
