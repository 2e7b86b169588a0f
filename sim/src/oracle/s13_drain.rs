//! S13: a drain drops nothing.

use downbeat_core::machine::{Action, RecallReason};

use super::model::{HeldTask, Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict};

/// After `Drain` nothing is asked for, and the worker stops when nothing is held and no poll is in flight.
/// What arrives late is run or given back, what still runs at the end of its time is recalled, and a stopped
/// worker stays so.
#[derive(Debug)]
pub(super) struct Drain;

impl Oracle for Drain {
    fn name(&self) -> &'static str {
        "S13 drain"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        if step.lifecycle_before == Lifecycle::Stopped && !matches!(step.action, Action::Stopped) {
            return Err("acts after it has stopped".to_owned());
        }
        match *step.action {
            // A worker of a hub that has given up hears of late tasks still; without a hub it would have been
            // gone.
            Action::Ignore { .. }
                if model.is_held() && matches!(model.lifecycle, Lifecycle::Aborted | Lifecycle::Stopped) =>
            {
                Ok(())
            }
            Action::Ignore { key } if !model.known && !model.is_late_delivery(step.input) => {
                Err(format!("drops task {:032x}, which is not here", key.to_u128()))
            }
            Action::Poll { .. } if model.lifecycle.is_ending() => Err("polls while draining".to_owned()),
            Action::Update { take_next: true, .. } if model.lifecycle.is_ending() => {
                Err("takes the next task while draining".to_owned())
            }
            Action::Stopped if step.lifecycle_before != Lifecycle::Stopped => stops(model),
            Action::Wait { .. } if !model.is_held() => recalls(model),
            Action::Recall { why: RecallReason::Drain, .. }
                if !matches!(model.lifecycle, Lifecycle::Recalling { .. }) =>
            {
                Err("recalls a task before the drain's time is over".to_owned())
            }
            Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ask { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let stopped = view.members().any(|(_, model)| model.lifecycle == Lifecycle::Stopped);
        if matches!(view.step.action, Action::Stopped) {
            return view.each(|_, model| {
                if model.lifecycle == Lifecycle::Stopped {
                    Ok(())
                } else if model.held > 0 {
                    Err(format!("stops while it holds {} tasks", model.held))
                } else {
                    stops(model)
                }
            });
        }
        if stopped {
            return Err("acts after it has stopped".to_owned());
        }
        if view.wait().is_some() { view.each(|_, model| recalls(model)) } else { Ok(()) }
    }
}

fn recalls(model: &Model) -> Verdict {
    let runs = |held: &&HeldTask| held.outcome.is_none() && !held.recalled;
    match model.all().find(runs).filter(|_| matches!(model.lifecycle, Lifecycle::Recalling { .. })) {
        Some(held) => {
            Err(format!("does not recall task {:032x}, though the drain's time is over", held.key.to_u128()))
        }
        None => Ok(()),
    }
}

fn stops(model: &Model) -> Verdict {
    match model.lifecycle {
        Lifecycle::Open | Lifecycle::Paused => Err("stops though nobody told it to".to_owned()),
        Lifecycle::Draining { .. } | Lifecycle::Recalling { .. } if model.poll().is_some() => {
            Err("stops while a poll is in flight, whose tasks would wait for their timeout".to_owned())
        }
        Lifecycle::Draining { .. }
        | Lifecycle::Recalling { .. }
        | Lifecycle::Aborted
        | Lifecycle::Stopped => Ok(()),
    }
}
