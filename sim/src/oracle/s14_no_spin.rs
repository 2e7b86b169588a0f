//! S14: no spin.

use downbeat_core::machine::{Action, Input, Instant};

use super::book::Page;
use super::{Oracle, Ruling, Setting, Step, secs};

/// `Wait.until` is later than now; between two inputs other than `Tick` there are at most `4 N + 8` steps; a repeated
/// `Tick` after `Wait` changes nothing.
#[derive(Debug)]
pub(super) struct NoSpin {
    workers: Vec<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    steps: u32,
    wait: Option<(Instant, Action)>,
}

impl NoSpin {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { workers: vec![State::default(); setting.policies.len()] }
    }
}

impl Oracle for NoSpin {
    fn name(&self) -> &'static str {
        "S14 no-spin"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        let Some(state) = self.workers.get_mut(step.worker as usize) else { return Ok(()) };
        let tick = *step.input == Input::Tick;
        if let Some((_, wait)) = state.wait.filter(|(at, _)| tick && *at == page.latest) {
            if wait != *step.action {
                return Err(format!(
                    "answers {:?} to a second Tick at one time, after {wait:?}",
                    step.action
                ));
            }
            return Ok(());
        }
        state.steps = if tick { state.steps + 1 } else { 0 };
        let most = 4 * u32::from(page.capacity) + 8;
        if state.steps > most {
            return Err(format!("{} steps since the last input; {most} are allowed", state.steps));
        }
        state.wait = None;
        if let Action::Wait { until, .. } = *step.action {
            if let Some(until) = until.filter(|until| *until <= page.latest) {
                return Err(format!("waits until {}, and it is {}", secs(until), secs(page.latest)));
            }
            state.wait = Some((page.latest, *step.action));
        }
        Ok(())
    }

    fn life(&mut self, worker: u32, _: &Page) {
        if let Some(state) = self.workers.get_mut(worker as usize) {
            *state = State::default();
        }
    }
}
