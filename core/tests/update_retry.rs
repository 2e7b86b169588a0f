//! S2, S16: a result is reported until it is accepted, refused for good, or safe in the store.

mod support;

use downbeat_core::machine::{Action, CallError, Fault, Policy};
use support::{Bench, asked, exact, failed, secs, updated, waits};

fn policy() -> Policy {
    Policy { take_next: false, ..exact() }
}

fn paused(policy: Policy) -> (Bench<2>, downbeat_core::machine::EntryId) {
    let (mut bench, entry) = Bench::<2>::running(policy, None);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    (bench, entry)
}

#[test]
fn tries_come_after_0_10_20_30_seconds_and_then_every_30() {
    let (mut bench, entry) = paused(policy());
    let (mut call, ..) = updated(bench.at(1_000).finish(entry));
    let mut at = 1_000;
    for (attempt, delay) in [(1, 10), (2, 20), (3, 30), (4, 30), (5, 30)] {
        let until = waits(bench.reply(call, failed(Fault::Server))).unwrap();
        at += delay * 1_000;
        assert_eq!(until.as_millis(), at);
        let next = updated(bench.only_at(at * 1_000));
        assert_eq!(next.1, attempt);
        call = next.0;
    }
    assert_eq!(bench.ok(call), Action::Wait { until: None, why: downbeat_core::machine::Why::Paused });
    assert_eq!(bench.worker.snapshot().held, 0);
}

#[test]
fn every_failure_but_a_rejection_is_retried() {
    for fault in [Fault::NotSent, Fault::Unknown, Fault::Throttled, Fault::Server] {
        let (mut bench, entry) = paused(policy());
        let (call, ..) = updated(bench.finish(entry));
        let until = waits(bench.reply(call, failed(fault))).unwrap();
        assert!(until.as_millis() <= 10_000, "{fault:?}");
        assert!(matches!(bench.at(10_000).tick(), Action::Update { attempt: 1, .. }));
    }
}

/// A worker whose first result was accepted at 1,000 ms, and whose second is reported at that time.
fn reported_after_an_acceptance(policy: Policy, at: u64) -> (Bench<4>, downbeat_core::machine::CallId) {
    let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..policy });
    let (poll, ..) = bench.polls();
    let (first, second) = (bench.run(poll, 1, None), bench.run(poll, 2, None));
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let _ = bench.ok(poll);
    let (accepted, ..) = updated(bench.at(990).finish(first));
    let _ = bench.at(1_000).ok(accepted);
    let (call, ..) = updated(bench.at(at).finish(second));
    (bench, call)
}

#[test]
fn while_other_results_are_accepted_a_report_is_tried_again_after_5_seconds() {
    for fault in [Fault::Unknown, Fault::Throttled, Fault::Server, Fault::Internal] {
        let (mut bench, call) = reported_after_an_acceptance(policy(), 10_999);
        assert_eq!(waits(bench.reply(call, failed(fault))).unwrap().as_millis(), 15_999, "{fault:?}");
        let _ = updated(bench.only_at(15_999_000));
        let (mut bench, call) = reported_after_an_acceptance(policy(), 11_000);
        assert_eq!(waits(bench.reply(call, failed(fault))).unwrap().as_millis(), 21_000, "{fault:?}");
    }
}

#[test]
fn that_shortens_no_retry_after_and_hurries_nothing_into_a_store_without_a_journal() {
    let (mut bench, call) = reported_after_an_acceptance(policy(), 2_000);
    let until = waits(bench.reply(call, asked(Fault::Throttled, secs(20)))).unwrap();
    assert!((22_000..=24_000).contains(&until.as_millis()), "{until:?}");
    let (mut bench, call) = reported_after_an_acceptance(Policy { store: true, ..policy() }, 2_000);
    assert_eq!(waits(bench.reply(call, failed(Fault::Throttled))).unwrap().as_millis(), 12_000);
    let journaled = Policy { store: true, journaled: true, ..policy() };
    let (mut bench, call) = reported_after_an_acceptance(journaled, 2_000);
    assert_eq!(waits(bench.reply(call, failed(Fault::Throttled))).unwrap().as_millis(), 7_000);
}

#[test]
fn retry_after_delays_a_report_beyond_its_schedule() {
    let (mut bench, entry) = paused(policy());
    let (call, ..) = updated(bench.finish(entry));
    let until = waits(bench.reply(call, asked(Fault::Throttled, secs(20)))).unwrap();
    assert!((20_000..=22_000).contains(&until.as_millis()), "{until:?}");
}

#[test]
fn with_a_store_the_fourth_failure_is_followed_by_a_spill_that_frees_the_place() {
    let (mut bench, entry) = paused(Policy { store: true, ..policy() });
    let (mut call, ..) = updated(bench.finish(entry));
    for at in [10, 30, 60] {
        let _ = bench.reply(call, failed(Fault::Server));
        call = updated(bench.at(at * 1_000).tick()).0;
    }
    let Action::Spill { call, entry: of, .. } = bench.reply(call, failed(Fault::Server)) else { panic!() };
    assert_eq!(of, entry);
    assert_eq!(bench.worker.snapshot().held, 1, "the entry is freed once the result is safe");
    let _ = bench.ok(call);
    assert_eq!(bench.worker.snapshot().held, 0);
}

#[test]
fn a_store_that_fails_leaves_the_result_here_and_the_server_is_tried_again() {
    let (mut bench, entry) = paused(Policy { store: true, ..policy() });
    let (mut call, ..) = updated(bench.finish(entry));
    for at in [10, 30, 60] {
        let _ = bench.reply(call, failed(Fault::Server));
        call = updated(bench.at(at * 1_000).tick()).0;
    }
    let Action::Spill { call, .. } = bench.reply(call, failed(Fault::Server)) else { panic!() };
    let until = waits(bench.reply(call, Err(CallError::new(Fault::Server)))).unwrap();
    assert_eq!(until.as_millis(), 90_000);
    let (call, attempt, _) = updated(bench.only_at(90_000_000));
    assert_eq!(attempt, 4);
    assert!(matches!(bench.reply(call, failed(Fault::Server)), Action::Spill { .. }));
}

#[test]
fn one_result_that_is_never_accepted_blocks_no_other() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..policy() });
    let (call, ..) = bench.polls();
    let stuck = bench.run(call, 1, None);
    let fine = bench.run(call, 2, None);
    let _ = bench.ok(call);
    let (first, ..) = updated(bench.finish(stuck));
    let _ = bench.reply(first, failed(Fault::Server));
    let second = bench.finish(fine);
    let report = if matches!(second, Action::Poll { .. }) { bench.tick() } else { second };
    let accepted = updated(report).0;
    let _ = bench.ok(accepted);
    assert_eq!(bench.worker.snapshot().held, 1);
}
