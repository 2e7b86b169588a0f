//! L2: every result is accepted.

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::model::{HeldTask, Model};
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::scenario::Setting;

/// Within [`crate::scenario::Bounds::result_accepted`] of its end, or of the last fault; and no wait goes past a report that is
/// due.
#[derive(Debug)]
pub(super) struct EveryResultAccepted {
    bound: Duration,
    healed_at: Option<Instant>,
}

impl EveryResultAccepted {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { bound: setting.bounds.result_accepted, healed_at: None }
    }

    fn late(&self, at: Instant, held: &HeldTask) -> Option<String> {
        let from = held.ended_at.max(self.healed_at?);
        let took = at.saturating_duration_since(from);
        (held.is_final() && took > self.bound).then(|| {
            format!(
                "{} s after {}; the bound is {} s; {} reports failed",
                took.as_secs(),
                secs(from),
                self.bound.as_secs(),
                held.attempt
            )
        })
    }
}

impl Oracle for EveryResultAccepted {
    fn name(&self) -> &'static str {
        "L2 every-result-accepted"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        if let Some(late) = model.freed.as_ref().and_then(|held| self.late(step.at, held)) {
            return Err(format!("a result was accepted {late}"));
        }
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        if model.held > 0 && model.is_unhindered() { waits(model, until) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let Some((until, _)) = view.wait() else { return Ok(()) };
        view.each(
            |_, model| {
                if model.held > 0 && view.hub.lets_call(model) { waits(model, until) } else { Ok(()) }
            },
        )
    }

    fn healed(&mut self, at: Instant) {
        self.healed_at = Some(at);
    }

    fn finish(&mut self, at: Instant, models: &[Model]) -> Result<(), (Option<u32>, String)> {
        for (worker, model) in (0..).zip(models) {
            let held = model.all().filter(|_| model.alive && !model.is_ruby());
            if let Some(late) =
                held.filter(|held| held.outcome.is_some()).find_map(|held| self.late(at, held))
            {
                return Err((Some(worker), format!("a result has not been accepted {late}")));
            }
        }
        Ok(())
    }
}

/// No wait goes past a report.
fn waits(model: &Model, until: Option<Instant>) -> Verdict {
    match model.next_report() {
        Some((held, due)) if due <= model.latest || until.is_none_or(|until| until > due) => {
            let until = until.map_or_else(|| "an input".to_owned(), secs);
            Err(format!(
                "waits for {until}, though the outcome of task {:032x} has to be reported at {}",
                held.key.to_u128(),
                secs(due)
            ))
        }
        _ => Ok(()),
    }
}
