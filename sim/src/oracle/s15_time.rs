//! S15: time does not go backwards, and a jump brings one round.

use std::time::Duration;

use downbeat_core::machine::Action;

use super::book::Page;
use super::{Oracle, Ruling, Setting, Step, secs};

/// From here on a step of time is a jump.
const JUMP: Duration = Duration::from_secs(600);

/// An earlier `now` counts as the latest seen; a jump over hours brings one round of what is due.
#[derive(Debug)]
pub(super) struct Time {
    /// Actions since a jump, where one is being worked off.
    since_jump: Vec<Option<u32>>,
}

impl Time {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { since_jump: vec![None; setting.policies.len()] }
    }
}

impl Oracle for Time {
    fn name(&self) -> &'static str {
        "S15 time"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        if let Action::Wait { until: Some(until), .. } = *step.action
            && step.local < step.before
            && until <= step.before
        {
            return Err(format!(
                "takes {} for now, though it has seen {}, and waits until {}",
                secs(step.local),
                secs(step.before),
                secs(until)
            ));
        }
        let Some(count) = self.since_jump.get_mut(step.worker as usize) else { return Ok(()) };
        if step.before.until(page.latest) > JUMP {
            *count = Some(0);
        }
        match (count.as_mut(), *step.action) {
            (Some(_), Action::Wait { .. } | Action::Stopped) => *count = None,
            (Some(actions), _) => {
                *actions += 1;
                let most = 4 * u32::from(page.capacity) + 8;
                if *actions > most {
                    return Err(format!("{actions} actions after a jump of time; {most} are one round"));
                }
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn life(&mut self, worker: u32, _: &Page) {
        if let Some(count) = self.since_jump.get_mut(worker as usize) {
            *count = None;
        }
    }
}
