//! S22: a finished result is with the server, or in the store, in time.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::model::{CallKind, HeldTask, Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict, secs};

/// With a store, a result is accepted, in the store, or given up with a reason, within `store_after` of its
/// end and one report's time limit, whatever else is due and whatever the link does. The time is three times
/// `store_after` if the server answers and refuses this very result.
#[derive(Debug)]
pub(super) struct StoredInTime;

impl Oracle for StoredInTime {
    fn name(&self) -> &'static str {
        "S22 stored-in-time"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        if !matches!(step.action, Action::Wait { .. }) || step.model.is_held() {
            return Ok(());
        }
        waits(step.model, step.at)
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        if view.wait().is_some() { view.each(|_, model| waits(model, view.step.at)) } else { Ok(()) }
    }
}

/// No wait leaves a result behind whose time has come.
fn waits(model: &Model, at: Instant) -> Verdict {
    if model.held == 0
        || !model.policy.store
        || matches!(model.lifecycle, Lifecycle::Aborted | Lifecycle::Stopped)
    {
        return Ok(());
    }
    let overdue = |held: &&HeldTask| {
        let due = held.is_final() && !held.settled && !held.ended && held.store_by <= model.latest;
        due && !(held.reporting && is_under_way(model, held, at))
    };
    match model.all().find(overdue) {
        Some(held) => Err(format!(
            "the result of task {:032x}, which should be in the store since {}, is neither there nor with the server at {}",
            held.key.to_u128(),
            secs(held.store_by),
            secs(model.latest)
        )),
        None => Ok(()),
    }
}

/// Whether a report, or a write to the store, may still be answered: a driver's limits are in true time.
fn is_under_way(model: &Model, held: &HeldTask, at: Instant) -> bool {
    model.calls.iter().any(|call| match call.kind {
        CallKind::Update { entry, .. } => {
            entry == held.entry
                && at.saturating_duration_since(call.sent_at) <= model.policy.report_timeout + SLACK
        }
        CallKind::Spill { entry } => {
            entry == held.entry && at.saturating_duration_since(call.sent_at) <= SLACK
        }
        _ => false,
    })
}

/// For a driver's timers and the store's writes.
const SLACK: Duration = Duration::from_secs(1);
