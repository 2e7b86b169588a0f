//! S12, S13: pause, drain, recall, abort.

mod support;

use downbeat_core::machine::{Action, Control, Fault, Input, Lifecycle, Loss, Policy, RecallReason, Why};
use support::{Bench, exact, failed, ms, secs, updated, waits};

fn policy() -> Policy {
    Policy { take_next: false, ..exact() }
}

#[test]
fn a_paused_worker_asks_for_nothing_and_does_not_wake() {
    let mut bench = Bench::<2>::new(policy());
    let (call, ..) = bench.polls();
    let _ = bench.control(Control::Pause);
    assert_eq!(bench.at(10).ok(call), Action::Wait { until: None, why: Why::Paused });
    assert!(matches!(bench.at(5_000).control(Control::Resume), Action::Poll { .. }));
}

#[test]
fn a_task_that_arrives_while_paused_is_run_and_reported() {
    let mut bench = Bench::<2>::new(policy());
    let (call, ..) = bench.polls();
    let _ = bench.control(Control::Pause);
    let entry = bench.run(call, 1, None);
    let _ = bench.ok(call);
    let _ = updated(bench.finish(entry));
}

#[test]
fn a_drained_worker_stops_when_nothing_is_held_and_no_poll_is_in_flight() {
    let mut bench = Bench::<2>::new(policy());
    let (call, ..) = bench.polls();
    assert!(matches!(bench.control(Control::Drain), Action::Wait { .. }));
    let entry = bench.run(call, 1, None);
    assert!(matches!(bench.ok(call), Action::Wait { .. }));
    let (update, ..) = updated(bench.finish(entry));
    assert_eq!(bench.ok(update), Action::Stopped);
    for input in [Input::Tick, Input::Control(Control::Resume), Input::Control(Control::Abort)] {
        assert_eq!(bench.at(9_000).say(input), Action::Stopped);
    }
}

#[test]
fn an_idle_worker_stops_at_once() {
    let mut bench = Bench::<2>::new(policy());
    assert_eq!(bench.control(Control::Drain), Action::Stopped);
}

#[test]
fn running_tasks_are_recalled_when_the_drain_s_time_is_over() {
    let (mut bench, entry) = Bench::<2>::running(policy(), None);
    let _ = bench.at(1_000).control(Control::Drain);
    assert_eq!(bench.only_at(26_000_000), Action::Recall { entry, why: RecallReason::Drain });
    assert_eq!(waits(bench.tick()).unwrap().as_millis(), 30_000);
    let (update, ..) = updated(bench.give_way(entry, secs(1)));
    assert_eq!(bench.ok(update), Action::Stopped);
}

#[test]
fn what_is_still_held_after_the_recall_is_given_up_and_the_worker_stops() {
    let (mut bench, entry) = Bench::<2>::running(policy(), None);
    let _ = bench.control(Control::Drain);
    let _ = bench.at(25_000).tick();
    assert_eq!(bench.only_at(29_000_000), Action::Discard { entry, why: Loss::Aborted });
    assert_eq!(bench.tick(), Action::Stopped);
}

#[test]
fn a_task_that_arrives_after_the_recall_is_given_back() {
    let mut bench = Bench::<2>::new(policy());
    let (call, ..) = bench.polls();
    let _ = bench.control(Control::Drain);
    let _ = bench.at(25_000).tick();
    let Action::GiveBack { call: give_back, .. } = bench.lease(call, 1, None) else { panic!() };
    assert!(matches!(bench.ok(call), Action::Wait { .. }));
    assert_eq!(bench.ok(give_back), Action::Stopped);
}

#[test]
fn with_a_store_unreported_results_are_spilled_when_the_drain_s_time_is_over() {
    let (mut bench, entry) = Bench::<2>::running(Policy { store: true, ..policy() }, None);
    let _ = bench.control(Control::Drain);
    let (update, ..) = updated(bench.at(24_000).finish(entry));
    let _ = bench.reply(update, failed(Fault::Server));
    let Action::Spill { call, .. } = bench.at(25_000).tick() else { panic!() };
    assert_eq!(bench.ok(call), Action::Stopped);
}

#[test]
fn abort_gives_up_what_is_held_and_spills_results_where_there_is_a_store() {
    let policy = Policy { concurrency: 2, store: true, ..policy() };
    let mut bench = Bench::<4>::new(policy);
    let (call, ..) = bench.polls();
    let running = bench.run(call, 1, None);
    let done = bench.run(call, 2, None);
    let _ = bench.ok(call);
    let (update, ..) = updated(bench.finish(done));
    let mut actions = vec![bench.control(Control::Abort), bench.tick()];
    actions.sort_by_key(|action| matches!(action, Action::Spill { .. }));
    assert_eq!(actions[0], Action::Discard { entry: running, why: Loss::Aborted });
    let Action::Spill { call: spill, entry, .. } = actions[1] else { panic!("{actions:?}") };
    assert_eq!(entry, done);
    assert!(matches!(bench.ok(update), Action::Wait { .. }), "the update's answer comes too late");
    assert_eq!(bench.ok(spill), Action::Stopped);
    assert_eq!(bench.worker.snapshot().lifecycle, Lifecycle::Stopped);
    let _ = ms(0);
}

#[test]
fn a_poll_that_is_in_flight_at_the_abort_is_not_waited_for() {
    let mut bench = Bench::<2>::new(policy());
    let (call, ..) = bench.polls();
    assert_eq!(bench.control(Control::Abort), Action::Stopped);
    assert_eq!(bench.lease(call, 1, None), Action::Stopped, "its lease ends by itself");
    assert_eq!(bench.ok(call), Action::Stopped);
    assert_eq!(bench.worker.snapshot().calls_in_flight, 0);
}

#[test]
fn a_yield_in_flight_at_the_abort_is_given_up_and_its_late_answer_changes_nothing() {
    for store in [false, true] {
        let (mut bench, entry) = Bench::<2>::running(Policy { store, ..policy() }, None);
        let _ = bench.control(Control::Pause);
        let (update, ..) = updated(bench.give_way(entry, secs(30)));
        assert_eq!(bench.control(Control::Abort), Action::Discard { entry, why: Loss::Aborted }, "{store}");
        assert_eq!(bench.ok(update), Action::Stopped);
        assert_eq!(bench.worker.snapshot().calls_in_flight, 0);
    }
}

#[test]
fn a_store_that_fails_after_the_abort_ends_the_worker_all_the_same() {
    let (mut bench, entry) = Bench::<2>::running(Policy { store: true, ..policy() }, None);
    let _ = bench.control(Control::Pause);
    let (update, ..) = updated(bench.finish(entry));
    let Action::Spill { call, .. } = bench.control(Control::Abort) else { panic!() };
    assert_eq!(bench.reply(call, failed(Fault::Server)), Action::Discard { entry, why: Loss::Aborted });
    assert_eq!(bench.tick(), Action::Stopped);
    let _ = bench.ok(update);
    assert_eq!(bench.worker.snapshot().calls_in_flight, 0);
}

#[test]
fn a_drain_during_a_poll_runs_what_it_brings_and_takes_no_next_task() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..exact() });
    let (call, count, _) = bench.polls();
    assert_eq!(count, 2);
    let _ = bench.control(Control::Drain);
    let slots = [bench.run(call, 1, None), bench.run(call, 2, None)];
    assert!(matches!(bench.ok(call), Action::Wait { .. }));
    for (entry, last) in slots.into_iter().zip([false, true]) {
        let (update, _, take_next) = updated(bench.finish(entry));
        assert!(!take_next);
        assert_eq!(bench.ok(update) == Action::Stopped, last);
    }
}
