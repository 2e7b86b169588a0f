//! What generated scenarios are made of.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::time::Duration;

use super::profile::Profile;
use crate::random::Random;
use crate::scenario::model::{
    Arrival, Backend, CallClass, Fault, FaultKind, Generation, Network, Outcomes, Scenario, Server, Spread,
    Tasks, Workers,
};
use crate::scenario::policy::{Journal, OnLapse, PolicyChoice, Preset};
use crate::scenario::span::Span;

/// Every kind of fault that the swarm draws from.
const KINDS: [FaultKind; 31] = [
    FaultKind::Down,
    FaultKind::LostRequest,
    FaultKind::LostAnswer,
    FaultKind::Cut,
    FaultKind::Error500,
    FaultKind::Error503,
    FaultKind::Throttle,
    FaultKind::Unauthorized,
    FaultKind::TokenDown,
    FaultKind::RevokeTokens,
    FaultKind::Partition,
    FaultKind::Reject,
    FaultKind::ClockBack,
    FaultKind::FinishTwice,
    FaultKind::Abort,
    FaultKind::Slow,
    FaultKind::OverDeliver,
    FaultKind::Duplicate,
    FaultKind::Poison,
    FaultKind::TooLarge,
    FaultKind::Unprocessable,
    FaultKind::Forbidden,
    FaultKind::Cancel,
    FaultKind::Restart,
    FaultKind::SlowAnswer,
    FaultKind::Kill,
    FaultKind::LateAnswer,
    FaultKind::ClockJump,
    FaultKind::Pause,
    FaultKind::Crash,
    FaultKind::StoreFull,
];

/// Adds the faults, and takes back the restarts of what neither a drain nor an abort ends.
pub(super) fn add_faults(scenario: &mut Scenario, random: &mut Random, profile: Profile, heal: u64) {
    scenario.faults = faults(random, profile, heal, scenario.worker_count());
    if scenario.faults.iter().any(|fault| fault.kind == FaultKind::Abort) {
        return;
    }
    for process in scenario.processes.iter_mut().filter(|process| process.drain_at.is_none()) {
        process.restart_after = None;
    }
    for group in scenario.workers.iter_mut().filter(|group| group.drain_at.is_none()) {
        group.restart_after = None;
    }
}

pub(super) fn secs(secs: u64) -> Span {
    Span::new(Duration::from_secs(secs))
}

pub(super) fn millis(millis: u64) -> Span {
    Span::new(Duration::from_millis(millis))
}

pub(super) fn server(random: &mut Random) -> Server {
    let backend = random.weighted(&[(Backend::Redis, 3), (Backend::Sql, 3), (Backend::None, 1)]);
    Server {
        backend: backend.unwrap_or_default(),
        capacity_per_second: random
            .percent(20)
            .then(|| u32::try_from(random.between(20, 400)).unwrap_or(100)),
        auth: random.percent(50),
        token_life: secs(random.between(20, 600)),
        update_v2: random.percent(80),
        extends: if random.percent(10) { Generation::DemandsStatus } else { Generation::Now },
    }
}

pub(super) fn network(random: &mut Random) -> Network {
    let latency = match random.below(3) {
        0 => Spread::Fixed { of: millis(random.between(0, 5)) },
        1 => Spread::Uniform { min: millis(1), max: millis(random.between(2, 80)) },
        _ => Spread::Exponential { mean: millis(random.between(1, 30)), max: millis(1_500) },
    };
    Network { latency }
}

pub(super) fn workers(random: &mut Random, heal: u64) -> Vec<Workers> {
    let groups = random.between(1, 2);
    (0..groups)
        .map(|_| {
            let slots = u16::try_from(random.between(1, 6)).unwrap_or(1);
            Workers {
                count: u32::try_from(random.between(1, 4)).unwrap_or(1),
                process: None,
                task: "work".to_owned(),
                domain: None,
                slots,
                table: Some(slots + u16::try_from(random.below(5)).unwrap_or(0)),
                policy: policy(random),
                start_at: millis(random.below(3_000)),
                stagger: millis(random.below(1_000)),
                drain_at: random.percent(30).then(|| secs(random.between(10, heal))),
                // It is taken back below for a worker that never ends.
                restart_after: Some(millis(random.between(0, 20_000))),
                clock_skew_ppm: i64::try_from(random.below(2_001)).unwrap_or(0) - 1_000,
            }
        })
        .collect()
}

pub(super) fn policy(random: &mut Random) -> PolicyChoice {
    PolicyChoice {
        preset: Preset::Default,
        lanes: Some(u16::try_from(random.between(1, 6)).unwrap_or(1)),
        poll_interval: random.percent(30).then(|| millis(random.between(1, 2_000))),
        long_poll: Some(random.weighted(&[(secs(5), 3), (secs(1), 2), (secs(0), 1)]).unwrap_or_default()),
        call_timeout: None,
        take_next: Some(random.percent(70)),
        extend: None,
        store: Some(random.percent(50)),
        journal: random.weighted(&[(Journal::Finish, 3), (Journal::Failure, 1), (Journal::Off, 2)]),
        store_after: random.percent(30).then(|| secs(random.between(5, 120))),
        report_timeout: None,
        ask_interval: random.percent(50).then(|| secs(random.below(20))),
        on_lapse: Some(if random.percent(25) { OnLapse::Stop } else { OnLapse::Finish }),
        drain_timeout: random.percent(50).then(|| secs(random.between(1, 40))),
        failing_cap: None,
    }
}

