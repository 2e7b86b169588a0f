//! S15: time does not go backwards, and a jump brings one round.

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::model::Model;
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::scenario::Setting;

/// From here on a step of time is a jump.
const JUMP: Duration = Duration::from_secs(600);

/// The rule's number and name.
pub(super) const NAME: &str = "S15 time";

/// An earlier `now` counts as the latest seen; a jump over hours brings one round of what is due.
#[derive(Debug)]
pub(super) struct Time {
    /// Actions since a jump, if one is being worked off.
    since_jump: Vec<Option<u32>>,
    hubs: Vec<Option<u32>>,
}

impl Time {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { since_jump: vec![None; setting.policies.len()], hubs: vec![None; setting.hubs.len()] }
    }
}

impl Oracle for Time {
    fn name(&self) -> &'static str {
        NAME
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        clock(step)?;
        if model.is_held() {
            return Ok(());
        }
        goes_on(step.action, step.local, step.before)?;
        let most = 4 * u32::from(model.capacity) + 8;
        let jumped = model.latest.saturating_duration_since(step.before) > JUMP;
        self.since_jump
            .get_mut(step.worker as usize)
            .map_or(Ok(()), |since| count(since, jumped, step.action, most))
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let action = &view.step.action;
        goes_on(action, view.step.local, view.before)?;
        let most = view.members().map(|(_, model)| 4 * u32::from(model.capacity) + 8).sum::<u32>() + 8;
        let jumped = view.hub.latest.saturating_duration_since(view.before) > JUMP;
        self.hubs.get_mut(view.index).map_or(Ok(()), |since| count(since, jumped, action, most))
    }

    fn hub_life(&mut self, index: usize) {
        if let Some(since) = self.hubs.get_mut(index) {
            *since = None;
        }
    }

    fn life(&mut self, worker: u32, _: &Model) {
        if let Some(count) = self.since_jump.get_mut(worker as usize) {
            *count = None;
        }
    }
}

fn goes_on(action: &Action, local: Instant, before: Instant) -> Verdict {
    let Action::Wait { until: Some(until), .. } = *action else { return Ok(()) };
    if local >= before || until > before {
        return Ok(());
    }
    Err(format!(
        "takes {} for now, though it has seen {}, and waits until {}",
        secs(local),
        secs(before),
        secs(until)
    ))
}

fn count(since: &mut Option<u32>, jumped: bool, action: &Action, most: u32) -> Verdict {
    if jumped {
        *since = Some(0);
    }
    match (since.as_mut(), action) {
        (Some(_), Action::Wait { .. } | Action::Stopped) => *since = None,
        (Some(actions), _) => {
            *actions += 1;
            if *actions > most {
                return Err(format!("{actions} actions after a jump of time; {most} are one round"));
            }
        }
        (None, _) => {}
    }
    Ok(())
}

/// In a simulation a clock's time is known, up to the steps that are told an earlier one.
fn clock(step: &Step<'_>) -> Verdict {
    let Some((shows, may_be_earlier)) = step.shows else { return Ok(()) };
    if step.local == shows || (step.local < shows && may_be_earlier) {
        return Ok(());
    }
    Err(format!(
        "its clock shows {} at {} of true time, where it must show {}",
        secs(step.local),
        secs(step.at),
        secs(shows)
    ))
}
