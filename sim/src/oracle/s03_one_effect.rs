//! S3: at most one effect.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{Action, Instant, TaskKey};

use super::book::Page;
use super::{Oracle, Ruling, Step};
use crate::event::{Effect, Report};

/// The server applies at most one terminal report of each task, and repeats say what the first said.
#[derive(Debug, Default)]
pub(super) struct OneEffect {
    ended: BTreeSet<TaskKey>,
    said: BTreeMap<(TaskKey, u32), Report>,
}

impl Oracle for OneEffect {
    fn name(&self) -> &'static str {
        "S3 one-effect"
    }

    fn judges_seed(&self) -> bool {
        true
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        if let Action::Run { key, .. } = *step.action {
            self.said.remove(&(key, step.worker));
        }
        Ok(())
    }

    fn server(&mut self, _: Instant, effect: &Effect, _: &[Page]) -> Ruling {
        let Effect::Reported { key, worker, report, applied, .. } = *effect else { return Ok(()) };
        if report == Report::Yield {
            return Ok(());
        }
        if applied && !self.ended.insert(key) {
            return Err(format!("task {:032x} ended twice at the server", key.to_u128()));
        }
        match self.said.insert((key, worker), report) {
            Some(before) if before != report => Err(format!(
                "worker {worker} reported task {:032x} as {before:?} and then as {report:?}",
                key.to_u128()
            )),
            _ => Ok(()),
        }
    }
}
