//! S24: nothing is given back, and no task yields, when that would end its workflow (R-TIMEOUT-3).

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use downbeat_core::machine::{Action, Control, EntryId, Input, Instead, Policy, RecallReason, TaskMeta};
use support::{Bench, exact, key, ms, secs};

fn policy() -> Policy {
    Policy { take_next: false, ..exact() }
}

/// A task that may be given back until 40 s.
fn running(policy: Policy) -> (Bench<1>, EntryId) {
    let mut bench = Bench::<1>::new(policy);
    let (call, ..) = bench.polls();
    let task = TaskMeta { give_back_within: Some(secs(40)), ..TaskMeta::new(key(1), None) };
    let Action::Run { entry, .. } = bench.say(Input::Leased { call, task }) else { panic!() };
    let _ = bench.ok(call);
    (bench, entry)
}

fn instead(action: Action) -> Option<Instead> {
    match action {
        Action::Update { instead, .. } => instead,
        other => panic!("expected an update, got {other:?}"),
    }
}

#[test]
fn a_yield_is_sent_as_such_up_to_a_second_before_that_time() {
    let (mut bench, entry) = running(policy());
    assert_eq!(instead(bench.at_micros(38_999_999).give_way(entry, secs(5))), None);
    let (mut bench, entry) = running(policy());
    assert_eq!(instead(bench.at_micros(39_000_000).give_way(entry, secs(5))), Some(Instead::PollTimeout));
}

#[test]
fn a_result_is_reported_whenever_it_comes() {
    let (mut bench, entry) = running(policy());
    assert_eq!(instead(bench.at(50_000).finish(entry)), None);
}

#[test]
fn a_drain_fails_what_it_may_not_give_back_so_that_a_retry_is_left() {
    let (mut bench, entry) = running(policy());
    let _ = bench.at(20_000).control(Control::Drain);
    assert_eq!(bench.only_at(45_000_000), Action::Recall { entry, why: RecallReason::Drain });
    assert_eq!(instead(bench.give_way(entry, secs(1))), Some(Instead::PollTimeout));
}

#[test]
fn a_surplus_task_that_may_not_be_given_back_is_left_to_its_lease() {
    for (within, ignored) in [(1_001, false), (1_000, true)] {
        let mut bench = Bench::<1>::new(policy());
        let (call, ..) = bench.polls();
        bench.run(call, 1, None);
        let task = TaskMeta { give_back_within: Some(ms(within)), ..TaskMeta::new(key(2), None) };
        let action = bench.say(Input::Leased { call, task });
        assert_eq!(matches!(action, Action::Ignore { .. }), ignored, "{within} ms: {action:?}");
    }
}
