//! S2: no result is lost.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{Action, CallId, Input, Instant, Loss, SlotId};

use super::book::{CallKind, Held, Mode, Page};
use super::{HubView, Oracle, Ruling, Setting, Step, secs};
use crate::event::Effect;

/// A final outcome leaves by acceptance, by the store, or by the server's rejection; else only after `Abort`. What
/// leaves otherwise, so that its place is another's or its worker has stopped, is lost.
#[derive(Debug)]
pub(super) struct NoResultLost {
    sees_server: bool,
    /// Reports sent and not seen by the server: worker and call, and how many. Calls are numbered anew in each life of a
    /// worker, and one on a slow link outlives its sender: two reports under way may have one number.
    sent: BTreeMap<(u32, u64), u32>,
    /// Reports that each worker has sent in this life of it.
    made: Vec<BTreeSet<u64>>,
}

impl NoResultLost {
    pub(super) fn new(setting: &Setting) -> Self {
        let made = vec![BTreeSet::new(); setting.policies.len()];
        Self { sees_server: setting.sees_server, sent: BTreeMap::new(), made }
    }

    /// The answer to a report that the record does not show: the end of its task has been taken out.
    fn unmade(&self, step: &Step<'_>) -> Ruling {
        let Input::Replied { call, .. } = *step.input else { return Ok(()) };
        let Some(index) = reported_place(call).filter(|_| step.page.stale) else { return Ok(()) };
        let made = self.made.get(step.worker as usize);
        if made.is_none_or(|made| made.contains(&call.to_bits())) {
            return Ok(());
        }
        match step.page.at(SlotId::new(index, 0)) {
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

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        self.unmade(step)?;
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
            Action::Run { slot, .. } => {
                page.at(slot).map_or(Ok(()), |held| Err(vanished(held, "its place is given to another task")))
            }
            Action::Stopped if step.mode_before != Mode::Stopped => {
                page.all().next().map_or(Ok(()), |held| Err(vanished(held, "its worker has stopped")))
            }
            Action::Discard { slot, why } => discarded(page, slot, why),
            Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Poll { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        if !matches!(view.step.action, Action::Stopped) {
            return Ok(());
        }
        view.each(|_, page| {
            let left = page.all().next().filter(|_| page.mode != Mode::Stopped);
            left.map_or(Ok(()), |held| Err(vanished(held, "its process has stopped")))
        })
    }

    fn server(&mut self, _: Instant, effect: &Effect, pages: &[Page]) -> Ruling {
        let Effect::Reported { key, worker, call: Some(call), .. } = *effect else { return Ok(()) };
        // A give-back is a report too, and of no place.
        let judged = pages.get(worker as usize).is_some_and(|page| !page.is_seed());
        let judged = judged && reported_place(call).is_some();
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

    fn life(&mut self, worker: u32, _: &Page) {
        if let Some(made) = self.made.get_mut(worker as usize) {
            made.clear();
        }
    }

    fn finish(&mut self, at: Instant, pages: &[Page]) -> Result<(), (Option<u32>, String)> {
        for (worker, page) in (0..).zip(pages) {
            if page.alive
                && !page.is_seed()
                && let Some((held, since)) = unanswered(page, at)
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

/// The place whose outcome a call reports, by the call's number: kind 3 in bits 32 to 39, the place above them.
fn reported_place(call: CallId) -> Option<u16> {
    let bits = call.to_bits();
    (bits >> 32 & 0xff == 3).then(|| u16::try_from(bits >> 40).ok()).flatten()
}

/// A result whose report should have been answered long ago.
fn unanswered(page: &Page, at: Instant) -> Option<(&Held, Instant)> {
    let longest = page.policy.call_timeout * 2 + std::time::Duration::from_secs(10);
    page.calls.iter().find_map(|call| {
        let CallKind::Update { slot, .. } = call.kind else { return None };
        let held = page.held(slot).filter(|held| held.is_final())?;
        (call.sent_at.until(at) > longest).then_some((held, call.sent_at))
    })
}

fn vanished(held: &Held, how: &str) -> String {
    let what = match held.outcome {
        Some(_) if held.is_final() => "the result",
        Some(_) => "the yield",
        None => "the run",
    };
    format!("{what} of task {:032x} is lost: {how}, and nothing says what became of it", held.key.to_u128())
}

fn discarded(page: &Page, slot: SlotId, why: Loss) -> Ruling {
    let Some(held) = page.held(slot) else { return Ok(()) };
    let aborted = page.mode == Mode::Aborted;
    let stored = page.policy.store && held.is_final() && !held.store_failed;
    let justified = match why {
        Loss::Rejected => held.rejected,
        Loss::Aborted => aborted && !stored,
        Loss::UnsafeYield => held.outcome.is_some() && !held.is_final() && held.unsure_since.is_some(),
        Loss::GaveUp => false,
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
