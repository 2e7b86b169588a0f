//! S23: a lapsed lease is extended no more, and it is said once.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use downbeat_core::machine::{Action, EntryId, Instant, OnLapse, RecallReason};

use super::model::{HeldTask, Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict, secs};

/// A lease that is over by the worker's own clock, while no extension of it is in flight, is extended no
/// more. The machine says so once, by `Lapsed` or by the recall of its run, and not before.
#[derive(Debug)]
pub(super) struct LapsesAreKnown;

impl Oracle for LapsesAreKnown {
    fn name(&self) -> &'static str {
        "S23 lapses-are-known"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        match *step.action {
            Action::Extend { entry, .. } => {
                match model.held(entry).filter(|held| held.lapses <= model.latest) {
                    Some(held) => Err(format!(
                        "extends the lease of task {:032x}, which is over since {}",
                        held.key.to_u128(),
                        secs(held.lapses)
                    )),
                    None => Ok(()),
                }
            }
            Action::Lapsed { entry } => said(model, entry),
            Action::Recall { entry, why: RecallReason::Lapsed } => {
                if model.policy.on_lapse != OnLapse::Stop {
                    return Err("stops a run because its lease is over, which nobody asked for".to_owned());
                }
                said(model, entry)
            }
            Action::Wait { .. } if !model.is_held() => waits(model),
            _ => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        if view.wait().is_some() { view.each(|_, model| waits(model)) } else { Ok(()) }
    }
}

fn is_over(model: &Model, held: &HeldTask, now: Instant) -> bool {
    !held.lease.is_zero() && held.lapses <= now && !model.extends_own(held.entry)
}

fn said(model: &Model, entry: EntryId) -> Verdict {
    match model.held(entry) {
        Some(held) if is_over(model, held, model.latest) => Ok(()),
        Some(held) if held.lease.is_zero() => {
            Err(format!("says a second time that the lease of task {:032x} is over", held.key.to_u128()))
        }
        Some(held) => Err(format!(
            "says at {} that the lease of task {:032x} is over, which ends at {}, or may have been extended",
            secs(model.latest),
            held.key.to_u128(),
            secs(held.lapses)
        )),
        None => Ok(()),
    }
}

/// No wait passes a lapse over in silence, and none goes past one.
fn waits(model: &Model) -> Verdict {
    if model.held == 0 || matches!(model.lifecycle, Lifecycle::Aborted | Lifecycle::Stopped) {
        return Ok(());
    }
    match model.all().find(|held| !held.settled && is_over(model, held, model.latest)) {
        Some(held) => Err(format!(
            "says nothing of the lease of task {:032x}, which is over since {}",
            held.key.to_u128(),
            secs(held.lapses)
        )),
        None => Ok(()),
    }
}
