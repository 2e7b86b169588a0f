//! "Did we ever …?": situations that a swarm must have been in, or its passing says little.

use std::collections::BTreeSet;
use std::time::Duration;

use downbeat_core::machine::{Action, Fault, Input, Instead, Loss, RecallReason, TaskKey, Why};

use crate::event::Effect;
use crate::oracle::Step;
use crate::oracle::model::{CallKind, Lifecycle, Model};

/// A swarm of at least so many seeds fails (13) when a probe that is not rare was never hit.
pub const SEEDS_NEEDED: u64 = 2_000;

macro_rules! situations {
    ($($name:ident $text:literal $rare:literal;)*) => {
        /// A situation.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        enum Situation { $($name),* }

        /// Each with its name, and whether it is rare, so that a swarm without it passes.
        const SITUATIONS: &[(Situation, &str, bool)] = &[$((Situation::$name, $text, $rare)),*];
    };
}

situations! {
    FullOfRetries "table full while updates retry" false;
    PollReplyLost "poll reply lost after effect" false;
    ReportRepeated "update accepted, reply lost, repeated" false;
    YieldAbandoned "yield abandoned as unsafe" false;
    ExtendedDuringRetries "lease extended during update retries" false;
    SecondRun "lapse and second run" false;
    UnauthorizedPoll "401 to a poll" false;
    UnauthorizedUpdate "401 to an update" false;
    UnauthorizedExtension "401 to an extension" false;
    UnauthorizedRefresh "401 to a refresh" false;
    RefreshWhileDraining "token refresh while draining" false;
    RetryAfterLonger "Retry-After longer than the backoff" false;
    RetryAfterShorter "Retry-After shorter than the backoff" false;
    SurplusGivenBack "over-delivery refused" false;
    StaleReply "stale reply" false;
    StaleEnd "stale end of a task" false;
    DrainWhilePolling "drain with a poll in flight" false;
    AbortWithResults "abort with results held" false;
    TimeJump "time jump over several deadlines" false;
    RecalledByDrain "task recalled" false;
    Stored "result stored" false;
    ReportRejected "report rejected" false;
    Ignored "task ignored" false;
    ClockBack "clock back" false;
    WaitsEmpty "wait: empty" false;
    WaitsFailing "wait: failing" false;
    WaitsUnreachable "wait: unreachable" false;
    WaitsAuth "wait: auth" false;
    WaitsRetryAfter "wait: retry-after" false;
    WaitsPaused "wait: paused" false;
    WaitsFull "wait: full" false;
    WaitsBusy "wait: busy" false;
    WaitsInFlight "wait: in flight" false;
    WaitsLease "wait: lease" false;
    WaitsUpdate "wait: update" false;
    WaitsDraining "wait: draining" false;
    WaitsLimit "wait: limit" false;
    WaitsAsk "wait: ask" false;
    RunningTick "running × tick" false;
    RunningLeased "running × leased" false;
    RunningReplied "running × replied" false;
    RunningFinished "running × finished" false;
    RunningControl "running × control" false;
    RecalledTick "recalled × tick" false;
    RecalledLeased "recalled × leased" true;
    RecalledReplied "recalled × replied" true;
    RecalledFinished "recalled × finished" false;
    RecalledControl "recalled × control" true;
    ReportingTick "reporting × tick" false;
    ReportingLeased "reporting × leased" false;
    ReportingReplied "reporting × replied" false;
    ReportingFinished "reporting × finished" false;
    ReportingControl "reporting × control" false;
    RecalledCancelled "recalled: cancelled" false;
    RecalledLapsed "recalled: lapsed" false;
    Lapsed "lease over by the worker's clock" false;
    Adopted "retry adopted" false;
    Asked "server asked about a task" false;
    InsteadTooLarge "failed instead: too large" false;
    InsteadRejected "failed instead: rejected" false;
    InsteadRefused "failed instead: refused" false;
    InsteadTooLate "failed instead: too late to give back" false;
    DroppedEnded "outcome dropped: the server has ended its task" false;
    GivenUpRefused "given up: refused too often" true;
    StoredInTime "stored in time, server unreachable" false;
    TooLateToGiveBack "not given back: too late" true;
    ForbiddenReport "403 to a report" false;
    SlowAmongOthers "slow call while others are answered" false;
    UpdateV2Unknown "update-v2 unknown" false;
    ReportBehindExtension "report behind an extension in flight" false;
    ExtensionBehindReport "extension behind a report in flight" false;
}

