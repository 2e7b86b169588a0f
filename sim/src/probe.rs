//! "Did we ever …?": situations that a swarm must have been in, or its passing says little.

use std::collections::BTreeSet;
use std::time::Duration;

use downbeat_core::machine::{Action, Fault, Input, Instead, Loss, RecallReason, TaskKey, Why};

use crate::event::Effect;
use crate::oracle::Step;
use crate::oracle::model::{CallKind, Lifecycle, Model};

/// A swarm of at least so many seeds fails (13) when a probe that is not rare was never hit.
pub const SEEDS_NEEDED: u64 = 2_000;

/// Names of the probes; `true` means rare, so that a swarm without it passes.
const NAMES: [(&str, bool); COUNT] = [
    ("table full while updates retry", false),
    ("poll reply lost after effect", false),
    ("update accepted, reply lost, repeated", false),
    ("yield abandoned as unsafe", false),
    ("lease extended during update retries", false),
    ("lapse and second run", false),
    ("401 to a poll", false),
    ("401 to an update", false),
    ("401 to an extension", false),
    ("401 to a refresh", false),
    ("token refresh while draining", false),
    ("Retry-After longer than the backoff", false),
    ("Retry-After shorter than the backoff", false),
    ("over-delivery refused", false),
    ("stale reply", false),
    ("stale end of a task", false),
    ("drain with a poll in flight", false),
    ("abort with results held", false),
    ("time jump over several deadlines", false),
    ("task recalled", false),
    ("result stored", false),
    ("report rejected", false),
    ("task ignored", false),
    ("clock back", false),
    ("wait: empty", false),
    ("wait: failing", false),
    ("wait: unreachable", false),
    ("wait: auth", false),
    ("wait: retry-after", false),
    ("wait: paused", false),
    ("wait: full", false),
    ("wait: busy", false),
    ("wait: in flight", false),
    ("wait: lease", false),
    ("wait: update", false),
    ("wait: draining", false),
    ("wait: limit", false),
    ("wait: ask", false),
    ("running × tick", false),
    ("running × leased", false),
    ("running × replied", false),
    ("running × finished", false),
    ("running × control", false),
    ("recalled × tick", false),
    ("recalled × leased", true),
    ("recalled × replied", true),
    ("recalled × finished", false),
    ("recalled × control", true),
    ("reporting × tick", false),
    ("reporting × leased", false),
    ("reporting × replied", false),
    ("reporting × finished", false),
    ("reporting × control", false),
    ("recalled: cancelled", false),
    ("recalled: lapsed", false),
    ("lease over by the worker's clock", false),
    ("retry adopted", false),
    ("server asked about a task", false),
    ("failed instead: too large", false),
    ("failed instead: rejected", false),
    ("failed instead: refused", false),
    ("failed instead: too late to give back", false),
    ("outcome dropped: the server has ended its task", false),
    ("given up: refused too often", true),
    ("stored in time, server unreachable", false),
    ("not given back: too late", true),
    ("403 to a report", false),
    ("slow call while others are answered", false),
    ("update-v2 unknown", false),
];
const COUNT: usize = 69;
const WHYS: usize = 24;
const PAIRS: usize = 38;
/// What the rules of lapses, refusals and cancellations can meet.
const NEW: usize = 53;

/// How often each situation was met.
#[derive(Clone, Debug)]
pub struct Probes {
    hits: [u64; COUNT],
    delivered: BTreeSet<(u32, u64)>,
    lost_reports: BTreeSet<TaskKey>,
    applied: BTreeSet<(u32, u64)>,
    lapsed: BTreeSet<TaskKey>,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            hits: [0; COUNT],
            delivered: BTreeSet::new(),
            lost_reports: BTreeSet::new(),
            applied: BTreeSet::new(),
            lapsed: BTreeSet::new(),
        }
    }
}

