//! S10, S11: lanes and entries. An entry is reserved before it is asked for; what is given too much is given back.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use downbeat_core::machine::{Action, Fault, Policy, Why};
use support::{Bench, exact, failed, key, ms, secs, updated, waits};

fn policy(concurrency: u16) -> Policy {
    Policy { concurrency, take_next: false, ..exact() }
}

#[test]
fn a_poll_asks_for_the_places_that_are_free() {
    let mut bench = Bench::<8>::new(policy(3));
    let (call, count, _) = bench.polls();
    assert_eq!(count, 3);
    bench.run(call, 1, None);
    let next = bench.ok(call);
    assert_eq!(bench.is_poll(next).1, 2);
}

#[test]
fn with_all_places_taken_no_poll_is_sent_until_one_is_free() {
    let (mut bench, entry) = Bench::<2>::running(policy(1), None);
    assert_eq!(bench.tick(), Action::Wait { until: None, why: Why::Full });
    let (update, ..) = updated(bench.finish(entry));
    let poll = bench.tick();
    let _ = bench.is_poll(poll);
    let _ = bench.ok(update);
}

#[test]
fn polling_goes_on_while_results_are_retried_until_the_table_is_full() {
    let mut bench = Bench::<2>::new(Policy { max_calls: 8, ..policy(1) });
    let (mut poll, ..) = bench.polls();
    for task in 1..=2 {
        let entry = bench.run(poll, task, None);
        let _ = bench.ok(poll);
        let (update, ..) = updated(bench.finish(entry));
        let next = bench.reply(update, failed(Fault::Server));
        if let Action::Poll { call, .. } = next {
            poll = call;
        }
    }
    assert!(matches!(bench.tick(), Action::Wait { why: Why::Update, .. }));
    assert_eq!(bench.worker.snapshot().room, 0);
}

#[test]
fn a_task_more_than_asked_for_is_run_where_a_place_is_free() {
    let mut bench = Bench::<4>::new(policy(2));
    let (call, count, _) = bench.polls();
    assert_eq!(count, 2);
    bench.run(call, 1, None);
    bench.run(call, 2, None);
    assert!(matches!(bench.lease(call, 3, None), Action::GiveBack { .. }));
}

#[test]
fn a_surplus_task_is_given_back_and_shares_the_lane_of_its_poll() {
    let mut bench = Bench::<4>::new(Policy { max_calls: 1, ..policy(1) });
    let (call, ..) = bench.polls();
    let entry = bench.run(call, 1, None);
    let Action::GiveBack { call: give_back, key: of } = bench.lease(call, 2, Some(secs(60))) else {
        panic!()
    };
    assert_eq!(of, key(2));
    assert_eq!(bench.worker.snapshot().calls_in_flight, 1);
    let _ = bench.ok(call);
    assert_eq!(bench.worker.snapshot().calls_in_flight, 1, "the lane is the give-back's now");
    let _ = bench.finish(entry);
    let next = bench.ok(give_back);
    assert!(matches!(next, Action::Update { .. }), "{next:?}");
}

#[test]
fn a_give_back_is_repeated_after_not_sent_and_never_else() {
    for (fault, repeated) in
        [(Fault::NotSent, true), (Fault::Unknown, false), (Fault::Server, false), (Fault::Rejected, false)]
    {
        let mut bench = Bench::<4>::new(policy(1));
        let (call, ..) = bench.polls();
        bench.run(call, 1, None);
        let Action::GiveBack { call: give_back, .. } = bench.lease(call, 2, Some(secs(60))) else { panic!() };
        let _ = bench.ok(call);
        let _ = bench.reply(give_back, failed(fault));
        let next = bench.at(250).tick();
        assert_eq!(matches!(next, Action::GiveBack { .. }), repeated, "{fault:?}: {next:?}");
    }
}

#[test]
fn calls_never_exceed_the_lanes() {
    let mut bench = Bench::<8>::new(Policy { max_calls: 2, ..policy(4) });
    let (call, ..) = bench.polls();
    let slots: Vec<_> = (1..=4).map(|task| bench.run(call, task, None)).collect();
    let _ = bench.ok(call);
    let first = updated(bench.finish(slots[0]));
    let second = updated(bench.finish(slots[1]));
    assert_eq!(bench.finish(slots[2]), Action::Wait { until: None, why: Why::Busy });
    let third = bench.ok(first.0);
    assert!(matches!(third, Action::Update { .. }));
    let _ = bench.ok(second.0);
}

#[test]
fn on_one_lane_a_long_poll_ends_before_the_next_obligation() {
    let policy = Policy { max_calls: 1, poll_interval: ms(1), long_poll: secs(5), ..policy(2) };
    let mut bench = Bench::<4>::new(policy);
    let (call, ..) = bench.polls();
    let entry = bench.run(call, 1, Some(secs(2)));
    let (call, _, wait) = {
        let next = bench.ok(call);
        bench.is_poll(next)
    };
    assert!(wait <= ms(1_600), "the lease is due at 1.6 s: {wait:?}");
    let _ = (entry, waits(bench.at(1).tick()), call);
}

#[test]
fn every_surplus_task_is_given_back_and_the_first_is_remembered() {
    let mut bench = Bench::<4>::new(policy(1));
    let (call, ..) = bench.polls();
    bench.run(call, 1, None);
    let give_backs = [2, 3].map(|task| match bench.lease(call, task, Some(secs(60))) {
        Action::GiveBack { call, key: of } if of == key(task) => call,
        other => panic!("{other:?}"),
    });
    let _ = bench.ok(call);
    assert_eq!(bench.worker.snapshot().calls_in_flight, 1);
    let _ = bench.reply(give_backs[1], failed(Fault::NotSent));
    let _ = bench.reply(give_backs[0], failed(Fault::NotSent));
    assert!(matches!(bench.at(250).tick(), Action::GiveBack { key: of, .. } if of == key(2)));
}

#[test]
fn a_task_whose_lease_is_over_is_not_given_back_any_more() {
    for (at, refused) in [(999, true), (1_000, false)] {
        let mut bench = Bench::<4>::new(policy(1));
        let (call, ..) = bench.polls();
        bench.run(call, 1, None);
        let Action::GiveBack { call: give_back, .. } = bench.lease(call, 2, Some(secs(1))) else { panic!() };
        let _ = bench.ok(call);
        let _ = bench.reply(give_back, failed(Fault::NotSent));
        assert_eq!(matches!(bench.at(at).tick(), Action::GiveBack { .. }), refused, "{at}");
    }
}
