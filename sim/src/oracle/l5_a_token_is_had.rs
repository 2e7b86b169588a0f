//! L5: a token is had.

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::book::{Mode, Page};
use super::{Oracle, Ruling, Setting, Step, secs};

/// Within [`super::Bounds::token_had`] of losing it, or of the last fault; and no wait goes past the time to ask.
#[derive(Debug)]
pub(super) struct ATokenIsHad {
    bound: Duration,
    healed_at: Option<Instant>,
    /// Since when each has been without.
    missing: Vec<Option<Instant>>,
}

impl ATokenIsHad {
    pub(super) fn new(setting: &Setting) -> Self {
        let missing = vec![None; setting.policies.len()];
        Self { bound: setting.bounds.token_had, healed_at: None, missing }
    }

    fn late(&self, at: Instant, worker: u32) -> Option<String> {
        let from = (*self.missing.get(worker as usize)?)?.max(self.healed_at?);
        let took = from.until(at);
        (took > self.bound).then(|| {
            format!("{} s after {}; the bound is {} s", took.as_secs(), secs(from), self.bound.as_secs())
        })
    }
}

fn wants(page: &Page) -> bool {
    let asleep =
        page.mode == Mode::Paused && page.held == 0 && page.poll().is_none() && page.refusal.is_none();
    !page.token.unwanted
        && !page.token.fresh
        && !asleep
        && !matches!(page.mode, Mode::Aborted | Mode::Stopped)
}

impl Oracle for ATokenIsHad {
    fn name(&self) -> &'static str {
        "L5 a-token-is-had"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        if page.policy.authenticated {
            if !wants(page) {
                if let Some(late) = self.late(step.at, step.worker) {
                    return Err(format!("a token was had {late}"));
                }
                if let Some(missing) = self.missing.get_mut(step.worker as usize) {
                    *missing = None;
                }
            } else if let Some(missing) = self.missing.get_mut(step.worker as usize) {
                *missing = missing.or(Some(step.at));
            }
        }
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        let free = page.lanes_taken() < usize::from(page.policy.max_calls) && page.link.failures == 0;
        if !wants(page) || page.token.refreshing || !free {
            return Ok(());
        }
        let due = page.token.opens.hi;
        if due > page.latest && until.is_some_and(|until| until <= due) {
            return Ok(());
        }
        let until = until.map_or_else(|| "an input".to_owned(), secs);
        Err(format!("waits for {until} without a token, though it may ask for one by {}", secs(due)))
    }

    fn life(&mut self, worker: u32, _: &Page) {
        if let Some(missing) = self.missing.get_mut(worker as usize) {
            *missing = None;
        }
    }

    fn healed(&mut self, at: Instant) {
        self.healed_at = Some(at);
    }

    fn finish(&mut self, at: Instant, pages: &[Page]) -> Result<(), (Option<u32>, String)> {
        for (worker, page) in (0..).zip(pages) {
            if page.alive
                && wants(page)
                && let Some(late) = self.late(at, worker)
            {
                return Err((Some(worker), format!("has no token {late}")));
            }
        }
        Ok(())
    }
}
