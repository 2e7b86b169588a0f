//! S20: a slow call is no outage if others are answered. No task travels with a report to a slow server, and
//! a server without `update-v2` is asked for it seldom.

mod support;

use downbeat_core::machine::{Action, Fault, Policy};
use support::{Bench, exact, failed, secs, updated, waits};

#[test]
fn a_slow_call_shuts_the_link_only_where_nothing_was_answered_for_ten_seconds() {
    for (answered_at, shut) in [(20_001, false), (20_000, true)] {
        let policy = Policy { concurrency: 2, take_next: false, ..exact() };
        let mut bench = Bench::<4>::new(policy);
        let (poll, ..) = bench.polls();
        let entry = bench.run(poll, 1, None);
        let action = bench.ok(poll);
        let (poll, ..) = bench.is_poll(action);
        let (report, ..) = updated(bench.finish(entry));
        let _ = bench.at(answered_at).ok(poll);
        let _ = bench.at(30_000).reply(report, failed(Fault::Slow));
        assert_eq!(bench.worker.snapshot().link_failures > 0, shut, "answered at {answered_at} ms");
    }
}

#[test]
fn a_report_that_took_half_a_call_s_time_keeps_the_next_from_taking_a_task() {
    for (took, takes) in [(4_999, true), (5_000, false)] {
        let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..exact() });
        let (poll, ..) = bench.polls();
        let first = bench.run(poll, 1, None);
        let second = bench.run(poll, 2, None);
        let _ = bench.ok(poll);
        let (call, _, take_next) = updated(bench.finish(first));
        assert!(take_next);
        let mut action = bench.at(took).ok(call);
        while let Action::Poll { call, .. } = action {
            action = bench.ok(call);
        }
        let (_, _, take_next) = updated(bench.at(took + 200).finish(second));
        assert_eq!(take_next, takes, "took {took} ms");
    }
}

#[test]
fn a_server_without_update_v2_gets_the_older_call_at_once_and_is_asked_again_after_ten_minutes() {
    let mut bench = Bench::<2>::new(exact());
    let (poll, ..) = bench.polls();
    let entry = bench.run(poll, 1, None);
    let _ = bench.ok(poll);
    let (call, _, take_next) = updated(bench.at(10).finish(entry));
    assert!(take_next);
    let (call, attempt, take_next) = updated(bench.at(20).reply(call, failed(Fault::Unsupported)));
    assert_eq!((attempt, take_next), (0, false));
    let mut action = bench.ok(call);
    for (task, (at, expected)) in (2..).zip([(600_019, false), (600_021, true)]) {
        while let Action::Wait { until: Some(until), .. } = action {
            action = bench.at(until.as_millis().max(at - 5)).tick();
        }
        let (poll, ..) = bench.is_poll(action);
        let entry = bench.run(poll, task, Some(secs(3_600)));
        let _ = bench.ok(poll);
        let (call, _, take_next) = updated(bench.at(at).finish(entry));
        assert_eq!(take_next, expected, "at {at} ms");
        action = bench.ok(call);
    }
    let _ = waits(bench.tick());
}
