//! L5: a token is had.

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::gates::TokenGate;
use super::model::{Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::scenario::Setting;

/// Within [`crate::scenario::Bounds::token_had`] of losing it, or of the last fault; and no wait goes past the time to ask.
#[derive(Debug)]
pub(super) struct ATokenIsHad {
    bound: Duration,
    healed_at: Option<Instant>,
    /// Since when each has been without, the hubs behind the workers.
    missing: Vec<Option<Instant>>,
    workers: usize,
}

impl ATokenIsHad {
    pub(super) fn new(setting: &Setting) -> Self {
        let workers = setting.policies.len();
        let missing = vec![None; workers + setting.hubs.len()];
        Self { bound: setting.bounds.token_had, healed_at: None, missing, workers }
    }

    /// Notes whether one wants a token that it has not; what to say of one that has it now, and had it late.
    fn note(&mut self, at: Instant, who: usize, wants: bool) -> Verdict {
        let late = if wants { None } else { self.late(at, who) };
        if let Some(missing) = self.missing.get_mut(who) {
            *missing = if wants { missing.or(Some(at)) } else { None };
        }
        late.map_or(Ok(()), |late| Err(format!("a token was had {late}")))
    }

    fn late(&self, at: Instant, who: usize) -> Option<String> {
        let from = (*self.missing.get(who)?)?.max(self.healed_at?);
        let took = at.saturating_duration_since(from);
        (took > self.bound).then(|| {
            format!("{} s after {}; the bound is {} s", took.as_secs(), secs(from), self.bound.as_secs())
        })
    }
}

fn wants(model: &Model) -> bool {
    let asleep = model.lifecycle == Lifecycle::Paused
        && model.held == 0
        && model.poll().is_none()
        && model.give_back.is_none();
    !model.token.unwanted
        && !model.token.fresh
        && !asleep
        && !matches!(model.lifecycle, Lifecycle::Aborted | Lifecycle::Stopped)
}

impl Oracle for ATokenIsHad {
    fn name(&self) -> &'static str {
        "L5 a-token-is-had"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        if model.is_held() {
            return Ok(());
        }
        if model.policy.authenticated {
            self.note(step.at, step.worker as usize, wants(model))?;
        }
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        let free = model.lanes_taken() < usize::from(model.policy.max_calls) && model.link.failures == 0;
        if !wants(model) || model.token.refreshing || !free {
            return Ok(());
        }
        waits(&model.token, model.latest, until)
    }

    /// A hub renews its token whatever its workers do.
    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let hub = view.hub;
        let wants = !hub.token.unwanted && !hub.token.fresh && !matches!(view.step.action, Action::Stopped);
        if hub.policy.authenticated {
            self.note(view.step.at, self.workers + view.index, wants)?;
        }
        match view.wait() {
            Some((until, _)) if wants && !hub.token.refreshing && hub.has_lane() => {
                waits(&hub.token, hub.latest, until)
            }
            _ => Ok(()),
        }
    }

    fn hub_life(&mut self, index: usize) {
        if let Some(missing) = self.missing.get_mut(self.workers + index) {
            *missing = None;
        }
    }

    fn life(&mut self, worker: u32, _: &Model) {
        if let Some(missing) = self.missing.get_mut(worker as usize) {
            *missing = None;
        }
    }

    fn healed(&mut self, at: Instant) {
        self.healed_at = Some(at);
    }

    fn finish(&mut self, at: Instant, models: &[Model]) -> Result<(), (Option<u32>, String)> {
        for (worker, model) in (0..).zip(models) {
            if model.alive
                && !model.is_held()
                && wants(model)
                && let Some(late) = self.late(at, worker as usize)
            {
                return Err((Some(worker), format!("has no token {late}")));
            }
        }
        for hub in self.workers..self.missing.len() {
            if let Some(late) = self.late(at, hub) {
                return Err((u32::try_from(hub).ok(), format!("has no token {late}")));
            }
        }
        Ok(())
    }
}

/// No wait goes past the time to ask.
fn waits(token: &TokenGate, now: Instant, until: Option<Instant>) -> Verdict {
    let due = token.opens.hi;
    if due > now && until.is_some_and(|until| until <= due) {
        return Ok(());
    }
    let until = until.map_or_else(|| "an input".to_owned(), secs);
    Err(format!("waits for {until} without a token, though it may ask for one by {}", secs(due)))
}
