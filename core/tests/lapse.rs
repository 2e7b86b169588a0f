//! S23, S27: a lease that is over is extended no more and is said, and a retry of what runs here does not run
//! beside it.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use downbeat_core::machine::{
    Action, CallId, EntryId, Fault, Input, Loss, OnLapse, Policy, RecallReason, TaskMeta, Why,
};
use support::{Bench, exact, extended, failed, key, secs, updated, waits};

fn policy() -> Policy {
    Policy { take_next: false, concurrency: 2, ..exact() }
}

/// A task with a lease of 10 s that began at 0, whose extension at 8 s the server did not take.
fn in_trouble(policy: Policy) -> (Bench<4>, EntryId) {
    let mut bench = Bench::<4>::new(policy);
    let (call, ..) = bench.polls();
    let entry = bench.run(call, 1, Some(secs(10)));
    let action = bench.ok(call);
    let (call, ..) = bench.is_poll(action);
    let _ = bench.ok(call);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let call = extended(bench.at(8_000).tick());
    let _ = bench.reply(call, failed(Fault::Server));
    (bench, entry)
}

/// Lets extensions fail until that microsecond, and returns what is due then.
fn failing_until(bench: &mut Bench<4>, micros: u64) -> Action {
    let mut action = bench.tick();
    loop {
        action = match action {
            Action::Extend { call, .. } => bench.reply(call, failed(Fault::Server)),
            Action::Wait { until: Some(at), .. } if at.as_micros() < micros => {
                bench.at_micros(at.as_micros()).tick()
            }
            _ => break,
        }
    }
    bench.at_micros(micros).tick()
}

/// The task's retry arrives by a poll.
fn retry(bench: &mut Bench<4>) -> (CallId, Action) {
    let mut action = bench.control(downbeat_core::machine::Control::Resume);
    while let Action::Wait { until: Some(at), .. } = action {
        action = bench.at_micros(at.as_micros()).tick();
    }
    let (call, ..) = bench.is_poll(action);
    let task = TaskMeta { retry_of: Some(key(1)), ..TaskMeta::new(key(2), Some(secs(10))) };
    (call, bench.say(Input::Leased { call, task }))
}

#[test]
fn a_lease_that_is_over_is_said_once_and_extended_no_more() {
    let (mut bench, entry) = in_trouble(policy());
    let wait = failing_until(&mut bench, 9_999_999);
    let Action::Wait { until: Some(at), why: Why::Limit } = wait else { panic!("{wait:?}") };
    assert_eq!(at.as_micros(), 10_000_000);
    assert_eq!(bench.at_micros(10_000_000).tick(), Action::Lapsed { entry });
    assert_eq!(waits(bench.tick()), None);
}

#[test]
fn it_is_said_while_the_server_cannot_be_reached() {
    let (mut bench, entry) = in_trouble(policy());
    let mut action = bench.tick();
    while bench.now.as_millis() < 10_000 {
        action = match action {
            Action::Extend { call, .. } => bench.reply(call, failed(Fault::NotSent)),
            Action::Wait { until: Some(at), .. } => bench.at_micros(at.as_micros()).tick(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((action, bench.now.as_millis()), (Action::Lapsed { entry }, 10_000));
}

#[test]
fn an_extension_in_flight_is_waited_for_and_counts_from_its_sending() {
    let mut bench = Bench::<4>::new(policy());
    let (call, ..) = bench.polls();
    bench.run(call, 1, Some(secs(10)));
    let action = bench.ok(call);
    let (poll, ..) = bench.is_poll(action);
    let _ = bench.ok(poll);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let call = extended(bench.at(8_000).tick());
    assert_eq!(waits(bench.at(12_000).tick()), None);
    let _ = bench.at(13_000).ok(call);
    let _ = extended(bench.only_at(16_000_000));
}

#[test]
fn the_outcome_of_a_lapsed_task_is_still_reported() {
    let (mut bench, entry) = in_trouble(policy());
    let _ = failing_until(&mut bench, 10_000_000);
    let _ = updated(bench.finish(entry));
}

#[test]
fn a_retry_of_a_running_task_goes_on_where_it_runs() {
    let (mut bench, entry) = in_trouble(policy());
    let _ = failing_until(&mut bench, 10_000_000);
    let (call, action) = retry(&mut bench);
    assert_eq!(action, Action::Adopt { entry, key: key(2) });
    assert_eq!(bench.worker.snapshot().running, 1);
    let _ = bench.ok(call);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let _ = extended(bench.only_at(18_000_000));
    let held: Vec<_> = bench.worker.held_tasks().map(|held| held.key).collect();
    assert_eq!(held, [key(2)]);
}

#[test]
fn where_a_lapse_stops_the_run_its_outcome_is_discarded() {
    let (mut bench, entry) = in_trouble(Policy { on_lapse: OnLapse::Stop, ..policy() });
    let action = failing_until(&mut bench, 10_000_000);
    assert_eq!(action, Action::Recall { entry, why: RecallReason::Lapsed });
    assert_eq!(bench.finish(entry), Action::Discard { entry, why: Loss::Ended });
}

#[test]
fn a_retry_that_comes_before_the_stopped_run_has_ended_is_given_back() {
    let (mut bench, _) = in_trouble(Policy { on_lapse: OnLapse::Stop, ..policy() });
    let _ = failing_until(&mut bench, 10_000_000);
    let (_, action) = retry(&mut bench);
    assert!(matches!(action, Action::GiveBack { key: of, .. } if of == key(2)), "{action:?}");
}

#[test]
fn a_retry_of_a_task_that_has_ended_runs() {
    let (mut bench, entry) = in_trouble(policy());
    let _ = failing_until(&mut bench, 10_000_000);
    let (call, ..) = updated(bench.finish(entry));
    let _ = bench.ok(call);
    let (_, action) = retry(&mut bench);
    assert!(matches!(action, Action::Run { .. }), "{action:?}");
}
