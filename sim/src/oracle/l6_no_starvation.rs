//! L6: no starvation.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use downbeat_core::machine::{Action, Instant};

use super::model::HeldTask;
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::scenario::Setting;

/// What is owed comes before what is wanted. No report is sent while another task's lease is due, and no poll
/// and no question while a lease or a result is. A result goes before the extension of its own lease, which
/// it ends. So a due lease waits for at most the one call that holds the lane. Behind a hub: no worker polls
/// while another's lease or result that could be sent has been due since before the latest wait.
#[derive(Debug)]
pub(super) struct NoStarvation {
    /// When each hub last waited, by its clock.
    waited: Vec<Instant>,
}

impl NoStarvation {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { waited: vec![Instant::ZERO; setting.hubs.len()] }
    }
}

impl Oracle for NoStarvation {
    fn name(&self) -> &'static str {
        "L6 no-starvation"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let now = model.latest;
        let (polls, reported) = match *step.action {
            Action::Poll { .. } | Action::Ask { .. } => (true, None),
            Action::Update { entry, .. } => (false, model.held(entry)),
            Action::Extend { entry, .. } => {
                return model.held(entry).map_or(Ok(()), |held| extends(held, now));
            }
            _ => return Ok(()),
        };
        if model.held == 0 {
            return Ok(());
        }
        let due = |held: &HeldTask| model.policy.extend && !held.lease.is_zero() && held.extend.hi < now;
        // A report ends the lease of its own task: it may take the turn of that lease.
        let own = reported.filter(|held| due(held) && !model.extends(held.entry.index()));
        let lease = model.next_extension().filter(|(held, at)| {
            model.policy.extend
                && *at < now
                && own.is_none_or(|own| own.entry != held.entry && *at < own.extend.lo)
        });
        let result = model.next_report().filter(|(_, due)| polls && *due < now);
        match (lease, result) {
            (Some((held, due)), _) => Err(format!(
                "sends {:?} while the lease of task {:032x} is due since {}",
                step.action,
                held.key.to_u128(),
                secs(due)
            )),
            (None, Some((held, due))) => Err(format!(
                "polls, or asks, while the outcome of task {:032x} is due since {}",
                held.key.to_u128(),
                secs(due)
            )),
            (None, None) => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let Some(waited) = self.waited.get_mut(view.index) else { return Ok(()) };
        if view.wait().is_some() {
            *waited = view.hub.latest;
        }
        if !matches!(view.step.action, Action::Poll { .. }) {
            return Ok(());
        }
        view.each(|_, model| {
            if model.held == 0 || !model.has_lane() {
                return Ok(());
            }
            let lease = model.next_extension().filter(|_| model.policy.extend);
            let due = lease.into_iter().chain(model.next_report()).find(|(_, due)| *due < *waited);
            due.map_or(Ok(()), |(held, due)| {
                let (task, due) = (held.key.to_u128(), secs(due));
                Err(format!("task {task:032x} has to be seen to since {due}, and another polls first"))
            })
        })
    }

    fn hub_life(&mut self, index: usize) {
        if let Some(waited) = self.waited.get_mut(index) {
            *waited = Instant::ZERO;
        }
    }
}

fn extends(held: &HeldTask, now: Instant) -> Verdict {
    if held.outcome.is_none() || held.reporting || now < held.report.hi {
        return Ok(());
    }
    Err(format!(
        "extends the lease of task {:032x}, whose outcome could be reported since {}",
        held.key.to_u128(),
        secs(held.report.hi)
    ))
}
