//! S2: no result is lost.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{self, Action, CallId, EntryId, Input, Instant, Loss, Outcome, TaskKey};

use super::model::{CallKind, HeldTask, Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::event::{Effect, Report};
use crate::scenario::{Journal, Setting};

/// A final outcome leaves by acceptance, by the store, or by the server's rejection; else only after `Abort`. What
/// leaves otherwise, so that its entry is another's or its worker has stopped, is lost.
#[derive(Debug)]
pub(super) struct NoResultLost {
    sees_server: bool,
    /// Reports sent and not seen by the server: worker and call, and how many. Calls are numbered anew in each life of a
    /// worker, and one on a slow link outlives its sender: two reports under way may have one number.
    sent: BTreeMap<(u32, u64), u32>,
    /// Reports that each worker has sent in this life of it.
    made: Vec<BTreeSet<u64>>,
    journals: Vec<Journal>,
    stores_fill: bool,
    /// Results that are in a journal, and neither with the server nor given up.
    kept: BTreeMap<TaskKey, u32>,
    /// Results that an abort has cut off: they may be in a journal all the same.
    cut_off: BTreeSet<TaskKey>,
    /// Tasks that have ended, or whose workflows have: a second delivery of one may end once more.
    ended: BTreeSet<TaskKey>,
}

impl NoResultLost {
    pub(super) fn new(setting: &Setting) -> Self {
        let made = vec![BTreeSet::new(); setting.policies.len()];
        Self {
            sees_server: setting.sees_server,
            sent: BTreeMap::new(),
            made,
            journals: setting.journals.clone(),
            stores_fill: setting.stores_fill,
            kept: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    /// With `journal = "finish"` a result is durable before its machine hears of it.
    fn unkept(&self, step: &Step<'_>) -> Verdict {
        let Input::Finished { entry, outcome: Outcome::Final } = *step.input else { return Ok(()) };
        let finish = self.journals.get(step.worker as usize) == Some(&Journal::Finish);
        let Some(held) = step.model.held(entry).filter(|_| finish && !self.stores_fill && !step.model.stale)
        else {
            return Ok(());
        };
        if self.kept.contains_key(&held.key)
            || self.cut_off.contains(&held.key)
            || self.ended.contains(&held.key)
            || held.recalled
            || held.ended
            || !self.sees_server
        {
            return Ok(());
        }
        Err(format!("the result of task {:032x} may be reported before it is durable", held.key.to_u128()))
    }

    /// The answer to a report that the record does not show: the end of its task has been taken out.
    fn unmade(&self, step: &Step<'_>) -> Verdict {
        let Input::Replied { call, .. } = *step.input else { return Ok(()) };
        let Some(index) = reported_entry(call).filter(|_| step.model.stale) else { return Ok(()) };
        let made = self.made.get(step.worker as usize);
        if made.is_none_or(|made| made.contains(&call.to_bits())) {
            return Ok(());
        }
        match step.model.at(EntryId::new(index, 0)) {
            Some(held) if !held.reporting => {
                Err(vanished(held, "the answer to its report comes without a report"))
            }
            _ => Ok(()),
        }
    }
}

impl Oracle for NoResultLost {
    fn name(&self) -> &'static str {
        "S2 no-result-lost"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        self.unmade(step)?;
        self.unkept(step)?;
        // What runs on for a retry has its result under the retry's name.
        if let Action::Discard { entry, .. } | Action::Adopt { entry, .. } = *step.action
            && let Some(held) = model.held(entry)
        {
            let was_kept = self.kept.remove(&held.key).is_some();
            if was_kept && matches!(step.action, Action::Discard { why: Loss::Aborted, .. }) {
                self.cut_off.insert(held.key);
            }
        }
        match *step.action {
            Action::Update { call, .. } | Action::Spill { call, .. } => {
                if let Some(made) = self.made.get_mut(step.worker as usize) {
                    made.insert(call.to_bits());
                }
                if self.sees_server {
                    *self.sent.entry((step.worker, call.to_bits())).or_default() += 1;
                }
                Ok(())
            }
            Action::Run { entry, .. } => model
                .at(entry)
                .map_or(Ok(()), |held| Err(vanished(held, "its entry is given to another task"))),
            Action::Stopped if step.lifecycle_before != Lifecycle::Stopped => {
                model.all().next().map_or(Ok(()), |held| Err(vanished(held, "its worker has stopped")))
            }
            Action::Discard { entry, why } => discarded(model, entry, why),
            Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ask { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Poll { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        if !matches!(view.step.action, Action::Stopped) {
            return Ok(());
        }
        view.each(|_, model| {
            let left = model.all().next().filter(|_| model.lifecycle != Lifecycle::Stopped);
            left.map_or(Ok(()), |held| Err(vanished(held, "its process has stopped")))
        })
    }

    fn server(&mut self, _: Instant, effect: &Effect, models: &[Model]) -> Verdict {
        if let Effect::Reported { key, report, .. } = *effect
            && report != Report::Yield
        {
            self.kept.remove(&key);
            self.ended.insert(key);
        }
        if let Effect::Cancelled { key, .. } = *effect {
            self.ended.insert(key);
            self.kept.remove(&key);
        }
        let Effect::Reported { key, worker, call: Some(call), .. } = *effect else { return Ok(()) };
        // A give-back is a report too, and of no entry.
        let judged = models.get(worker as usize).is_some_and(|model| !model.is_ruby());
        let judged = judged && reported_entry(call).is_some();
        if let Some(sent) = self.sent.get_mut(&(worker, call.to_bits())).filter(|sent| **sent > 0) {
            *sent -= 1;
            return Ok(());
        }
        if !judged {
            return Ok(());
        }
        Err(format!(
            "the outcome of task {:032x} reached the server by a call that worker {worker} did not make",
            key.to_u128()
        ))
    }

    fn buried(&mut self, key: TaskKey) {
        self.kept.remove(&key);
    }

    fn kept(&mut self, worker: u32, key: TaskKey) -> Verdict {
        // Nobody waits for the result of a task whose workflow has ended.
        if !self.ended.contains(&key) {
            self.kept.insert(key, worker);
        }
        Ok(())
    }

    fn life(&mut self, worker: u32, _: &Model) {
        if let Some(made) = self.made.get_mut(worker as usize) {
            made.clear();
        }
    }

    fn finish(&mut self, at: Instant, models: &[Model]) -> Result<(), (Option<u32>, String)> {
        // What was durable when its process died is sent by the next one, or by a live one still.
        for (key, worker) in &self.kept {
            let held = |model: &Model| model.alive && model.all().any(|held| held.key == *key);
            if !models.get(*worker as usize).is_some_and(held) {
                let what = format!(
                    "the result of task {:032x} was durable, and the server has never had it",
                    key.to_u128()
                );
                return Err((Some(*worker), what));
            }
        }
        for (worker, model) in (0..).zip(models) {
            if model.alive
                && !model.is_ruby()
                && let Some((held, since)) = unanswered(model, at)
            {
                let what = format!(
                    "the result of task {:032x} was reported at {}, and nothing says what became of it",
                    held.key.to_u128(),
                    secs(since)
                );
                return Err((Some(worker), what));
            }
        }
        Ok(())
    }
}

/// The entry whose outcome a call reports.
fn reported_entry(call: CallId) -> Option<u16> {
    match call.kind()? {
        machine::CallKind::Report(index) => Some(index),
        machine::CallKind::Poll
        | machine::CallKind::Refresh
        | machine::CallKind::GiveBack
        | machine::CallKind::Extend(_)
        | machine::CallKind::Ask(_) => None,
    }
}

/// A result whose report should have been answered long ago.
fn unanswered(model: &Model, at: Instant) -> Option<(&HeldTask, Instant)> {
    let longest = model.policy.report_timeout * 2 + std::time::Duration::from_secs(10);
    model.calls.iter().find_map(|call| {
        let CallKind::Update { entry, .. } = call.kind else { return None };
        let held = model.held(entry).filter(|held| held.is_final())?;
        (at.saturating_duration_since(call.sent_at) > longest).then_some((held, call.sent_at))
    })
}

/// After so many refusals by a well server a result that nothing else can keep is given up.
const REFUSALS_MAX: u16 = 24;

fn vanished(held: &HeldTask, how: &str) -> String {
    let what = match held.outcome {
        Some(_) if held.is_final() => "the result",
        Some(_) => "the yield",
        None => "the run",
    };
    format!("{what} of task {:032x} is lost: {how}, and nothing says what became of it", held.key.to_u128())
}

fn discarded(model: &Model, entry: EntryId, why: Loss) -> Verdict {
    let Some(held) = model.held(entry) else { return Ok(()) };
    let aborted = model.lifecycle == Lifecycle::Aborted;
    let stored = model.policy.store && held.is_final() && !held.store_failed;
    let justified = match why {
        Loss::Rejected => held.rejected,
        Loss::Aborted => aborted && !stored,
        Loss::UnsafeYield => held.outcome.is_some() && !held.is_final() && held.unsure_since.is_some(),
        Loss::GaveUp => false,
        Loss::Ended => held.ended,
        // What nobody can keep is given up when it was refused for long.
        Loss::Refused => held.refused.1 >= REFUSALS_MAX && !model.policy.store,
    };
    if justified {
        return Ok(());
    }
    let what = if held.is_final() { "the result of" } else { "" };
    Err(format!(
        "gives up {what} task {:032x} after {} failed reports, for {why:?}, which nothing in the record justifies",
        held.key.to_u128(),
        held.attempt
    ))
}
