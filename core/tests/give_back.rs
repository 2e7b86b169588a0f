//! R-TIMEOUT-3: a give-back or a yield that comes later than `pollTimeoutSeconds` after the first scheduling ends the
//! workflow. It is sent up to a second before that, and never later.

#![expect(clippy::wildcard_enum_match_arm, reason = "no other action is of interest")]

mod support;

use core::time::Duration;

use downbeat_core::machine::{
    Action, Control, EntryId, Fault, Input, Instead, Loss, OnLapse, Policy, TaskMeta,
};
use support::{Bench, exact, failed, key, secs, updated, waits};

/// A paused worker with one task that may be given back within 30 s of 0 s.
fn running(policy: Policy) -> (Bench<2>, EntryId) {
    let mut bench = Bench::<2>::new(policy);
    let (call, ..) = bench.polls();
    let task = TaskMeta { give_back_within: Some(secs(30)), ..TaskMeta::new(key(1), None) };
    let Action::Run { entry, .. } = bench.say(Input::Leased { call, task }) else { panic!("it is run") };
    let _ = bench.control(Control::Pause);
    let _ = bench.ok(call);
    (bench, entry)
}

fn instead(action: Action) -> Option<Instead> {
    let Action::Update { instead, .. } = action else { panic!("expected a report, got {action:?}") };
    instead
}

#[test]
fn a_yield_is_sent_up_to_a_second_before_it_is_late_and_then_a_failure() {
    let (mut bench, entry) = running(exact());
    assert_eq!(instead(bench.at_micros(28_999_999).give_way(entry, secs(5))), None);
    let (mut bench, entry) = running(exact());
    assert_eq!(instead(bench.at(29_000).give_way(entry, secs(5))), Some(Instead::PollTimeout));
}

#[test]
fn a_late_yield_that_may_have_had_effect_is_neither_repeated_nor_replaced() {
    // The task may be somebody else's by now: a report that it failed would end that run.
    for (at, repeats) in [(18_999, true), (19_000, false)] {
        let (mut bench, entry) = running(exact());
        let (call, ..) = updated(bench.at(at).give_way(entry, secs(3_600)));
        let answer = bench.reply(call, failed(Fault::Unknown));
        let given_up = Action::Discard { entry, why: Loss::UnsafeYield };
        assert_eq!(answer != given_up, repeats, "at {at}");
        if repeats {
            let due = waits(answer).unwrap().as_millis();
            assert_eq!(instead(bench.at(due).tick()), None);
        }
    }
}

#[test]
fn a_late_yield_that_had_no_effect_is_replaced_when_its_repeat_is_due() {
    let (mut bench, entry) = running(exact());
    let (call, ..) = updated(bench.at(20_000).give_way(entry, secs(5)));
    let _ = bench.reply(call, failed(Fault::NotSent));
    // An unreachable server is tried with the report itself.
    assert_eq!(instead(bench.at(30_000).tick()), Some(Instead::PollTimeout));
}

#[test]
fn a_surplus_task_is_not_given_back_again_when_that_is_late() {
    // The first failure's delay is a quarter of a second; from 29 s on it is late.
    for (answered, again) in [(28_749, true), (28_750, false)] {
        let mut bench = Bench::<2>::new(exact());
        let (call, ..) = bench.polls();
        let _ = bench.run(call, 1, None);
        let lease = Some(Duration::from_secs(600));
        let task = TaskMeta { give_back_within: Some(secs(30)), ..TaskMeta::new(key(2), lease) };
        let Action::GiveBack { call: give_back, .. } = bench.say(Input::Leased { call, task }) else {
            panic!("there is no entry for it")
        };
        let _ = bench.control(Control::Pause);
        let _ = bench.ok(call);
        let _ = bench.at(answered).reply(give_back, failed(Fault::Throttled));
        let repeated = matches!(bench.at(28_999).tick(), Action::GiveBack { .. });
        assert_eq!(repeated, again, "answered at {answered}");
    }
}

#[test]
fn a_run_that_was_stopped_because_its_lease_was_over_is_not_asked_about() {
    let policy = Policy { on_lapse: OnLapse::Stop, extend: true, ask_interval: Some(secs(5)), ..exact() };
    let (mut bench, entry) = Bench::<2>::running(policy, Some(secs(4)));
    let _ = bench.control(Control::Pause);
    let Action::Extend { call, .. } = bench.at(3_200).tick() else { panic!("the lease is due") };
    let _ = bench.at(3_300).reply(call, failed(Fault::Internal));
    let mut stopped = false;
    for millis in 3_301..20_000 {
        match bench.at(millis).tick() {
            Action::Extend { call, .. } => drop(bench.reply(call, failed(Fault::Internal))),
            Action::Recall { entry: of, .. } => stopped = of == entry,
            other => assert!(!matches!(other, Action::Ask { .. }) || !stopped, "asked at {millis} ms"),
        }
    }
    assert!(stopped);
}