/// How often each situation was met.
#[derive(Clone, Debug)]
pub struct Probes {
    hits: [u64; SITUATIONS.len()],
    delivered: BTreeSet<(u32, u64)>,
    lost_reports: BTreeSet<TaskKey>,
    applied: BTreeSet<(u32, u64)>,
    lapsed: BTreeSet<TaskKey>,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            hits: [0; SITUATIONS.len()],
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
        SITUATIONS.iter().zip(self.hits).map(|((_, name, rare), hits)| (*name, *rare, hits))
    }

    /// Returns the names of those that are not rare and were never hit.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.hits().filter(|(_, rare, hits)| !rare && *hits == 0).map(|(name, ..)| name).collect()
    }

    fn hit(&mut self, situation: Situation) {
        if let Some(hits) = self.hits.get_mut(situation as usize) {
            *hits += 1;
        }
    }

    fn hit_if(&mut self, met: bool, situation: Situation) {
        if met {
            self.hit(situation);
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
                self.hit_if(met, Situation::SecondRun);
            }
            Effect::Reported { worker, call: Some(call), applied: true, .. } => {
                self.applied.insert((worker, call.to_bits()));
            }
            Effect::Reported { key, applied: false, .. } => {
                let met = self.lost_reports.contains(&key);
                self.hit_if(met, Situation::ReportRepeated);
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
        self.hit(waits(why));
    }

    /// What happened while a task was running, recalled, or to be reported.
    fn pairs(&mut self, step: &Step<'_>) {
        let [running, recalled, reporting] = match step.input {
            Input::Tick => [Situation::RunningTick, Situation::RecalledTick, Situation::ReportingTick],
            Input::Leased { .. } => {
                [Situation::RunningLeased, Situation::RecalledLeased, Situation::ReportingLeased]
            }
            Input::Replied { .. } => {
                [Situation::RunningReplied, Situation::RecalledReplied, Situation::ReportingReplied]
            }
            Input::Finished { .. } => {
                [Situation::RunningFinished, Situation::RecalledFinished, Situation::ReportingFinished]
            }
            Input::Control(_) => {
                [Situation::RunningControl, Situation::RecalledControl, Situation::ReportingControl]
            }
            Input::Token(_) | Input::Recovered { .. } => return,
        };
        for held in step.model.all() {
            self.hit(match held.outcome {
                None if held.recalled => recalled,
                None => running,
                Some(_) => reporting,
            });
        }
    }

    fn input(&mut self, step: &Step<'_>) {
        let model = step.model;
        match step.input {
            Input::Replied { call, reply } => {
                self.hit_if(model.stale, Situation::StaleReply);
                if let (Some(ended), Err(error)) = (&model.ended, reply) {
                    self.failed(step, ended.kind, (step.worker, call.to_bits()), *error);
                }
            }
            Input::Finished { entry, .. } => {
                self.hit_if(model.stale, Situation::StaleEnd);
                let recalled = model.held(*entry).is_some_and(|held| held.recalled);
                self.hit_if(recalled, Situation::RecalledFinished);
            }
            Input::Control(downbeat_core::machine::Control::Drain) => {
                self.hit_if(model.poll().is_some(), Situation::DrainWhilePolling)
            }
            Input::Control(_)
            | Input::Tick
            | Input::Leased { .. }
            | Input::Recovered { .. }
            | Input::Token(_) => {}
        }
        let entered = model.lifecycle == Lifecycle::Aborted && step.lifecycle_before != Lifecycle::Aborted;
        self.hit_if(entered && model.all().any(|held| held.outcome.is_some()), Situation::AbortWithResults);
        let jumped =
            model.latest.saturating_duration_since(step.before) > Duration::from_secs(60) && model.held > 1;
        self.hit_if(jumped && !matches!(step.action, Action::Wait { .. }), Situation::TimeJump);
        self.hit_if(step.local < step.before, Situation::ClockBack);
    }

    fn failed(
        &mut self,
        step: &Step<'_>,
        kind: CallKind,
        call: (u32, u64),
        error: downbeat_core::machine::CallError,
    ) {
        let unauthorized = match kind {
            CallKind::Poll { .. } => Situation::UnauthorizedPoll,
            CallKind::Update { .. } => Situation::UnauthorizedUpdate,
            CallKind::Extend { .. } => Situation::UnauthorizedExtension,
            CallKind::Refresh => Situation::UnauthorizedRefresh,
            CallKind::Ask { .. } | CallKind::GiveBack | CallKind::Spill { .. } => return,
        };
        self.hit_if(error.fault == Fault::Unauthorized, unauthorized);
        let unknown = matches!(error.fault, Fault::Unknown | Fault::Slow);
        self.hit_if(error.fault == Fault::Slow && step.model.link.failures == 0, Situation::SlowAmongOthers);
        match kind {
            CallKind::Poll { .. } => {
                let taken = self.delivered.contains(&call);
                self.hit_if(unknown && taken, Situation::PollReplyLost);
                if let Some(asked) = error.retry_after {
                    let backoff = step.model.policy.failing.ceiling(step.model.gate.failures);
                    self.hit(if asked > backoff {
                        Situation::RetryAfterLonger
                    } else {
                        Situation::RetryAfterShorter
                    });
                }
            }
            CallKind::Update { entry, .. } => {
                self.hit_if(error.fault == Fault::Rejected, Situation::ReportRejected);
                self.hit_if(error.fault == Fault::Forbidden, Situation::ForbiddenReport);
                self.hit_if(error.fault == Fault::Unsupported, Situation::UpdateV2Unknown);
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
            Action::Discard { why: Loss::UnsafeYield, .. } => self.hit(Situation::YieldAbandoned),
            Action::Extend { entry, .. } => {
                let retries = model.held(entry).is_some_and(|held| held.attempt > 0);
                self.hit_if(retries, Situation::ExtendedDuringRetries);
            }
            Action::Refresh { .. } => {
                self.hit_if(model.lifecycle.is_ending(), Situation::RefreshWhileDraining)
            }
            Action::GiveBack { .. } => {
                self.hit_if(matches!(step.input, Input::Leased { .. }), Situation::SurplusGivenBack)
            }
            Action::Recall { why, .. } => self.hit(match why {
                RecallReason::Drain => Situation::RecalledByDrain,
                RecallReason::Cancelled => Situation::RecalledCancelled,
                RecallReason::Lapsed => Situation::RecalledLapsed,
            }),
            Action::Lapsed { .. } => self.hit(Situation::Lapsed),
            Action::Adopt { .. } => self.hit(Situation::Adopted),
            Action::Ask { .. } => self.hit(Situation::Asked),
            Action::Update { instead: Some(why), .. } => self.hit(match why {
                Instead::TooLarge => Situation::InsteadTooLarge,
                Instead::Rejected => Situation::InsteadRejected,
                Instead::Refused => Situation::InsteadRefused,
                Instead::PollTimeout => Situation::InsteadTooLate,
            }),
            Action::Discard { why: Loss::Ended, .. } => self.hit(Situation::DroppedEnded),
            Action::Discard { why: Loss::Refused, .. } => self.hit(Situation::GivenUpRefused),
            Action::Spill { entry, .. } => {
                self.hit(Situation::Stored);
                let by = model.held(entry).map(|held| held.store_by);
                self.hit_if(
                    by.is_some_and(|by| by <= model.latest && model.link.failures > 0),
                    Situation::StoredInTime,
                );
            }
            Action::Ignore { .. } => {
                self.hit(Situation::Ignored);
                self.hit_if(!model.known && model.is_late_delivery(step.input), Situation::TooLateToGiveBack);
            }
            Action::Wait { .. } if model.is_held() => {}
            Action::Wait { why, .. } => {
                self.hit(waits(why));
                self.hit_if(is_full_of_retries(model), Situation::FullOfRetries);
                self.hit_if(waits_behind(model, false), Situation::ReportBehindExtension);
                self.hit_if(waits_behind(model, true), Situation::ExtensionBehindReport);
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

/// Whether a report that is due waits for the answer to an extension, or an extension for that to a report (S29).
fn waits_behind(model: &Model, extends: bool) -> bool {
    let now = model.latest;
    model.all().any(|held| {
        let due = if extends {
            held.reporting && !held.lease.is_zero() && held.extend.hi <= now
        } else {
            held.outcome.is_some() && !held.reporting && held.report.hi <= now
        };
        due && model.alone_until(held).is_some_and(|until| now < until)
    })
}

const fn waits(why: Why) -> Situation {
    match why {
        Why::Empty => Situation::WaitsEmpty,
        Why::Failing => Situation::WaitsFailing,
        Why::Unreachable => Situation::WaitsUnreachable,
        Why::Auth => Situation::WaitsAuth,
        Why::RetryAfter => Situation::WaitsRetryAfter,
        Why::Paused => Situation::WaitsPaused,
        Why::Full => Situation::WaitsFull,
        Why::Busy => Situation::WaitsBusy,
        Why::InFlight => Situation::WaitsInFlight,
        Why::Lease => Situation::WaitsLease,
        Why::Update => Situation::WaitsUpdate,
        Why::Draining => Situation::WaitsDraining,
        Why::Limit => Situation::WaitsLimit,
        Why::Ask => Situation::WaitsAsk,
    }
}
