//! S24: nothing is given back after the task's poll timeout.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::machine::{Action, Input, Instant, TaskKey};

use super::model::Model;
use super::{Oracle, Step, Verdict, secs};
use crate::event::{Effect, Report};

/// No give-back and no yield is sent in the last second of a task's poll timeout, nor after it: the server would end the
/// workflow for it (R-TIMEOUT-3). None that was sent in time, and took no longer than a second, does.
#[derive(Debug, Default)]
pub(super) struct NotGivenBackLate {
    /// When the latest yield of a task reached the server, and when it had been sent.
    yields: BTreeMap<TaskKey, (Instant, u32, Instant)>,
}

impl Oracle for NotGivenBackLate {
    fn name(&self) -> &'static str {
        "S24 not-given-back-late"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        match *step.action {
            Action::Update { entry, instead: None, .. } => match model.held(entry) {
                Some(held) if held.yielded && held.is_late(model.latest) => Err(format!(
                    "reports the yield of task {:032x} at {}: after {} that ends its workflow",
                    held.key.to_u128(),
                    secs(model.latest),
                    secs(held.give_back_until)
                )),
                _ => Ok(()),
            },
            Action::GiveBack { key, .. } if model.is_late_delivery(step.input) => {
                Err(format!("gives task {:032x} back, which ends its workflow by now", key.to_u128()))
            }
            Action::GiveBack { key, .. } if !matches!(step.input, Input::Leased { .. }) => {
                match model.give_back.filter(|give_back| give_back.is_late(model.latest)) {
                    Some(_) => Err(format!(
                        "gives task {:032x} back again, which ends its workflow, or nothing, by now",
                        key.to_u128()
                    )),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn server(&mut self, at: Instant, effect: &Effect, models: &[Model]) -> Verdict {
        match *effect {
            Effect::Reported { key, worker, call: Some(call), report: Report::Yield, applied: true } => {
                let sent = models.get(worker as usize).and_then(|model| {
                    model.calls.iter().find(|open| open.id == call).map(|open| open.sent_at)
                });
                if let Some(sent) = sent {
                    self.yields.insert(key, (at, worker, sent));
                }
            }
            Effect::Lapsed { key, worker: u32::MAX } => {
                let Some((reached, worker, sent)) = self.yields.remove(&key) else { return Ok(()) };
                if reached == at && at.saturating_duration_since(sent) <= Duration::from_secs(1) {
                    return Err(format!(
                        "a yield of worker {worker}, sent at {}, ended the workflow of task {:032x}",
                        secs(sent),
                        key.to_u128()
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
