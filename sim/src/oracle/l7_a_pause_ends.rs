//! L7: a pause ends.

use downbeat_core::machine::{Action, Control, Input, Instant, Why};

use super::book::{Mode, Page};
use super::{HubView, Oracle, Ruling, Setting, Step, secs};

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
        let Some(at) = resumed.filter(|_| !page.is_held()) else { return Ok(()) };
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        *resumed = None;
        if page.is_unhindered() { waits(page, at, until) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        let Some((until, _)) = view.wait() else { return Ok(()) };
        view.each(|worker, page| {
            let at = self.resumed.get_mut(worker as usize).and_then(Option::take);
            at.filter(|_| view.hub.lets_poll(page)).map_or(Ok(()), |at| waits(page, at, until))
        })
    }

    fn life(&mut self, worker: u32, _: &Page) {
        if let Some(resumed) = self.resumed.get_mut(worker as usize) {
            *resumed = None;
        }
    }
}

fn waits(page: &Page, at: Instant, until: Option<Instant>) -> Ruling {
    if !page.wants_poll() || page.gate.why != Why::Empty || page.gate.unsure {
        return Ok(());
    }
    let due = at.after(page.policy.poll_interval);
    if until.is_some_and(|until| until <= due) {
        return Ok(());
    }
    let until = until.map_or_else(|| "an input".to_owned(), secs);
    Err(format!("was resumed at {} and waits for {until} without a poll", secs(at)))
}
