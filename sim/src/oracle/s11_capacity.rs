//! S11: capacity.

use downbeat_core::machine::Action;

use super::{Oracle, Step, Verdict};

/// At most `concurrency` tasks run, at most a table full is held, and a poll asks for what is free and not promised.
#[derive(Debug)]
pub(super) struct Capacity;

impl Oracle for Capacity {
    fn name(&self) -> &'static str {
        "S11 capacity"
    }

    fn judges_ruby(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        match *step.action {
            Action::Run { .. } if model.running >= model.policy.concurrency => {
                Err(format!("runs a task while {} run; {} may", model.running, model.policy.concurrency))
            }
            Action::Run { entry, .. } if entry.index() >= model.capacity => {
                Err(format!("runs a task in entry {} of {}", entry.index(), model.capacity))
            }
            Action::Poll { count, .. } if count == 0 || count > model.room() => {
                Err(format!("asks for {count} tasks, with room for {}", model.room()))
            }
            Action::Update { take_next: true, .. } if model.room() == 0 => {
                Err("asks for a task with a report, with room for none".to_owned())
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
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }
}
