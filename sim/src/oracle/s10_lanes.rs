//! S10: lanes.

use downbeat_core::machine::{Action, Input};

use super::model::CallKind;
use super::{Oracle, Step, Verdict};

/// Calls in flight are at most `max_calls`; among them one poll, and one report and one extension for each entry.
#[derive(Debug)]
pub(super) struct Lanes;

impl Oracle for Lanes {
    fn name(&self) -> &'static str {
        "S10 lanes"
    }

    fn judges_ruby(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let reports = |index: u16| {
            model.calls.iter().any(|call| match call.kind {
                CallKind::Update { entry, .. } | CallKind::Spill { entry } => entry.index() == index,
                CallKind::Poll { .. }
                | CallKind::Extend { .. }
                | CallKind::Ask { .. }
                | CallKind::Refresh
                | CallKind::GiveBack => false,
            })
        };
        match *step.action {
            Action::Poll { .. } if model.poll().is_some() => return Err("two polls at once".to_owned()),
            Action::Update { entry, .. } if reports(entry.index()) => {
                return Err(format!("two reports at once for entry {}", entry.index()));
            }
            Action::Extend { entry, .. } if model.extends(entry.index()) => {
                return Err(format!("two extensions at once for entry {}", entry.index()));
            }
            Action::Ask { entry, .. } if model.asks(entry.index()) => {
                return Err(format!("two questions at once for entry {}", entry.index()));
            }
            // A give-back shares the lane of the poll that brought the task.
            Action::GiveBack { .. } if matches!(step.input, Input::Leased { .. }) => return Ok(()),
            Action::Poll { .. }
            | Action::Ask { .. }
            | Action::Update { .. }
            | Action::Extend { .. }
            | Action::Refresh { .. }
            | Action::GiveBack { .. } => {}
            Action::Run { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => return Ok(()),
        }
        let taken = model.lanes_taken();
        if taken >= usize::from(model.policy.max_calls) {
            return Err(format!(
                "sends a call while {taken} are in flight; {} are allowed",
                model.policy.max_calls
            ));
        }
        Ok(())
    }
}
