//! S29: one call at a time writes to a task, its report or an extension of its lease.

mod support;

use downbeat_core::machine::{Action, Control, EntryId, Fault, Policy};
use support::{Bench, exact, extended, failed, ms, secs, updated, waits};

fn policy() -> Policy {
    Policy { take_next: false, ..exact() }
}

/// A worker whose only task has a lease of ten seconds, and which asks for no other.
fn paused(policy: Policy) -> (Bench<2>, EntryId) {
    let (mut bench, entry) = Bench::running(policy, Some(secs(10)));
    let _ = bench.control(Control::Pause);
    (bench, entry)
}

#[test]
fn a_result_waits_for_the_answer_to_the_extension_of_its_lease() {
    let (mut bench, entry) = paused(policy());
    let extension = extended(bench.at(8_000).tick());
    assert_eq!(waits(bench.at(8_010).finish(entry)).unwrap().as_millis(), 9_000);
    let _ = updated(bench.at(8_050).ok(extension));
}

#[test]
fn it_waits_whatever_the_answer_is() {
    let (mut bench, entry) = paused(policy());
    let extension = extended(bench.at(8_000).tick());
    let _ = waits(bench.at(8_010).finish(entry));
    let _ = updated(bench.at(8_050).reply(extension, failed(Fault::Server)));
}

#[test]
fn a_yield_waits_too() {
    let (mut bench, entry) = paused(policy());
    let extension = extended(bench.at(8_000).tick());
    let _ = waits(bench.at(8_010).give_way(entry, ms(0)));
    let _ = updated(bench.at(8_050).ok(extension));
}

#[test]
fn it_waits_until_nine_tenths_of_the_lease_are_over_and_no_longer() {
    let (mut bench, entry) = paused(policy());
    let _ = extended(bench.at(8_000).tick());
    let _ = bench.at(8_010).finish(entry);
    let _ = updated(bench.only_at(9_000_000));
}

#[test]
fn it_waits_for_a_tenth_of_the_lease_behind_an_extension_that_left_later() {
    let (mut bench, entry) = paused(policy());
    let first = extended(bench.at(8_000).tick());
    let _ = bench.at(8_875).reply(first, failed(Fault::Server));
    let _ = extended(bench.only_at(9_500_000));
    let _ = bench.at(9_600).finish(entry);
    let _ = updated(bench.only_at(10_500_000));
}

#[test]
fn an_extension_waits_for_the_answer_to_a_report() {
    let (mut bench, entry) = paused(policy());
    let (report, ..) = updated(bench.at(7_990).finish(entry));
    assert_eq!(waits(bench.at(8_000).tick()).unwrap().as_millis(), 9_000);
    let _ = extended(bench.at(8_100).reply(report, failed(Fault::Server)));
}

#[test]
fn it_waits_for_nine_tenths_of_the_lease_and_no_longer() {
    let (mut bench, entry) = paused(policy());
    let _ = updated(bench.at(7_990).finish(entry));
    let _ = extended(bench.only_at(9_000_000));
}

#[test]
fn other_tasks_and_polls_do_not_wait() {
    let mut bench = Bench::<3>::new(Policy { concurrency: 2, ..policy() });
    let (poll, ..) = bench.polls();
    let first = bench.run(poll, 1, Some(secs(10)));
    let second = bench.run(poll, 2, None);
    let _ = bench.ok(poll);
    let _ = extended(bench.at(8_000).tick());
    let held_back = bench.at(8_010).finish(first);
    let _ = bench.is_poll(held_back);
    let _ = updated(bench.finish(second));
}

#[test]
fn the_store_does_not_wait() {
    let store = Policy { store: true, ..policy() };
    let after = u64::try_from(store.store_after.as_millis()).unwrap();
    let mut bench = Bench::<1>::new(store);
    let (poll, ..) = bench.polls();
    let entry = bench.run(poll, 1, Some(secs(3_600)));
    let _ = bench.ok(poll);
    let _ = bench.control(Control::Pause);
    let _ = extended(bench.at(2_880_000).tick());
    let _ = bench.finish(entry);
    let spilled = bench.only_at((2_880_000 + after) * 1_000);
    assert!(matches!(spilled, Action::Spill { .. }), "{spilled:?}");
}

#[test]
fn what_an_earlier_life_had_in_hand_is_reported_before_its_lease_is_extended() {
    let mut bench = Bench::<2>::new(Policy { store: true, journaled: true, ..policy() });
    let task = downbeat_core::machine::TaskMeta::new(support::key(1), Some(secs(10)));
    let Action::Run { entry, .. } = bench.say(downbeat_core::machine::Input::Recovered { task }) else {
        panic!("there is room")
    };
    let (report, ..) = updated(bench.finish(entry));
    let _ = extended(bench.at(20).reply(report, failed(Fault::Throttled)));
}
