//! R-LEASE-1 to R-LEASE-3, R-TIMEOUT-1 to R-TIMEOUT-3.

use std::time::Duration;

use downbeat_core::machine::TaskKey;
use downbeat_sim::event::Report;
use downbeat_sim::server::{Backend, Definition, End, Refusal, Server, Stage, TimeoutPolicy};

use crate::support::{SECOND, UNIT, at, report, server, stage, take, taken};

fn with_lease(seconds: u64) -> Server {
    let response_timeout = Duration::from_secs(seconds);
    server(Backend::Redis, Definition { response_timeout, ..Definition::default() })
}

#[test]
fn a_lease_lapses_at_its_end_and_not_before() {
    let mut server = with_lease(2);
    let key = taken(&mut server, at(500));
    server.advance(at(2_500).before(UNIT));
    assert_eq!(stage(&server, key), Stage::InProgress { until: at(2_500) });
    server.advance(at(2_500));
    assert_eq!(stage(&server, key), Stage::Ended(End::NoResponse));
}

#[test]
fn an_extension_moves_the_end_of_the_lease() {
    let mut server = with_lease(2);
    let key = taken(&mut server, at(0));
    server.advance(at(2_000).before(UNIT));
    server.extend(at(2_000).before(UNIT), 0, None, key).expect("known");
    server.advance(at(4_000).before(UNIT).before(UNIT));
    assert!(matches!(stage(&server, key), Stage::InProgress { .. }));
    server.advance(at(4_000).before(UNIT));
    assert_eq!(stage(&server, key), Stage::Ended(End::NoResponse));
}

#[test]
fn extending_what_has_ended_does_nothing_and_what_is_unknown_is_refused() {
    let mut server = with_lease(2);
    let key = taken(&mut server, at(0));
    report(&mut server, at(1), key, Report::Completed, Duration::ZERO).expect("taken");
    assert_eq!(server.extend(at(2), 0, None, key), Ok(()));
    assert_eq!(stage(&server, key), Stage::Ended(End::Reported(Report::Completed)));
    let nobody = TaskKey::from_u128(1);
    assert_eq!(server.extend(at(2), 0, None, nobody), Err(Refusal::NoSuchTask));
}

#[test]
fn a_task_that_waits_has_no_lease() {
    let mut server = with_lease(2);
    let key = taken(&mut server, at(0));
    report(&mut server, at(1), key, Report::Yield, SECOND * 100).expect("taken");
    server.advance(at(99_000));
    assert_eq!(stage(&server, key), Stage::Scheduled);
}

#[test]
fn nothing_moves_the_timeout_of_a_task() {
    let definition = Definition {
        timeout: Some(SECOND * 3),
        timeout_policy: TimeoutPolicy::Retry,
        response_timeout: SECOND * 2,
        ..Definition::default()
    };
    let mut server = server(Backend::Redis, definition);
    let key = taken(&mut server, at(0));
    for millis in [1_500, 2_900] {
        server.advance(at(millis));
        server.extend(at(millis), 0, None, key).expect("known");
    }
    server.advance(at(3_000).before(UNIT));
    assert!(matches!(stage(&server, key), Stage::InProgress { .. }));
    server.advance(at(3_000));
    assert_eq!(stage(&server, key), Stage::Ended(End::Overran));
}

#[test]
fn the_policy_says_what_follows_a_timeout() {
    for (timeout_policy, ends, retried) in [
        (TimeoutPolicy::Retry, true, true),
        (TimeoutPolicy::TimeOutWorkflow, true, false),
        (TimeoutPolicy::AlertOnly, false, false),
    ] {
        let timeout = Some(SECOND);
        let definition = Definition { timeout, timeout_policy, ..Definition::default() };
        let mut server = server(Backend::Redis, definition);
        let key = taken(&mut server, at(0));
        server.advance(at(1_000));
        let view = server.view(key).expect("known");
        assert_eq!(view.stage == Stage::Ended(End::Overran), ends, "{timeout_policy:?}");
        assert_eq!(view.retried_as.is_some(), retried, "{timeout_policy:?}");
    }
}

#[test]
fn a_task_that_nobody_polls_times_out() {
    let poll_timeout = Some(SECOND);
    let definition = Definition { poll_timeout, ..Definition::default() };
    let mut server = server(Backend::Redis, definition);
    let waiting = server.schedule(at(0), 0).expect("a definition");
    let polled = server.schedule(at(0), 0).expect("a definition");
    server.advance(at(1_000).before(UNIT));
    assert_eq!(stage(&server, waiting), Stage::Scheduled);
    assert_eq!(take(&mut server, at(1_000).before(UNIT), 1), [waiting]);
    server.advance(at(1_000));
    assert!(matches!(stage(&server, waiting), Stage::InProgress { .. }));
    assert_eq!(stage(&server, polled), Stage::Ended(End::NotPolled));
}
