//! L10: a crash costs no lease.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::machine::{Instant, TaskKey};

use super::model::Model;
use super::{Oracle, Verdict, secs};
use crate::event::Effect;
use crate::scenario::{Journal, Setting};

/// With a journal, what a process had in hand when it died is given back, or its result reported, within
/// [`crate::scenario::Bounds::settle`] of its next start, however long its lease is. Exceptions are what may
/// have been given back before, and what it is too late to give back. Judged if no call is lost: a give-back
/// that may have had effect is not repeated.
#[derive(Debug)]
pub(super) struct ACrashCostsNoLease {
    bound: Duration,
    journals: Vec<Journal>,
    /// When each worker started last.
    started: Vec<Instant>,
    /// What was in hand at a crash, and whose.
    hand: BTreeMap<TaskKey, u32>,
}

/// So long before its end a give-back is surely not late.
const EARLY: Duration = Duration::from_secs(60);

impl ACrashCostsNoLease {
    pub(super) fn new(setting: &Setting) -> Self {
        let journals = if setting.loses_calls {
            vec![Journal::Off; setting.policies.len()]
        } else {
            setting.journals.clone()
        };
        let started = vec![Instant::ZERO; setting.policies.len()];
        Self { bound: setting.bounds.settle, journals, started, hand: BTreeMap::new() }
    }

    fn late(&self, at: Instant, key: TaskKey, worker: u32) -> Verdict {
        let started = self.started.get(worker as usize).copied().unwrap_or(at);
        if at.saturating_duration_since(started) <= self.bound {
            return Ok(());
        }
        Err(format!(
            "task {:032x}, which worker {worker} had in hand when its process died, is still out at {}, {} s after it started anew",
            key.to_u128(),
            secs(at),
            at.saturating_duration_since(started).as_secs()
        ))
    }
}

impl Oracle for ACrashCostsNoLease {
    fn name(&self) -> &'static str {
        "L10 a-crash-costs-no-lease"
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn server(&mut self, at: Instant, effect: &Effect, _: &[Model]) -> Verdict {
        match *effect {
            Effect::Lapsed { key, .. } => {
                let worker = self.hand.remove(&key);
                worker.map_or(Ok(()), |worker| self.late(at, key, worker))
            }
            Effect::Reported { key, .. } | Effect::Cancelled { key, .. } | Effect::Delivered { key, .. } => {
                self.hand.remove(&key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn life(&mut self, worker: u32, model: &Model) {
        if !model.alive || self.journals.get(worker as usize).is_none_or(|journal| *journal == Journal::Off) {
            return;
        }
        // Until it starts anew it can do nothing.
        if let Some(started) = self.started.get_mut(worker as usize) {
            *started = Instant::FAR_FUTURE;
        }
        let back = model.latest.saturating_add(EARLY);
        let in_hand = model.all().filter(|held| held.outcome.is_none() && !held.ended && !held.recalled);
        for held in in_hand.filter(|held| held.give_back_until > back) {
            self.hand.insert(held.key, worker);
        }
    }

    fn started(&mut self, at: Instant, worker: u32) {
        if let Some(started) = self.started.get_mut(worker as usize) {
            *started = at;
        }
    }

    fn finish(&mut self, at: Instant, models: &[Model]) -> Result<(), (Option<u32>, String)> {
        for (key, worker) in &self.hand {
            if models.get(*worker as usize).is_some_and(|model| model.alive) {
                self.late(at, *key, *worker).map_err(|what| (Some(*worker), what))?;
            }
        }
        Ok(())
    }
}