pub(super) fn tasks(random: &mut Random, heal: u64) -> Vec<Tasks> {
    let streams = random.between(1, 3);
    (0..streams)
        .map(|_| Tasks {
            task: "work".to_owned(),
            domain: None,
            arrive: arrival(random, heal),
            duration: match random.below(3) {
                0 => Spread::Fixed { of: millis(random.between(1, 3_000)) },
                1 => Spread::Uniform { min: millis(1), max: secs(random.between(1, 20)) },
                _ => Spread::Exponential { mean: millis(random.between(10, 5_000)), max: secs(60) },
            },
            outcomes: Outcomes {
                completed: u32::try_from(random.between(1, 10)).unwrap_or(1),
                failed: u32::try_from(random.below(3)).unwrap_or(0),
                terminal: u32::try_from(random.below(2)).unwrap_or(0),
                yielded: u32::try_from(random.below(4)).unwrap_or(0),
            },
            response_timeout: secs(random.between(1, 60)),
            retries: u32::try_from(random.between(0, 4)).unwrap_or(3),
            retry_delay: secs(random.between(0, 10)),
            callback_after: secs(random.between(1, 40)),
            poll_timeout: random.percent(20).then(|| secs(random.between(3, 120))),
        })
        .collect()
}

pub(super) fn arrival(random: &mut Random, heal: u64) -> Arrival {
    let until = secs(heal);
    match random.below(3) {
        0 => Arrival::Burst {
            at: millis(random.below(heal * 500)),
            count: u32::try_from(random.between(1, 40)).unwrap_or(1),
        },
        1 => Arrival::Steady { every: millis(random.between(500, 20_000)), from: secs(0), until },
        _ => Arrival::Poisson { every: millis(random.between(500, 20_000)), from: secs(0), until },
    }
}

/// Swarm testing: in each scenario some kinds of faults are off, and the others have weights that differ wildly.
pub(super) fn faults(random: &mut Random, profile: Profile, heal: u64, workers: u64) -> Vec<Fault> {
    let weights: Vec<(FaultKind, u32)> = KINDS
        .iter()
        .map(|kind| (*kind, if random.percent(50) { 0 } else { 1 << random.below(6) }))
        .filter(|(_, weight)| *weight > 0)
        .collect();
    let (least, most) = profile.faults();
    let count = random.between(least, most);
    (0..count)
        .filter_map(|_| random.weighted(&weights).map(|kind| fault(random, kind, heal, workers)))
        .collect()
}

pub(super) fn fault(random: &mut Random, kind: FaultKind, heal: u64, workers: u64) -> Fault {
    let at = random.below(heal * 1_000);
    let longest = (heal * 1_000).saturating_sub(at).max(1);
    let lasts = random.between(1, 90_000).min(longest);
    let some = random.percent(40) && workers > 1;
    let classes = [CallClass::Poll, CallClass::Update, CallClass::Extend, CallClass::Token, CallClass::Ask];
    Fault {
        kind,
        at: millis(at),
        lasts: millis(lasts),
        percent: percent(random, kind),
        workers: some.then(|| vec![u32::try_from(random.below(workers)).unwrap_or(0)]),
        calls: random
            .percent(40)
            .then(|| vec![classes[usize::try_from(random.below(5)).unwrap_or(0)]])
            .filter(|_| is_about_calls(kind)),
        retry_after: (matches!(kind, FaultKind::Throttle | FaultKind::Error503) && random.percent(60))
            .then(|| secs(random.between(1, 40))),
        by: by(random, kind),
    }
}

/// A process that died at each step would come nowhere.
pub(super) fn percent(random: &mut Random, kind: FaultKind) -> u8 {
    let some = |random: &mut Random, most| u8::try_from(random.between(1, most)).unwrap_or(50);
    match kind {
        FaultKind::Kill => some(random, 25),
        _ if random.percent(60) => 100,
        _ => some(random, 99),
    }
}

pub(super) fn by(random: &mut Random, kind: FaultKind) -> Option<Span> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds have no length")]
    match kind {
        FaultKind::Slow => Some(millis(random.between(10, 8_000))),
        FaultKind::SlowAnswer => Some(millis(random.between(100, 25_000))),
        FaultKind::Kill => Some(millis(random.between(10, 20_000))),
        FaultKind::ClockJump => Some(millis(random.between(100, 4_000_000))),
        FaultKind::ClockBack | FaultKind::FinishTwice => Some(millis(random.between(1, 20_000))),
        _ => None,
    }
}

/// Whether a fault of this kind can be confined to classes of calls.
pub(crate) fn is_about_calls(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::LostRequest
            | FaultKind::LostAnswer
            | FaultKind::Cut
            | FaultKind::Error500
            | FaultKind::Error503
            | FaultKind::Throttle
            | FaultKind::Unauthorized
            | FaultKind::Slow
            | FaultKind::SlowAnswer
            | FaultKind::Partition
            | FaultKind::Reject
            | FaultKind::LateAnswer
    )
}
