//! S14: no spin.

use downbeat_core::machine::{Action, Input, Instant};

use super::model::Model;
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::scenario::Setting;

/// `Wait.until` is later than now, and between two inputs other than `Tick` there are at most `4 N + 8`
/// steps. A repeated `Tick` after `Wait` changes nothing.
#[derive(Debug)]
pub(super) struct NoSpin {
    workers: Vec<State>,
    hubs: Vec<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    steps: u32,
    wait: Option<(Instant, Action)>,
}

impl NoSpin {
    pub(super) fn new(setting: &Setting) -> Self {
        let states = |count: usize| vec![State::default(); count];
        Self { workers: states(setting.policies.len()), hubs: states(setting.hubs.len()) }
    }
}

impl State {
    fn step(&mut self, input: &Input, action: &Action, now: Instant, most: u32) -> Verdict {
        let tick = *input == Input::Tick;
        if let Some((_, wait)) = self.wait.filter(|(at, _)| tick && *at == now) {
            if wait != *action {
                return Err(format!("answers {action:?} to a second Tick at one time, after {wait:?}"));
            }
            return Ok(());
        }
        self.steps = if tick { self.steps + 1 } else { 0 };
        if self.steps > most {
            return Err(format!("{} steps since the last input; {most} are allowed", self.steps));
        }
        self.wait = None;
        if let Action::Wait { until, .. } = *action {
            if let Some(until) = until.filter(|until| *until <= now) {
                return Err(format!("waits until {}, and it is {}", secs(until), secs(now)));
            }
            self.wait = Some((now, *action));
        }
        Ok(())
    }
}

impl Oracle for NoSpin {
    fn name(&self) -> &'static str {
        "S14 no-spin"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        match self.workers.get_mut(step.worker as usize) {
            Some(state) if !model.is_held() => {
                state.step(step.input, step.action, model.latest, 4 * u32::from(model.capacity) + 8)
            }
            _ => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let Some(state) = self.hubs.get_mut(view.index) else { return Ok(()) };
        let most = view.members().map(|(_, model)| 4 * u32::from(model.capacity) + 8).sum::<u32>() + 8;
        state.step(&view.step.input, &view.step.action, view.hub.latest, most)
    }

    fn hub_life(&mut self, index: usize) {
        if let Some(state) = self.hubs.get_mut(index) {
            *state = State::default();
        }
    }

    fn life(&mut self, worker: u32, _: &Model) {
        if let Some(state) = self.workers.get_mut(worker as usize) {
            *state = State::default();
        }
    }
}
