//! L4: a drain ends.

use std::time::Duration;

use downbeat_core::machine::{Action, Control, Input, Instant};

use super::book::{Mode, Page};
use super::{HubView, Oracle, Ruling, Setting, Step};

/// With a time limit: within that, the recall's time and a second. Without: within [`super::Bounds::drain_ends`].
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

    fn late(&self, at: Instant, worker: u32, page: &Page) -> Option<String> {
        let told = (*self.told.get(worker as usize)?)?;
        let (took, bound) = match page.policy.drain_timeout {
            // A slow clock takes up to a ninth longer.
            Some(limit) => (told.until(at), (limit + page.policy.recall_timeout) * 10 / 9 + SLACK),
            None => (told.max(self.healed_at?).until(at), self.bound),
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

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let Some(told) = self.told.get_mut(step.worker as usize) else { return Ok(()) };
        if *step.input == Input::Control(Control::Drain) && told.is_none() {
            *told = Some(step.at);
        }
        if matches!(step.action, Action::Stopped)
            && step.mode_before != Mode::Stopped
            && let Some(late) = self.late(step.at, step.worker, step.page)
        {
            return Err(format!("stopped {late}"));
        }
        Ok(())
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        if view.wait().is_none() {
            return Ok(());
        }
        if view.members().all(|(_, page)| page.has_ended()) {
            return Err("waits, though all of its workers have ended".to_owned());
        }
        view.each(|worker, page| match self.late(view.step.at, worker, page) {
            Some(late) if page.mode.is_ending() && !page.has_ended() => Err(format!("has not ended {late}")),
            _ => Ok(()),
        })
    }

    fn life(&mut self, worker: u32, _: &Page) {
        if let Some(told) = self.told.get_mut(worker as usize) {
            *told = None;
        }
    }

    fn healed(&mut self, at: Instant) {
        self.healed_at = Some(at);
    }

    fn finish(&mut self, at: Instant, pages: &[Page]) -> Result<(), (Option<u32>, String)> {
        for (worker, page) in (0..).zip(pages) {
            let drains = page.alive
                && page.mode.is_ending()
                && page.mode != Mode::Stopped
                && !(page.is_held() && page.has_ended());
            let late = if drains && !page.is_seed() { self.late(at, worker, page) } else { None };
            if let Some(late) = late {
                return Err((Some(worker), format!("has not stopped {late}")));
            }
        }
        Ok(())
    }
}
