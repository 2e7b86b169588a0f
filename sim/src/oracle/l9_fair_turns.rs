//! L9: fair turns.

use downbeat_core::machine::{Action, Input, Instant};

use super::model::Model;
use super::{HubView, Oracle, Verdict};
use crate::scenario::Setting;

/// Between the moment from which a worker of a process may poll, and owes nothing else, and its poll, no other worker of
/// the process polls twice.
#[derive(Debug)]
pub(super) struct FairTurns {
    hubs: Vec<Turns>,
    /// For each worker, the number of the poll before which it has been waiting, and of its own latest.
    workers: Vec<(Option<u64>, Option<u64>)>,
    members: Vec<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    /// Polls of the process so far.
    polls: u64,
}

impl FairTurns {
    pub(super) fn new(setting: &Setting) -> Self {
        Self {
            hubs: vec![Turns::default(); setting.hubs.len()],
            workers: vec![(None, None); setting.policies.len()],
            members: setting.hubs.iter().map(|hub| hub.members.clone()).collect(),
        }
    }

    /// A poll of `worker`, or the poll inside its report.
    fn poll(&mut self, view: &HubView<'_>, worker: u32) -> Verdict {
        let Some(turns) = self.hubs.get_mut(view.index) else { return Ok(()) };
        turns.polls += 1;
        let number = turns.polls;
        let before = self.workers.get(worker as usize).and_then(|(_, latest)| *latest);
        for (other, model) in view.members().filter(|(other, _)| *other != worker) {
            let Some((waiting, _)) = self.workers.get_mut(other as usize) else { continue };
            let since = match waits(model, view.hub.latest) && model.gate.opens.hi <= view.hub.latest {
                true => *waiting.get_or_insert(number),
                false => {
                    *waiting = None;
                    continue;
                }
            };
            if before.is_some_and(|before| before >= since) {
                return Err(format!(
                    "polls a second time while worker {other} waits for its turn, {} polls of the process ago",
                    number - since
                ));
            }
        }
        if let Some(turn) = self.workers.get_mut(worker as usize) {
            *turn = (None, Some(number));
        }
        Ok(())
    }
}

impl Oracle for FairTurns {
    fn name(&self) -> &'static str {
        "L9 fair-turns"
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        // While nobody can poll, nobody waits for a turn.
        let controlled = view.step.told.is_none() && matches!(view.step.input, Input::Control(_));
        if controlled || view.hub.link.failures > 0 || !view.hub.token.allows(view.hub.latest) {
            self.hub_life(view.index);
        }
        if view.hub.link.failures > 0 {
            return Ok(());
        }
        let told =
            view.step.told.and_then(|worker| view.models.get(worker as usize).map(|model| (worker, model)));
        if let Some((worker, model)) = told
            && !waits(model, view.hub.latest)
            && let Some((waiting, _)) = self.workers.get_mut(worker as usize)
        {
            *waiting = None;
        }
        match (view.step.action, view.step.to) {
            (Action::Poll { .. } | Action::Update { take_next: true, .. }, Some(worker)) => {
                self.poll(view, worker)
            }
            _ => Ok(()),
        }
    }

    fn hub_life(&mut self, index: usize) {
        for worker in self.members.get(index).into_iter().flatten() {
            if let Some((waiting, _)) = self.workers.get_mut(*worker as usize) {
                *waiting = None;
            }
        }
    }
}

/// Whether it waits for nothing but its turn, and perhaps its gate.
fn waits(model: &Model, now: Instant) -> bool {
    model.wants_poll() && model.has_lane() && !model.may_owe(now)
}