impl Probes {
    /// Adds the hits of another run.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.hits.iter_mut().zip(other.hits) {
            *mine += others;
        }
    }

    /// Returns each probe: its name, whether it is rare, how often it was hit.
    pub fn hits(&self) -> impl Iterator<Item = (&'static str, bool, u64)> {
        NAMES.into_iter().zip(self.hits).map(|((name, rare), hits)| (name, rare, hits))
    }

    /// Returns the names of those that are not rare and were never hit.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.hits().filter(|(_, rare, hits)| !rare && *hits == 0).map(|(name, ..)| name).collect()
    }

    fn hit(&mut self, at: usize) {
        if let Some(hits) = self.hits.get_mut(at) {
            *hits += 1;
        }
    }

    fn hit_if(&mut self, met: bool, at: usize) {
        if met {
            self.hit(at);
        }
    }

    pub(crate) fn step(&mut self, step: &Step<'_>) {
        self.pairs(step);
        self.input(step);
        self.action(step);
    }

    /// What the server did.
    pub(crate) fn server(&mut self, effect: &Effect) {
        match *effect {
            Effect::Delivered { worker, call, .. } => {
                self.delivered.insert((worker, call.to_bits()));
            }
            Effect::Lapsed { key, .. } => {
                self.lapsed.insert(key);
            }
            Effect::Scheduled { retry_of: Some(of), .. } => {
                let met = self.lapsed.remove(&of);
                self.hit_if(met, 5);
            }
            Effect::Reported { worker, call: Some(call), applied: true, .. } => {
                self.applied.insert((worker, call.to_bits()));
            }
            Effect::Reported { key, applied: false, .. } => {
                let met = self.lost_reports.contains(&key);
                self.hit_if(met, 2);
            }
            Effect::Scheduled { .. }
            | Effect::Reported { .. }
            | Effect::Extended { .. }
            | Effect::Cancelled { .. }
            | Effect::TokenIssued { .. }
            | Effect::Unauthorized { .. } => {}
        }
    }

    /// What a hub waits for.
    pub(crate) fn hub_wait(&mut self, why: Why) {
        self.hit(WHYS + index(why));
    }

    fn pairs(&mut self, step: &Step<'_>) {
        let input = match step.input {
            Input::Tick => 0,
            Input::Leased { .. } => 1,
            Input::Replied { .. } => 2,
            Input::Finished { .. } => 3,
            Input::Control(_) => 4,
            Input::Token(_) | Input::Recovered { .. } => return,
        };
        for held in step.model.all() {
            let phase = match held.outcome {
                None if held.recalled => 1,
                None => 0,
                Some(_) => 2,
            };
            self.hit(PAIRS + phase * 5 + input);
        }
    }

    fn input(&mut self, step: &Step<'_>) {
        let model = step.model;
        match step.input {
            Input::Replied { call, reply } => {
                self.hit_if(model.stale, 14);
                if let (Some(ended), Err(error)) = (&model.ended, reply) {
                    self.failed(step, ended.kind, (step.worker, call.to_bits()), *error);
                }
            }
            Input::Finished { entry, .. } => {
                self.hit_if(model.stale, 15);
                let recalled = model.held(*entry).is_some_and(|held| held.recalled);
                self.hit_if(recalled, PAIRS + 5 + 3);
            }
            Input::Control(downbeat_core::machine::Control::Drain) => self.hit_if(model.poll().is_some(), 16),
            Input::Control(_)
            | Input::Tick
            | Input::Leased { .. }
            | Input::Recovered { .. }
            | Input::Token(_) => {}
        }
        let entered = model.lifecycle == Lifecycle::Aborted && step.lifecycle_before != Lifecycle::Aborted;
        self.hit_if(entered && model.all().any(|held| held.outcome.is_some()), 17);
        let jumped =
            model.latest.saturating_duration_since(step.before) > Duration::from_secs(60) && model.held > 1;
        self.hit_if(jumped && !matches!(step.action, Action::Wait { .. }), 18);
        self.hit_if(step.local < step.before, 23);
    }

    fn failed(
        &mut self,
        step: &Step<'_>,
        kind: CallKind,
        call: (u32, u64),
        error: downbeat_core::machine::CallError,
    ) {
        let at = match kind {
            CallKind::Poll { .. } => 6,
            CallKind::Update { .. } => 7,
            CallKind::Extend { .. } => 8,
            CallKind::Refresh => 9,
            CallKind::Ask { .. } | CallKind::GiveBack | CallKind::Spill { .. } => return,
        };
        self.hit_if(error.fault == Fault::Unauthorized, at);
        let unknown = matches!(error.fault, Fault::Unknown | Fault::Slow);
        self.hit_if(error.fault == Fault::Slow && step.model.link.failures == 0, NEW + 14);
        match kind {
            CallKind::Poll { .. } => {
                let taken = self.delivered.contains(&call);
                self.hit_if(unknown && taken, 1);
                if let Some(asked) = error.retry_after {
                    let backoff = step.model.policy.failing.ceiling(step.model.gate.failures);
                    self.hit(if asked > backoff { 11 } else { 12 });
                }
            }
            CallKind::Update { entry, .. } => {
                self.hit_if(error.fault == Fault::Rejected, 21);
                self.hit_if(error.fault == Fault::Forbidden, NEW + 13);
                self.hit_if(error.fault == Fault::Unsupported, NEW + 15);
                if let Some(held) = step.model.held(entry).filter(|_| unknown && self.applied.contains(&call))
                {
                    self.lost_reports.insert(held.key);
                }
            }
            CallKind::Extend { .. }
            | CallKind::Ask { .. }
            | CallKind::Refresh
            | CallKind::GiveBack
            | CallKind::Spill { .. } => {}
        }
    }

    fn action(&mut self, step: &Step<'_>) {
        let model = step.model;
        match *step.action {
            Action::Discard { why: Loss::UnsafeYield, .. } => self.hit(3),
            Action::Extend { entry, .. } => {
                let retries = model.held(entry).is_some_and(|held| held.attempt > 0);
                self.hit_if(retries, 4);
            }
            Action::Refresh { .. } => self.hit_if(model.lifecycle.is_ending(), 10),
            Action::GiveBack { .. } => self.hit_if(matches!(step.input, Input::Leased { .. }), 13),
            Action::Recall { why, .. } => self.hit(match why {
                RecallReason::Drain => 19,
                RecallReason::Cancelled => NEW,
                RecallReason::Lapsed => NEW + 1,
            }),
            Action::Lapsed { .. } => self.hit(NEW + 2),
            Action::Adopt { .. } => self.hit(NEW + 3),
            Action::Ask { .. } => self.hit(NEW + 4),
            Action::Update { instead: Some(why), .. } => self.hit(match why {
                Instead::TooLarge => NEW + 5,
                Instead::Rejected => NEW + 6,
                Instead::Refused => NEW + 7,
                Instead::PollTimeout => NEW + 8,
            }),
            Action::Discard { why: Loss::Ended, .. } => self.hit(NEW + 9),
            Action::Discard { why: Loss::Refused, .. } => self.hit(NEW + 10),
            Action::Spill { entry, .. } => {
                self.hit(20);
                let by = model.held(entry).map(|held| held.store_by);
                self.hit_if(by.is_some_and(|by| by <= model.latest && model.link.failures > 0), NEW + 11);
            }
            Action::Ignore { .. } => {
                self.hit(22);
                self.hit_if(!model.known && model.is_late_delivery(step.input), NEW + 12);
            }
            Action::Wait { .. } if model.is_held() => {}
            Action::Wait { why, .. } => {
                self.hit(WHYS + index(why));
                self.hit_if(is_full_of_retries(model), 0);
            }
            Action::Run { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Discard { .. }
            | Action::Stopped => {}
        }
    }
}

fn is_full_of_retries(model: &Model) -> bool {
    model.held == model.capacity && model.all().any(|held| held.attempt > 0)
}

const fn index(why: Why) -> usize {
    match why {
        Why::Empty => 0,
        Why::Failing => 1,
        Why::Unreachable => 2,
        Why::Auth => 3,
        Why::RetryAfter => 4,
        Why::Paused => 5,
        Why::Full => 6,
        Why::Busy => 7,
        Why::InFlight => 8,
        Why::Lease => 9,
        Why::Update => 10,
        Why::Draining => 11,
        Why::Limit => 12,
        Why::Ask => 13,
    }
}
