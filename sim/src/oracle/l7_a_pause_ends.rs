//! L7: a pause ends.

use downbeat_core::machine::{Action, Control, Input, Instant, Why};

use super::book::{Mode, Page};
use super::{Oracle, Ruling, Setting, Step, secs};

/// After `Resume` a poll comes within one delay of an empty queue, where nothing is in its way.
#[derive(Debug)]
pub(super) struct APauseEnds {
    resumed: Vec<Option<Instant>>,
}

impl APauseEnds {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { resumed: vec![None; setting.policies.len()] }
    }
}

impl Oracle for APauseEnds {
    fn name(&self) -> &'static str {
        "L7 a-pause-ends"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        let Some(resumed) = self.resumed.get_mut(step.worker as usize) else { return Ok(()) };
        if *step.input == Input::Control(Control::Resume) && step.mode_before == Mode::Paused {
            *resumed = Some(page.latest);
        }
        let Some(at) = *resumed else { return Ok(()) };
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        *resumed = None;
        let polls = page.mode == Mode::Open && page.poll().is_none() && page.room() > 0 && !page.gate.vague;
        if !polls || page.gate.why != Why::Empty || !page.is_unhindered() {
            return Ok(());
        }
        let due = at.after(page.policy.poll_interval);
        if until.is_some_and(|until| until <= due) {
            return Ok(());
        }
        let until = until.map_or_else(|| "an input".to_owned(), secs);
        Err(format!("was resumed at {} and waits for {until} without a poll", secs(at)))
    }

    fn life(&mut self, worker: u32, _: &Page) {
        if let Some(resumed) = self.resumed.get_mut(worker as usize) {
            *resumed = None;
        }
    }
}
