//! L7: a pause ends.

use downbeat_core::machine::{Action, Control, Input, Instant, Why};

use super::model::{Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::scenario::Setting;

/// After `Resume` a poll comes within one delay of an empty queue if nothing is in its way.
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

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let Some(resumed) = self.resumed.get_mut(step.worker as usize) else { return Ok(()) };
        if *step.input == Input::Control(Control::Resume) && step.lifecycle_before == Lifecycle::Paused {
            *resumed = Some(model.latest);
        }
        let Some(at) = resumed.filter(|_| !model.is_held()) else { return Ok(()) };
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        *resumed = None;
        if model.is_unhindered() { waits(model, at, until) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let Some((until, _)) = view.wait() else { return Ok(()) };
        view.each(|worker, model| {
            let at = self.resumed.get_mut(worker as usize).and_then(Option::take);
            at.filter(|_| view.hub.lets_poll(model)).map_or(Ok(()), |at| waits(model, at, until))
        })
    }

    fn life(&mut self, worker: u32, _: &Model) {
        if let Some(resumed) = self.resumed.get_mut(worker as usize) {
            *resumed = None;
        }
    }
}

fn waits(model: &Model, at: Instant, until: Option<Instant>) -> Verdict {
    if !model.wants_poll() || model.gate.why != Why::Empty || model.gate.unsure {
        return Ok(());
    }
    let due = at.saturating_add(model.policy.poll_interval);
    if until.is_some_and(|until| until <= due) {
        return Ok(());
    }
    let until = until.map_or_else(|| "an input".to_owned(), secs);
    Err(format!("was resumed at {} and waits for {until} without a poll", secs(at)))
}
