//! `update-v2`: a report that is a poll too keeps the rules of both.

mod support;

use downbeat_core::machine::{Action, Control, Fault, Policy};
use support::{Bench, exact, failed, ms, secs, updated, waits};

/// A worker of one entry whose code just ended: no poll in flight, gate open.
fn full() -> (Bench<4>, downbeat_core::machine::EntryId) {
    Bench::<4>::running(exact(), None)
}

#[test]
fn a_final_report_takes_the_next_task_where_a_place_is_free_and_the_gate_open() {
    let (mut bench, entry) = full();
    let (call, _, take_next) = updated(bench.finish(entry));
    assert!(take_next);
    assert!(matches!(bench.tick(), Action::Wait { .. }), "the entry is promised: no poll beside it");
    let next = bench.run(call, 2, Some(secs(10)));
    let _ = bench.ok(call);
    assert_ne!(next, entry);
}

#[test]
fn the_lease_of_the_next_task_starts_when_the_report_was_sent() {
    let (mut bench, entry) = full();
    let (call, ..) = updated(bench.at(1_000).finish(entry));
    bench.at(1_200);
    bench.run(call, 2, Some(secs(10)));
    let _ = bench.ok(call);
    assert!(matches!(bench.only_at(9_000_000), Action::Extend { .. }));
}

#[test]
fn an_answer_without_a_task_counts_as_an_empty_poll_sent_with_the_report() {
    let (mut bench, entry) = full();
    let (call, ..) = updated(bench.at(1_000).finish(entry));
    bench.at(1_001);
    assert_eq!(waits(bench.ok(call)).unwrap().as_millis(), 1_002);
}

#[test]
fn it_is_not_used_while_a_poll_is_in_flight_or_the_gate_is_closed() {
    let (mut bench, entry, poll) = Bench::<4>::running_and_polling(Policy { concurrency: 2, ..exact() });
    let (call, _, take_next) = updated(bench.finish(entry));
    assert!(!take_next, "a poll is in flight");
    let _ = bench.ok(call);

    let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..exact() });
    let (first, ..) = bench.polls();
    let entry = bench.run(first, 1, None);
    let next = bench.ok(first);
    let (second, ..) = bench.is_poll(next);
    let _ = bench.reply(second, failed(Fault::Throttled));
    assert!(!updated(bench.finish(entry)).2, "the gate is closed");
    let _ = poll;
}

#[test]
fn it_is_not_used_while_paused_or_draining() {
    for control in [Control::Pause, Control::Drain] {
        let (mut bench, entry) = full();
        let _ = bench.control(control);
        assert!(!updated(bench.finish(entry)).2, "{control:?}");
    }
}

#[test]
fn a_failed_report_is_repeated_without_taking_a_task() {
    let (mut bench, entry) = full();
    let (call, ..) = updated(bench.finish(entry));
    let next = bench.reply(call, failed(Fault::Unknown));
    assert!(waits(next).is_some());
    bench.at(300);
    let (poll, ..) = bench.polls();
    let _ = bench.ok(poll);
    let (_, attempt, take_next) = updated(bench.at(10_000).tick());
    assert_eq!((attempt, take_next), (1, false));
}

#[test]
fn a_server_without_it_is_not_asked_again_and_the_report_is_sent_at_once() {
    let (mut bench, entry) = full();
    let (call, ..) = updated(bench.finish(entry));
    let (call, attempt, take_next) = updated(bench.reply(call, failed(Fault::Unsupported)));
    assert_eq!((attempt, take_next), (0, false));
    let poll = bench.ok(call);
    let (poll, ..) = bench.is_poll(poll);
    let entry = bench.run(poll, 2, None);
    let _ = bench.ok(poll);
    assert!(!updated(bench.at(50).finish(entry)).2);
    let _ = ms(0);
}

#[test]
fn the_retry_after_of_its_answer_closes_the_poll_gate_too() {
    let (mut bench, entry) = full();
    let (call, ..) = updated(bench.finish(entry));
    let until = waits(bench.reply(call, support::asked(Fault::Throttled, secs(7)))).unwrap();
    assert!((7_000..=7_700).contains(&until.as_millis()), "{until:?}");
}

#[test]
fn only_an_answer_to_it_proves_that_the_server_lacks_it() {
    let (mut bench, entry) = Bench::<4>::running(Policy { take_next: false, ..exact() }, None);
    let _ = bench.control(Control::Pause);
    let (call, ..) = updated(bench.finish(entry));
    assert_eq!(waits(bench.reply(call, failed(Fault::Unsupported))).unwrap().as_millis(), 10_000);
}

#[test]
fn a_second_task_in_its_answer_is_given_back_and_a_drain_waits_for_that() {
    let (mut bench, entry) = Bench::<4>::running(Policy { max_calls: 1, ..exact() }, None);
    let (call, ..) = updated(bench.finish(entry));
    let next = bench.run(call, 2, None);
    let Action::GiveBack { call: give_back, .. } = bench.lease(call, 3, Some(secs(60))) else { panic!() };
    let _ = bench.ok(call);
    assert_eq!(bench.worker.snapshot().calls_in_flight, 1, "the lane is the give-back's now");
    let _ = bench.control(Control::Drain);
    let _ = bench.finish(next);
    let (last, ..) = updated(bench.reply(give_back, failed(Fault::Throttled)));
    assert_eq!(waits(bench.ok(last)).unwrap().as_millis(), 250);
    let Action::GiveBack { call: again, .. } = bench.at(250).tick() else { panic!() };
    assert_eq!(bench.ok(again), Action::Stopped);
}
