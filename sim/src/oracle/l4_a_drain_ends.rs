//! L4: a drain ends.

use std::time::Duration;

use downbeat_core::machine::{Action, Control, Input, Instant};

use super::model::{Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict};
use crate::scenario::Setting;

/// With a time limit: within that, the recall's time and a second. Without: within [`crate::scenario::Bounds::drain_ends`].
#[derive(Debug)]
pub(super) struct ADrainEnds {
    bound: Duration,
    healed_at: Option<Instant>,
    /// When each was told to drain: in true time.
    told: Vec<Option<Instant>>,
}

/// For the store's writes.
const SLACK: Duration = Duration::from_secs(1);

impl ADrainEnds {
    pub(super) fn new(setting: &Setting) -> Self {
        let told = vec![None; setting.policies.len()];
        Self { bound: setting.bounds.drain_ends, healed_at: None, told }
    }

    fn late(&self, at: Instant, worker: u32, model: &Model) -> Option<String> {
        let told = (*self.told.get(worker as usize)?)?;
        let (took, bound) = match model.policy.drain_timeout {
            // A slow clock takes up to a ninth longer.
            Some(limit) => {
                (at.saturating_duration_since(told), (limit + model.policy.recall_timeout) * 10 / 9 + SLACK)
            }
            None => (at.saturating_duration_since(told.max(self.healed_at?)), self.bound),
        };
        (took > bound).then(|| {
            format!(
                "{} ms after it was told to drain; the bound is {} ms",
                took.as_millis(),
                bound.as_millis()
            )
        })
    }
}

impl Oracle for ADrainEnds {
    fn name(&self) -> &'static str {
        "L4 a-drain-ends"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let Some(told) = self.told.get_mut(step.worker as usize) else { return Ok(()) };
        if *step.input == Input::Control(Control::Drain) && told.is_none() {
            *told = Some(step.at);
        }
        if matches!(step.action, Action::Stopped)
            && step.lifecycle_before != Lifecycle::Stopped
            && let Some(late) = self.late(step.at, step.worker, step.model)
        {
            return Err(format!("stopped {late}"));
        }
        Ok(())
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        if view.wait().is_none() {
            return Ok(());
        }
        if view.members().all(|(_, model)| model.has_ended()) {
            return Err("waits, though all of its workers have ended".to_owned());
        }
        view.each(|worker, model| match self.late(view.step.at, worker, model) {
            Some(late) if model.lifecycle.is_ending() && !model.has_ended() => {
                Err(format!("has not ended {late}"))
            }
            _ => Ok(()),
        })
    }

    fn life(&mut self, worker: u32, _: &Model) {
        if let Some(told) = self.told.get_mut(worker as usize) {
            *told = None;
        }
    }

    fn healed(&mut self, at: Instant) {
        self.healed_at = Some(at);
    }

    fn finish(&mut self, at: Instant, models: &[Model]) -> Result<(), (Option<u32>, String)> {
        for (worker, model) in (0..).zip(models) {
            let drains = model.alive
                && model.lifecycle.is_ending()
                && model.lifecycle != Lifecycle::Stopped
                && !(model.is_held() && model.has_ended());
            let late = if drains && !model.is_ruby() { self.late(at, worker, model) } else { None };
            if let Some(late) = late {
                return Err((Some(worker), format!("has not stopped {late}")));
            }
        }
        Ok(())
    }
}
