//! S4: no yield is repeated when that could take the task from its next holder.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::collections::BTreeSet;

use downbeat_core::machine::{Action, Input, Instant, Outcome, TaskKey};

use super::model::Model;
use super::{Oracle, Step, Verdict, secs};
use crate::event::{Effect, Report};

/// A yield that may have had effect is repeated only while `now + call_timeout < first sending + callback_after`; and after a
/// crash nothing is given back that may have been.
#[derive(Debug, Default)]
pub(super) struct NoDangerousRepeat {
    /// Tasks that a worker may have given back since it got them.
    yielded: BTreeSet<(u32, TaskKey)>,
}

impl Oracle for NoDangerousRepeat {
    fn name(&self) -> &'static str {
        "S4 no-dangerous-repeat"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        if let Input::Recovered { task } = step.input
            && self.yielded.contains(&(step.worker, task.key))
        {
            return Err(format!(
                "takes task {:032x} back after a crash, which it may have given back before",
                task.key.to_u128()
            ));
        }
        if let Action::Run { key, .. } | Action::Adopt { key, .. } = *step.action {
            self.yielded.remove(&(step.worker, key));
        }
        // What is said in its place ends the run of its next holder just as well.
        let Action::Update { entry, .. } = *step.action else { return Ok(()) };
        let model = step.model;
        let Some(held) = model.held(entry) else { return Ok(()) };
        if !held.is_final() {
            self.yielded.insert((step.worker, held.key));
        }
        let (Some(Outcome::Yield { callback_after }), Some(first)) = (held.outcome, held.unsure_since) else {
            return Ok(());
        };
        let again = first.saturating_add(callback_after);
        if model.latest.saturating_add(model.policy.call_timeout) < again {
            return Ok(());
        }
        Err(format!(
            "repeats the yield of task {:032x} at {}, though it may be delivered again from {} on",
            held.key.to_u128(),
            secs(model.latest),
            secs(again)
        ))
    }

    fn server(&mut self, _: Instant, effect: &Effect, _: &[Model]) -> Verdict {
        match *effect {
            Effect::Reported { key, worker, call: None, report: Report::Yield, .. }
                if self.yielded.contains(&(worker, key)) =>
            {
                Err(format!(
                    "worker {worker} gives task {:032x} back after a crash, which it may have given back before",
                    key.to_u128()
                ))
            }
            _ => Ok(()),
        }
    }
}
