//! L1: every task ends.

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::machine::{Instant, TaskKey};

use super::model::Model;
use super::{Oracle, Verdict, secs};
use crate::event::{Effect, Report};
use crate::scenario::Setting;

/// Within [`crate::scenario::Bounds::task_ends`] of its arrival, or of the last fault.
#[derive(Debug)]
pub(super) struct EveryTaskEnds {
    bound: Duration,
    healed_at: Option<Instant>,
    /// When the first of each line of retries came.
    open: BTreeMap<TaskKey, Instant>,
    /// Those that have ended and may be retried.
    roots: BTreeMap<TaskKey, Instant>,
}

impl EveryTaskEnds {
    pub(super) fn new(setting: &Setting) -> Self {
        let bound = setting.bounds.task_ends;
        Self { bound, healed_at: None, open: BTreeMap::new(), roots: BTreeMap::new() }
    }

    fn end(&mut self, at: Instant, key: TaskKey) -> Verdict {
        let Some(came) = self.open.remove(&key) else { return Ok(()) };
        self.roots.insert(key, came);
        match self.late(at, came) {
            Some(late) => Err(format!("task {:032x} ended {late}", key.to_u128())),
            None => Ok(()),
        }
    }

    fn late(&self, at: Instant, came: Instant) -> Option<String> {
        let from = came.max(self.healed_at?);
        let took = at.saturating_duration_since(from);
        let text =
            || format!("{} s after {}; the bound is {} s", took.as_secs(), secs(from), self.bound.as_secs());
        (took > self.bound).then(text)
    }
}

impl Oracle for EveryTaskEnds {
    fn name(&self) -> &'static str {
        "L1 every-task-ends"
    }

    fn judges_ruby(&self) -> bool {
        true
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn server(&mut self, at: Instant, effect: &Effect, _: &[Model]) -> Verdict {
        match *effect {
            Effect::Scheduled { key, retry_of, .. } => {
                let root = retry_of.and_then(|of| self.roots.remove(&of));
                self.open.insert(key, root.unwrap_or(at));
                Ok(())
            }
            Effect::Lapsed { key, .. } | Effect::Cancelled { key, .. } => self.end(at, key),
            Effect::Reported { key, report, applied: true, .. } if report != Report::Yield => {
                self.end(at, key)
            }
            Effect::Delivered { .. }
            | Effect::Extended { .. }
            | Effect::Reported { .. }
            | Effect::TokenIssued { .. }
            | Effect::Unauthorized { .. } => Ok(()),
        }
    }

    fn healed(&mut self, at: Instant) {
        self.healed_at = Some(at);
    }

    fn finish(&mut self, at: Instant, _: &[Model]) -> Result<(), (Option<u32>, String)> {
        for (key, came) in &self.open {
            if let Some(late) = self.late(at, *came) {
                return Err((None, format!("task {:032x} has not ended {late}", key.to_u128())));
            }
        }
        Ok(())
    }
}
