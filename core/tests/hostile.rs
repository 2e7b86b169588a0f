//! S14, S15, S17, S19: no sequence of inputs breaks a bound, stops time, or makes the worker spin.

#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

mod support;

use downbeat_core::machine::{
    Action, Answer, CallId, Control, EntryId, Fault, Input, Instant, Outcome, Policy, Why, Worker,
};
use std::time::Duration;
use support::noise::{Random, noise};
use support::{Bench, exact, failed};

#[test]
fn stale_and_unknown_inputs_change_nothing() {
    let (mut bench, entry) = Bench::<2>::running(exact(), None);
    let before = bench.worker.clone();
    let old = EntryId::new(entry.index(), entry.generation().wrapping_sub(1));
    let beyond = EntryId::new(7, 1);
    for input in [
        Input::Finished { entry: old, outcome: Outcome::Final },
        Input::Finished { entry: beyond, outcome: Outcome::Final },
        Input::Replied { call: CallId::from_bits(99), reply: Ok(Answer::Done) },
        Input::Replied { call: CallId::from_bits(3 << 32 | 7 << 40), reply: failed(Fault::Unknown) },
        Input::Replied { call: CallId::from_bits(u64::MAX), reply: Ok(Answer::NoAuth) },
    ] {
        let _ = bench.say(input);
        assert_eq!(bench.worker, before, "{input:?}");
    }
}

#[test]
fn a_task_of_an_unknown_call_is_given_back_and_changes_nothing() {
    let (mut bench, _) = Bench::<2>::running(exact(), None);
    let before = bench.worker.clone();
    assert!(matches!(bench.lease(CallId::from_bits(77), 9, None), Action::GiveBack { .. }));
    assert_eq!(bench.worker, before);
}

#[test]
fn an_earlier_now_counts_as_the_latest_seen() {
    let mut bench = Bench::<2>::new(exact());
    let (call, ..) = bench.at(1_000).polls();
    let _ = bench.at(1_001).ok(call);
    assert!(matches!(bench.at(3).tick(), Action::Wait { until: Some(at), .. } if at.as_millis() == 1_002));
}

#[test]
fn a_jump_over_many_deadlines_makes_one_round_of_actions() {
    let (mut bench, _) = Bench::<2>::running(exact(), Some(Duration::from_secs(2)));
    bench.at(86_400_000);
    assert!(matches!(bench.tick(), Action::Lapsed { .. }), "its lease was over long ago");
    assert!(matches!(bench.tick(), Action::Wait { .. }));
}

#[test]
fn the_end_of_time_never_comes() {
    let policy = Policy { drain_timeout: None, ..exact() };
    let (mut bench, _) = Bench::<2>::running(policy, None);
    let _ = bench.say(Input::Control(Control::Drain));
    for now in [u64::MAX - 1, u64::MAX] {
        let wait = bench.at_micros(now).tick();
        assert_eq!(wait, Action::Wait { until: None, why: Why::Draining });
    }
}

#[test]
fn repeated_ticks_after_a_wait_change_nothing() {
    let (mut bench, _) = Bench::<2>::running(exact(), Some(Duration::from_secs(2)));
    let wait = bench.at(5).tick();
    let before = bench.worker.clone();
    for _ in 0..10 {
        assert_eq!(bench.tick(), wait);
        assert_eq!(bench.worker, before);
    }
}

/// Drives a worker with noise for a while and checks every bound at every step.
fn storm(seed: u64, policy: Policy) {
    let mut random = Random(seed);
    let mut worker = Worker::<4>::new(policy, seed).unwrap();
    let mut now = Instant::ZERO;
    let mut calls: Vec<CallId> = vec![CallId::from_bits(5)];
    let mut slots: Vec<EntryId> = vec![EntryId::new(0, 0)];
    for _ in 0..400 {
        now = now.saturating_add(Duration::from_micros(random.next(4) * random.next(3_000_000)));
        let mut input = noise(&mut random, &calls, &slots);
        for round in 0.. {
            let mut twin = worker.clone();
            let action = worker.step(now, input);
            assert_eq!(twin.step(now, input), action, "seed {seed}: not deterministic");
            assert!(twin == worker, "seed {seed}");
            let state = worker.snapshot();
            assert!(state.running <= policy.concurrency && state.held <= 4, "seed {seed}: {state:?}");
            assert!(state.calls_in_flight <= policy.max_calls + 1, "seed {seed}: {state:?}");
            assert!(round < 4 * 4 + 8, "seed {seed}: spins");
            match action {
                Action::Wait { until, .. } => {
                    assert!(until.is_none_or(|until| until > now), "seed {seed}: waits for the past");
                    assert_eq!(worker.deadline().map(|(at, _)| at), until, "seed {seed}");
                    break;
                }
                Action::Stopped => return,
                Action::Run { entry, .. } => slots.push(entry),
                Action::Poll { call, count, .. } => {
                    assert!((1..=policy.concurrency).contains(&count));
                    calls.push(call);
                }
                Action::Update { call, .. }
                | Action::Extend { call, .. }
                | Action::Ask { call, .. }
                | Action::Refresh { call }
                | Action::GiveBack { call, .. }
                | Action::Spill { call, .. } => calls.push(call),
                Action::Ignore { .. }
                | Action::Recall { .. }
                | Action::Lapsed { .. }
                | Action::Adopt { .. }
                | Action::Discard { .. } => {}
            }
            input = Input::Tick;
        }
    }
}

#[test]
fn noise_breaks_no_bound() {
    for seed in 0..3_000 {
        let policy = Policy {
            concurrency: 1 + u16::try_from(seed % 4).unwrap(),
            max_calls: 1 + u16::try_from(seed / 4 % 5).unwrap(),
            authenticated: seed % 3 == 0,
            store: seed % 2 == 0,
            ..Policy::default()
        };
        storm(seed, policy);
        storm(seed, Policy { concurrency: 1, ..Policy::ruby_sdk() });
    }
}
