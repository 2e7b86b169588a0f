//! S8: no poll before the gate, and a poll at the gate. Empty, failed and throttled polls, long polls, and
//! follow-ups.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use downbeat_core::machine::{Action, Fault, Policy, Why};
use support::{Bench, asked, exact, failed, ms, secs, waits};

#[test]
fn empty_polls_double_their_delay_from_the_sending_up_to_the_interval() {
    let mut bench = Bench::<4>::new(Policy { long_poll: ms(0), ..exact() });
    let mut sent = 0;
    let (mut call, ..) = bench.polls();
    for delay in [2, 4, 8, 16, 32, 64, 100, 100, 100] {
        bench.at(sent + 1);
        assert_eq!(waits(bench.ok(call)).unwrap().as_millis(), sent + delay);
        sent += delay;
        let poll = bench.only_at(sent * 1_000);
        call = bench.is_poll(poll).0;
    }
}

#[test]
fn an_answer_later_than_the_gate_is_followed_by_a_poll_at_once() {
    let mut bench = Bench::<4>::new(exact());
    let (call, ..) = bench.polls();
    let next = bench.at(50).ok(call);
    assert!(matches!(next, Action::Poll { .. }));
}

#[test]
fn a_quiet_queue_is_asked_for_one_task_with_a_long_poll() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 3, ..exact() });
    let (mut call, mut count, mut wait) = bench.polls();
    let mut at = 0;
    for delay in [2, 4, 8, 16, 32, 64, 100] {
        assert_eq!((count, wait), (3, ms(0)));
        let _ = bench.ok(call);
        at += delay;
        (call, count, wait) = bench.at(at).polls();
    }
    assert_eq!((count, wait), (1, secs(1)));
}

/// Brings a worker to its first long poll, at the returned millisecond.
fn quiet(policy: Policy) -> (Bench<4>, downbeat_core::machine::CallId, u64) {
    let mut bench = Bench::<4>::new(policy);
    let (mut call, ..) = bench.polls();
    let mut at = 0;
    for delay in [2, 4, 8, 16, 32, 64, 100] {
        let _ = bench.ok(call);
        at += delay;
        call = bench.at(at).polls().0;
    }
    (bench, call, at)
}

#[test]
fn a_task_from_a_long_poll_is_followed_by_a_poll_for_the_rest_whose_emptiness_moves_no_gate() {
    let (mut bench, call, at) = quiet(Policy { concurrency: 3, ..exact() });
    bench.at(at + 300);
    bench.run(call, 1, None);
    let follow_up = bench.ok(call);
    let (call, count, wait) = bench.is_poll(follow_up);
    assert_eq!((count, wait), (2, ms(0)));
    let next = bench.at(at + 301).ok(call);
    let (_, count, wait) = bench.is_poll(next);
    assert_eq!((count, wait), (1, secs(1)), "back to the long poll at once");
}

#[test]
fn a_server_that_ignores_the_wait_is_asked_once_per_interval() {
    let (mut bench, call, at) = quiet(exact());
    assert_eq!(waits(bench.at(at + 1).ok(call)).unwrap().as_millis(), at + 100);
}

#[test]
fn failed_polls_have_their_own_backoff_counted_from_the_answer() {
    for fault in [Fault::Server, Fault::Throttled, Fault::Rejected] {
        let mut bench = Bench::<4>::new(exact());
        let (mut call, ..) = bench.polls();
        let mut at = 0;
        for delay in [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000] {
            at += 3;
            assert_eq!(waits(bench.at(at).reply(call, failed(fault))).unwrap().as_millis(), at + delay);
            at += delay;
            let poll = bench.only_at(at * 1_000);
            call = bench.is_poll(poll).0;
        }
        let next = bench.at(at + 1).ok(call);
        assert_eq!(waits(next).unwrap().as_millis(), at + 2, "an answer ends the row of failures");
    }
}

#[test]
fn a_jittered_delay_is_never_longer_than_the_cap_and_at_least_half_of_it() {
    for seed in 0..200 {
        let mut worker = downbeat_core::machine::Worker::<1>::new(Policy::default(), seed).unwrap();
        let mut now = downbeat_core::machine::Instant::ZERO;
        for _ in 0..12 {
            let Action::Poll { call, .. } = worker.step(now, downbeat_core::machine::Input::Tick) else {
                panic!()
            };
            let reply = downbeat_core::machine::Input::Replied { call, reply: failed(Fault::Server) };
            let until = waits(worker.step(now, reply)).unwrap();
            assert!(until.saturating_duration_since(now) <= secs(5));
            now = until;
        }
        let Action::Poll { call, .. } = worker.step(now, downbeat_core::machine::Input::Tick) else {
            panic!()
        };
        let reply = downbeat_core::machine::Input::Replied { call, reply: failed(Fault::Server) };
        let delay = waits(worker.step(now, reply)).unwrap().saturating_duration_since(now);
        assert!(delay >= ms(2_500) && delay <= secs(5), "{delay:?}");
    }
}

