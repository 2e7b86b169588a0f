//! S11: capacity.

use downbeat_core::machine::Action;

use super::{Oracle, Ruling, Step};

/// At most `concurrency` tasks run, at most a table full is held, and a poll asks for what is free and not promised.
#[derive(Debug)]
pub(super) struct Capacity;

impl Oracle for Capacity {
    fn name(&self) -> &'static str {
        "S11 capacity"
    }

    fn judges_seed(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        match *step.action {
            Action::Run { .. } if page.running >= page.policy.concurrency => {
                Err(format!("runs a task while {} run; {} may", page.running, page.policy.concurrency))
            }
            Action::Run { slot, .. } if slot.index() >= page.capacity => {
                Err(format!("runs a task in place {} of {}", slot.index(), page.capacity))
            }
            Action::Poll { count, .. } if count == 0 || count > page.room() => {
                Err(format!("asks for {count} tasks, with room for {}", page.room()))
            }
            Action::Update { take_next: true, .. } if page.room() == 0 => {
                Err("asks for a task with a report, with room for none".to_owned())
            }
            Action::Run { .. }
            | Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
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
