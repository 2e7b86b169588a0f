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
