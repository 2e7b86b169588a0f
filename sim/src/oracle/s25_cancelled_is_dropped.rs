//! S25: what the server has ended is dropped.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::machine::{Action, EntryId, Input, Instant, Loss, RecallReason, TaskKey};

use super::model::{HeldTask, Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::event::Effect;
use crate::scenario::Setting;

/// The server is asked about a running task at its interval, at most one tenth early, and not while a
/// question is in flight. An outcome of a task that the server has ended is not reported, and its run is
/// recalled at once. Without a fault that is within the interval and one call of the task's end.
#[derive(Debug)]
pub(super) struct CancelledIsDropped {
    /// When each task ended that a worker runs.
    ended: BTreeMap<(u32, TaskKey), Instant>,
    call: Duration,
}

impl CancelledIsDropped {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { ended: BTreeMap::new(), call: setting.bounds.round_trip }
    }

    /// A worker's run of a task that has ended goes on for too long.
    fn late(&self, at: Instant, worker: u32, model: &Model) -> Verdict {
        let Some(interval) = model.policy.ask_interval.filter(|_| !self.ended.is_empty()) else {
            return Ok(());
        };
        let running = model.all().filter(|held| held.outcome.is_none() && !held.recalled && !held.ended);
        for held in running {
            let Some(ended) = self.ended.get(&(worker, held.key)) else { continue };
            // It may have ended before an earlier life's run was taken back.
            let ended = held.run_at.max(*ended);
            if model.asks(held.entry.index()) {
                // Its answer takes long.
                continue;
            }
            // A slow clock takes up to a ninth longer. Trouble since then explains more.
            let limit = interval * 10 / 9 + self.call + SLACK;
            let troubled = model.trouble_at.is_some_and(|trouble| trouble.saturating_add(interval) >= ended);
            if !troubled && at.saturating_duration_since(ended) > limit {
                return Err(format!(
                    "runs task {:032x} at {}, which has ended at {}: it is asked about every {} s",
                    held.key.to_u128(),
                    secs(at),
                    secs(ended),
                    interval.as_secs()
                ));
            }
        }
        Ok(())
    }
}

/// For a driver's timers.
const SLACK: Duration = Duration::from_secs(1);

impl Oracle for CancelledIsDropped {
    fn name(&self) -> &'static str {
        "S25 cancelled-is-dropped"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        match *step.action {
            Action::Update { entry, .. } | Action::Spill { entry, .. } => match model.held(entry) {
                Some(held) if held.ended => {
                    Err(format!("reports task {:032x}, which the server has ended", held.key.to_u128()))
                }
                _ => Ok(()),
            },
            Action::Ask { entry, .. } => asks(model, entry),
            Action::Recall { entry, why: RecallReason::Cancelled } => match model.held(entry) {
                Some(held) if held.ended => Ok(()),
                _ => Err("stops a run because the server has ended its task, which nobody said".to_owned()),
            },
            Action::Discard { entry, why } => match model.held(entry) {
                Some(held) if held.ended && why != Loss::Ended && model.lifecycle != Lifecycle::Aborted => {
                    Err(format!(
                        "gives up task {:032x}, which the server has ended, for {why:?}",
                        held.key.to_u128()
                    ))
                }
                _ => Ok(()),
            },
            Action::Wait { until, .. } if !model.is_held() => {
                waits(model)?;
                if !model.is_unhindered() {
                    return Ok(());
                }
                past(model, until)?;
                if matches!(step.input, Input::Tick) {
                    self.late(step.at, step.worker, model)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let Some((until, _)) = view.wait() else { return Ok(()) };
        let at = view.step.at;
        view.each(|worker, model| {
            waits(model)?;
            if !view.hub.lets_call(model) {
                return Ok(());
            }
            past(model, until)?;
            let interval = model.policy.ask_interval.unwrap_or_default();
            let calm = view.hub.trouble_at.is_none_or(|trouble| trouble.saturating_add(interval * 2) < at);
            if calm { self.late(at, worker, model) } else { Ok(()) }
        })
    }

    fn server(&mut self, at: Instant, effect: &Effect, _: &[Model]) -> Verdict {
        match *effect {
            Effect::Cancelled { key, worker } => {
                self.ended.insert((worker, key), at);
            }
            Effect::Delivered { key, worker, .. } => {
                self.ended.remove(&(worker, key));
            }
            _ => {}
        }
        Ok(())
    }
}

fn asks(model: &Model, entry: EntryId) -> Verdict {
    let Some(held) = model.held(entry) else { return Ok(()) };
    let key = held.key.to_u128();
    match held.ask.filter(|_| held.outcome.is_none() && !held.ended) {
        Some(due) if model.latest >= due.lo => Ok(()),
        Some(due) => Err(format!(
            "asks about task {key:032x} at {}, and not before {} should it",
            secs(model.latest),
            secs(due.lo)
        )),
        None => Err(format!("asks about task {key:032x}, which does not run, or of which it should not ask")),
    }
}

/// No wait goes past a question.
fn past(model: &Model, until: Option<Instant>) -> Verdict {
    if model.running == 0 || model.is_ruby() {
        return Ok(());
    }
    match model.next_question() {
        Some((held, due)) if due <= model.latest || until.is_none_or(|until| until > due) => {
            Err(format!("waits without asking about task {:032x} at {}", held.key.to_u128(), secs(due)))
        }
        _ => Ok(()),
    }
}

/// No wait leaves a run behind whose task has ended.
fn waits(model: &Model) -> Verdict {
    if model.held == 0 || matches!(model.lifecycle, Lifecycle::Aborted | Lifecycle::Stopped) {
        return Ok(());
    }
    let runs = |held: &&HeldTask| held.ended && !held.recalled && !held.settled && !held.reporting;
    match model.all().find(runs) {
        Some(held) => Err(format!(
            "holds task {:032x}, which the server has ended, and says nothing",
            held.key.to_u128()
        )),
        None => Ok(()),
    }
}
