//! S3: at most one effect.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{Action, Instant, TaskKey};

use super::model::Model;
use super::{Oracle, Step, Verdict};
use crate::event::{Effect, Report};

/// The server applies at most one terminal report of each task, and repeats say what the first said.
#[derive(Debug, Default)]
pub(super) struct OneEffect {
    ended: BTreeSet<TaskKey>,
    said: BTreeMap<(TaskKey, u32), Report>,
    /// Tasks that were reported as failed in their outcomes' place: a repeat from a store says the outcome.
    replaced: BTreeSet<TaskKey>,
    /// Tasks whose report was under way when its process died: it may arrive after the next run's.
    under_way: BTreeSet<TaskKey>,
}

impl Oracle for OneEffect {
    fn name(&self) -> &'static str {
        "S3 one-effect"
    }

    fn judges_ruby(&self) -> bool {
        true
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        match *step.action {
            Action::Run { key, .. } => {
                self.said.remove(&(key, step.worker));
            }
            Action::Update { entry, instead: Some(_), .. }
            | Action::Spill { entry, instead: Some(_), .. } => {
                if let Some(held) = step.model.held(entry) {
                    self.replaced.insert(held.key);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn life(&mut self, _: u32, model: &Model) {
        let under_way = model.all().filter(|held| held.reporting);
        self.under_way.extend(under_way.map(|held| held.key));
    }

    fn server(&mut self, _: Instant, effect: &Effect, _: &[Model]) -> Verdict {
        let Effect::Reported { key, worker, report, applied, .. } = *effect else { return Ok(()) };
        if report == Report::Yield {
            return Ok(());
        }
        if applied && !self.ended.insert(key) {
            return Err(format!("task {:032x} ended twice at the server", key.to_u128()));
        }
        match self.said.insert((key, worker), report) {
            Some(before)
                if before != report && !self.replaced.contains(&key) && !self.under_way.contains(&key) =>
            {
                Err(format!(
                    "worker {worker} reported task {:032x} as {before:?} and then as {report:?}",
                    key.to_u128()
                ))
            }
            _ => Ok(()),
        }
    }
}
