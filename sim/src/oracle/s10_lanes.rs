//! S10: lanes.

use downbeat_core::machine::{Action, Input};

use super::book::CallKind;
use super::{Oracle, Ruling, Step};

/// Calls in flight are at most `max_calls`; among them one poll, and one report and one extension for each place.
#[derive(Debug)]
pub(super) struct Lanes;

impl Oracle for Lanes {
    fn name(&self) -> &'static str {
        "S10 lanes"
    }

    fn judges_seed(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        let reports = |index: u16| {
            page.calls.iter().any(|call| match call.kind {
                CallKind::Update { slot, .. } | CallKind::Spill { slot } => slot.index() == index,
                CallKind::Poll { .. } | CallKind::Extend { .. } | CallKind::Refresh | CallKind::Refuse => {
                    false
                }
            })
        };
        match *step.action {
            Action::Poll { .. } if page.poll().is_some() => return Err("two polls at once".to_owned()),
            Action::Update { slot, .. } if reports(slot.index()) => {
                return Err(format!("two reports at once for place {}", slot.index()));
            }
            Action::Extend { slot, .. } if page.extends(slot.index()) => {
                return Err(format!("two extensions at once for place {}", slot.index()));
            }
            // A give-back shares the lane of the poll that brought the task.
            Action::Refuse { .. } if matches!(step.input, Input::Leased { .. }) => return Ok(()),
            Action::Poll { .. }
            | Action::Update { .. }
            | Action::Extend { .. }
            | Action::Refresh { .. }
            | Action::Refuse { .. } => {}
            Action::Run { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => return Ok(()),
        }
        let taken = page.lanes_taken();
        if taken >= usize::from(page.policy.max_calls) {
            return Err(format!(
                "sends a call while {taken} are in flight; {} are allowed",
                page.policy.max_calls
            ));
        }
        Ok(())
    }
}