#[test]
fn retry_after_is_obeyed_and_lengthened_by_a_tenth_at_the_most() {
    let mut bench = Bench::<4>::new(exact());
    let (call, ..) = bench.polls();
    let action = bench.at(10).reply(call, asked(Fault::Throttled, secs(7)));
    let Action::Wait { until: Some(until), why: Why::RetryAfter } = action else { panic!("{action:?}") };
    assert!((7_010..=7_710).contains(&until.as_millis()), "{until:?}");
    let poll = bench.only_at(until.as_micros());
    let _ = bench.is_poll(poll);
}

#[test]
fn a_retry_after_shorter_than_the_backoff_does_not_shorten_it() {
    let mut bench = Bench::<4>::new(exact());
    let (call, ..) = bench.polls();
    let action = bench.reply(call, asked(Fault::Throttled, ms(100)));
    assert_eq!(action, Action::Wait { until: Some(bench.now.saturating_add(ms(250))), why: Why::Failing });
}

#[test]
fn a_retry_after_beyond_the_bound_counts_as_the_bound() {
    let mut bench = Bench::<4>::new(exact());
    let (call, ..) = bench.polls();
    let until = waits(bench.reply(call, asked(Fault::Server, secs(86_400)))).unwrap();
    assert!((300_000..=330_000).contains(&until.as_millis()), "{until:?}");
}

#[test]
fn a_poll_that_brought_what_is_here_already_counts_as_empty() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 3, ..exact() });
    let (call, ..) = bench.polls();
    bench.run(call, 1, None);
    let next = bench.at(5).ok(call);
    let (call, ..) = bench.is_poll(next);
    assert!(matches!(bench.at(6).lease(call, 1, None), Action::Ignore { .. }));
    assert_eq!(waits(bench.ok(call)).unwrap().as_millis(), 7, "2 ms after it was sent");
}

/// Its extensions prove each token, so that a poll with a 401 costs one at once.
#[test]
fn a_worker_that_may_report_and_not_poll_does_not_storm_the_issuer() {
    let mut bench =
        Bench::<4>::new(Policy { authenticated: true, concurrency: 2, take_next: false, ..exact() });
    let Action::Refresh { call } = bench.tick() else { panic!() };
    let poll = bench.token(call, None);
    let (mut poll, ..) = bench.is_poll(poll);
    bench.run(poll, 1, Some(secs(5)));
    let next = bench.ok(poll);
    poll = bench.is_poll(next).0;
    let mut refreshes = 0;
    for round in 1..=60_u64 {
        let mut action = bench.at(round * 1_000).reply(poll, failed(Fault::Unauthorized));
        loop {
            action = match action {
                Action::Refresh { call } => {
                    refreshes += 1;
                    bench.token(call, None)
                }
                Action::Extend { call, .. } => bench.ok(call),
                Action::Poll { call, .. } => {
                    poll = call;
                    bench.tick()
                }
                Action::Wait { .. } => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(refreshes <= 8, "{refreshes} tokens in a minute");
}

#[test]
fn a_retry_after_outlives_the_answer_of_an_update_that_was_sent_before() {
    for brings in [true, false] {
        let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..exact() });
        let (call, ..) = bench.polls();
        let entry = bench.run(call, 1, None);
        let next = bench.ok(call);
        // The second poll finds nothing, so that the update is a poll too; a third goes beside it.
        let (call, ..) = bench.is_poll(next);
        let _ = bench.ok(call);
        let Action::Update { call: update, take_next: true, .. } = bench.at(10).finish(entry) else {
            panic!()
        };
        let (poll, ..) = bench.polls();
        let _ = bench.reply(poll, asked(Fault::Throttled, secs(60)));
        bench.at(20);
        if brings {
            bench.run(update, 2, None);
        }
        let until = waits(bench.ok(update)).unwrap();
        assert!(until.as_millis() >= 60_010, "{until:?}");
    }
}
