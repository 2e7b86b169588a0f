//! S28, what an earlier life had in hand goes on: its outcome is reported, or it is given back, and its lease
//! is extended at once if that fails.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use std::time::Duration;

use downbeat_core::machine::{Action, EntryId, Fault, Input, Instead, LeanWorker, Policy, TaskMeta};
use support::{Bench, exact, extended, failed, key, secs, updated};

fn policy() -> Policy {
    Policy { take_next: false, store: true, ..exact() }
}

fn recovered<const N: usize>(bench: &mut Bench<N>, task: u128) -> EntryId {
    match bench.say(Input::Recovered { task: TaskMeta::new(key(task), Some(secs(10))) }) {
        Action::Run { entry, key: of } if of == key(task) => entry,
        other => panic!("expected Run of {task}, got {other:?}"),
    }
}

#[test]
fn a_recovered_result_is_reported_before_anything_else() {
    let mut bench = Bench::<2>::new(policy());
    let entry = recovered(&mut bench, 7);
    let (call, ..) = updated(bench.finish(entry));
    assert!(matches!(bench.ok(call), Action::Poll { .. }));
}

#[test]
fn its_lease_is_extended_at_once_where_the_report_is_not_taken() {
    let mut bench = Bench::<2>::new(policy());
    let entry = recovered(&mut bench, 7);
    let (call, ..) = updated(bench.finish(entry));
    let call = extended(bench.reply(call, failed(Fault::Throttled)));
    let _ = bench.ok(call);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let _ = extended(bench.only_at(8_000_000));
    let (call, attempt, _) = updated(bench.at(10_000).tick());
    assert_eq!(attempt, 1);
    let _ = bench.ok(call);
    assert_eq!(bench.worker.snapshot().held, 0);
}

#[test]
fn a_recovered_task_without_a_result_is_given_back_again_and_again_as_long_as_nothing_took_effect() {
    let mut bench = Bench::<2>::new(policy());
    let entry = recovered(&mut bench, 7);
    let (call, ..) = updated(bench.give_way(entry, secs(1)));
    let _ = bench.reply(call, failed(Fault::Throttled));
    let (_, attempt, _) = updated(bench.at(10_000).tick());
    assert_eq!(attempt, 1);
}

#[test]
fn where_it_is_too_late_to_give_a_recovered_task_back_it_fails_so_that_a_retry_is_left() {
    let mut bench = Bench::<2>::new(policy());
    let task =
        TaskMeta { give_back_within: Some(Duration::ZERO), ..TaskMeta::new(key(7), Some(secs(3_600))) };
    let Action::Run { entry, .. } = bench.say(Input::Recovered { task }) else { panic!("it is taken back") };
    let Action::Update { instead, .. } = bench.give_way(entry, secs(1)) else { panic!("it is reported") };
    assert_eq!(instead, Some(Instead::PollTimeout));
}

#[test]
fn more_than_there_is_room_for_is_ignored_and_so_is_what_is_here() {
    let mut bench = Bench::<1>::new(policy());
    let entry = recovered(&mut bench, 7);
    let again = bench.say(Input::Recovered { task: TaskMeta::new(key(8), None) });
    assert_eq!(again, Action::Ignore { key: key(8) });
    let _ = bench.finish(entry);
    let again = bench.say(Input::Recovered { task: TaskMeta::new(key(7), None) });
    assert_eq!(again, Action::Ignore { key: key(7) });
}

#[test]
fn a_machine_without_a_store_recovers_nothing() {
    let mut worker = LeanWorker::<2>::new(Policy { store: false, ..policy() }, 1).unwrap();
    let task = TaskMeta::new(key(7), None);
    let action = worker.step(downbeat_core::machine::Instant::ZERO, Input::Recovered { task });
    assert_eq!(action, Action::Ignore { key: key(7) });
}
