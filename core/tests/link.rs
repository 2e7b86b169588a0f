//! S20: a server that cannot be reached sees one call per delay, whatever is due.

mod support;

use downbeat_core::machine::{Action, Fault, Policy, Why};
use support::{Bench, exact, failed, ms, secs, updated, waits};

fn policy() -> Policy {
    Policy { concurrency: 4, max_calls: 8, take_next: false, ..exact() }
}

#[test]
fn after_a_call_that_was_not_sent_all_calls_wait_for_the_gate() {
    let mut bench = Bench::<8>::new(policy());
    let (call, ..) = bench.polls();
    let slots: Vec<_> = (1..=3).map(|task| bench.run(call, task, None)).collect();
    let next = bench.ok(call);
    let (poll, ..) = bench.is_poll(next);
    let _ = bench.reply(poll, failed(Fault::NotSent));
    for entry in &slots {
        assert_eq!(
            bench.at(100).finish(*entry),
            Action::Wait { until: Some(bench.now.saturating_add(ms(150))), why: Why::Unreachable }
        );
    }
    let (probe, ..) = updated(bench.at(250).tick());
    assert!(
        matches!(bench.tick(), Action::Wait { until: None, why: Why::Unreachable }),
        "one probe at a time"
    );
    let _ = bench.at(260).reply(probe, failed(Fault::NotSent));
    assert_eq!(waits(bench.tick()).unwrap().as_millis(), 760, "the next delay is twice as long");
}

#[test]
fn an_answer_of_any_status_opens_the_gate_for_all() {
    let mut bench = Bench::<8>::new(policy());
    let (call, ..) = bench.polls();
    let slots: Vec<_> = (1..=3).map(|task| bench.run(call, task, None)).collect();
    let next = bench.ok(call);
    let (poll, ..) = bench.is_poll(next);
    let _ = bench.reply(poll, failed(Fault::Unknown));
    for entry in &slots {
        let _ = bench.finish(*entry);
    }
    let (probe, ..) = updated(bench.at(250).tick());
    let _ = updated(bench.reply(probe, failed(Fault::Server)));
    let _ = updated(bench.tick());
}

#[test]
fn calls_that_fail_together_count_as_one_failure() {
    let mut bench = Bench::<8>::new(policy());
    let (call, ..) = bench.polls();
    let slots: Vec<_> = (1..=3).map(|task| bench.run(call, task, None)).collect();
    let next = bench.ok(call);
    let (poll, ..) = bench.is_poll(next);
    let updates: Vec<_> = slots.iter().map(|entry| updated(bench.finish(*entry)).0).collect();
    let _ = bench.reply(poll, failed(Fault::NotSent));
    for update in updates {
        let _ = bench.reply(update, failed(Fault::NotSent));
    }
    assert_eq!(bench.worker.snapshot().link_failures, 1);
}

#[test]
fn an_unreachable_server_is_found_within_the_cap() {
    let mut bench = Bench::<8>::new(policy());
    let (mut call, ..) = bench.polls();
    for _ in 0..40 {
        let until = waits(bench.reply(call, failed(Fault::NotSent))).unwrap();
        assert!(until.saturating_duration_since(bench.now) <= ms(5_000));
        bench.now = until;
        call = bench.polls().0;
    }
}

#[test]
fn a_poll_that_probes_the_link_is_not_held_by_the_server() {
    let mut bench = Bench::<4>::new(Policy { long_poll: secs(5), ..policy() });
    let (mut call, ..) = bench.polls();
    let mut wait = ms(0);
    while wait.is_zero() {
        bench.now = waits(bench.ok(call)).unwrap();
        (call, _, wait) = bench.polls();
    }
    bench.now = waits(bench.reply(call, failed(Fault::NotSent))).unwrap();
    let (probe, count, wait) = bench.polls();
    assert_eq!((count, wait), (1, ms(0)), "all other calls wait for its answer");
    bench.now = waits(bench.ok(probe)).unwrap();
    assert_eq!(bench.polls().2, secs(5));
}
