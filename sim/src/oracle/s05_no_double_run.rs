//! S5: no two runs of a task overlap.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{Action, Input, Instant, TaskKey};

use super::model::Model;
use super::{Oracle, Step, Verdict};
use crate::event::Effect;
use crate::scenario::Setting;

/// No two runs of a task overlap, in one worker or across the fleet. A lapsed lease gives the retry a new
/// key, so that two runs of one key are a mistake. The exception is a task that the server handed out without
/// a lease, as a second delivery.
#[derive(Debug)]
pub(super) struct NoDoubleRun {
    runs: BTreeMap<TaskKey, u32>,
    sees_server: bool,
    delivers_twice: bool,
    /// Who was given a lease with which call.
    leased: BTreeSet<(TaskKey, u32, u64)>,
    /// Handed out without a lease once: its runs report each other's ends, and the server believes them.
    muddled: BTreeSet<TaskKey>,
}

impl NoDoubleRun {
    pub(super) fn new(setting: &Setting) -> Self {
        let (sees_server, delivers_twice) = (setting.sees_server, setting.delivers_twice);
        Self {
            runs: BTreeMap::new(),
            sees_server,
            delivers_twice,
            leased: BTreeSet::new(),
            muddled: BTreeSet::new(),
        }
    }

    /// A run that the server did not ask for. A second delivery goes to the worker that has the task, and may be so slow
    /// that another has it when it comes.
    fn unleased(&self, worker: u32, key: TaskKey) -> Verdict {
        let key_of = key.to_u128();
        match self.runs.get(&key) {
            _ if self.delivers_twice => Ok(()),
            Some(other) if *other != worker => {
                Err(format!("runs task {key_of:032x} while worker {other} runs it"))
            }
            _ => Err(format!("runs task {key_of:032x}, which the server has not handed to it")),
        }
    }

    fn is_leased(&mut self, step: &Step<'_>, key: TaskKey) -> bool {
        let Input::Leased { call, .. } = *step.input else { return true };
        !self.sees_server || self.leased.remove(&(key, step.worker, call.to_bits()))
    }
}

impl Oracle for NoDoubleRun {
    fn name(&self) -> &'static str {
        "S5 no-double-run"
    }

    fn judges_ruby(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        if let Input::Finished { entry, .. } = *step.input
            && let Some(held) = step.model.held(entry)
        {
            self.runs.remove(&held.key);
        }
        match *step.action {
            Action::Discard { entry, .. } => {
                if let Some(held) = step.model.held(entry).filter(|held| held.outcome.is_none()) {
                    self.runs.remove(&held.key);
                }
                Ok(())
            }
            Action::Run { key, .. }
                if step.model.all().any(|held| held.key == key && held.outcome.is_none()) =>
            {
                Err(format!("runs task {:032x} while it runs it already", key.to_u128()))
            }
            Action::Run { key, .. } if !self.is_leased(step, key) => {
                self.muddled.insert(key);
                self.unleased(step.worker, key)
            }
            Action::Run { key, .. } if self.muddled.contains(&key) => Ok(()),
            Action::Run { key, .. } => match self.runs.insert(key, step.worker) {
                Some(other) => Err(format!(
                    "runs task {:032x} while worker {other} runs it, whose lease has not ended",
                    key.to_u128()
                )),
                None => Ok(()),
            },
            // The retry goes on where the task runs that it retries: one run, of another key.
            Action::Adopt { entry, key } => {
                let leased = self.is_leased(step, key);
                if let Some(held) = step.model.held(entry) {
                    self.runs.remove(&held.key);
                }
                if !leased {
                    self.muddled.insert(key);
                    return self.unleased(step.worker, key);
                }
                match self.runs.insert(key, step.worker) {
                    Some(other) => Err(format!(
                        "adopts task {:032x} while worker {other} runs it, whose lease has not ended",
                        key.to_u128()
                    )),
                    None => Ok(()),
                }
            }
            Action::GiveBack { .. }
            | Action::Lapsed { .. }
            | Action::Ask { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn server(&mut self, _: Instant, effect: &Effect, _: &[Model]) -> Verdict {
        if let Effect::Delivered { key, worker, call, .. } = *effect {
            self.leased.insert((key, worker, call.to_bits()));
        }
        Ok(())
    }

    fn life(&mut self, _: u32, model: &Model) {
        for held in model.all().filter(|held| held.outcome.is_none()) {
            self.runs.remove(&held.key);
        }
    }
}
