//! R-LEASE-1 to R-LEASE-4, R-TIMEOUT-1 to R-TIMEOUT-3, R-WORKFLOW-6.

use std::time::Duration;

use downbeat_core::machine::TaskKey;
use downbeat_server::model::Report;
use downbeat_server::model::{
    Backend, Beat, Definition, End, Generation, Refusal, Server, Stage, Taken, TimeoutPolicy,
};

use crate::support::{SECOND, UNIT, at, report, server, stage, take, taken, ticket};

fn with_lease(seconds: u64) -> Server {
    let response_timeout = Duration::from_secs(seconds);
    server(Backend::Redis, Definition { response_timeout, ..Definition::default() })
}

#[test]
fn a_lease_lapses_at_its_end_and_not_before() {
    let mut server = with_lease(2);
    let key = taken(&mut server, at(500));
    server.advance(at(2_500).saturating_sub(UNIT));
    assert_eq!(stage(&server, key), Stage::InProgress { until: at(2_500) });
    server.advance(at(2_500));
    assert_eq!(stage(&server, key), Stage::Ended(End::NoResponse));
}

#[test]
fn an_extension_moves_the_end_of_the_lease() {
    let mut server = with_lease(2);
    let key = taken(&mut server, at(0));
    server.advance(at(2_000).saturating_sub(UNIT));
    server.extend(at(2_000).saturating_sub(UNIT), 0, None, key).expect("known");
    server.advance(at(4_000).saturating_sub(UNIT).saturating_sub(UNIT));
    assert!(matches!(stage(&server, key), Stage::InProgress { .. }));
    server.advance(at(4_000).saturating_sub(UNIT));
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
    server.advance(at(3_000).saturating_sub(UNIT));
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
    server.advance(at(1_000).saturating_sub(UNIT));
    assert_eq!(stage(&server, waiting), Stage::Scheduled);
    assert_eq!(take(&mut server, at(1_000).saturating_sub(UNIT), 1), [waiting]);
    server.advance(at(1_000));
    assert!(matches!(stage(&server, waiting), Stage::InProgress { .. }));
    assert_eq!(stage(&server, polled), Stage::Ended(End::NotPolled));
}

/// A task with `pollTimeoutSeconds` 4, taken at once; the retry comes after a second.
fn with_poll_timeout(timeout_policy: TimeoutPolicy) -> (Server, TaskKey) {
    let definition = Definition {
        poll_timeout: Some(SECOND * 4),
        timeout_policy,
        retry_delay: SECOND,
        ..Definition::default()
    };
    let mut server = server(Backend::Redis, definition);
    let key = taken(&mut server, at(0));
    (server, key)
}

#[test]
fn a_give_back_later_than_the_poll_timeout_ends_the_task_in_that_very_request() {
    for (when, ended) in [(at(4_000).saturating_sub(UNIT), false), (at(4_000), true), (at(9_000), true)] {
        let (mut server, key) = with_poll_timeout(TimeoutPolicy::TimeOutWorkflow);
        report(&mut server, when, key, Report::Yield, Duration::ZERO).expect("accepted");
        assert_eq!(stage(&server, key) == Stage::Ended(End::NotPolled), ended, "{when:?}");
        assert_eq!(server.view(key).and_then(|view| view.retried_as), None);
    }
}

#[test]
fn the_delay_of_a_give_back_is_added_to_the_poll_timeout() {
    let late = |when| {
        let (mut server, key) = with_poll_timeout(TimeoutPolicy::TimeOutWorkflow);
        report(&mut server, when, key, Report::Yield, SECOND * 10).expect("accepted");
        (stage(&server, key), server, key)
    };
    let (seen, mut server, key) = late(at(14_000).saturating_sub(UNIT));
    assert_eq!(seen, Stage::Scheduled);
    server.advance(at(14_000));
    assert_eq!(stage(&server, key), Stage::Ended(End::NotPolled), "though its delay is not over");
    assert_eq!(late(at(14_000)).0, Stage::Ended(End::NotPolled));
}

#[test]
fn a_poll_in_time_ends_the_wait_and_not_the_count() {
    let (mut server, key) = with_poll_timeout(TimeoutPolicy::TimeOutWorkflow);
    report(&mut server, at(3_000), key, Report::Yield, Duration::ZERO).expect("accepted");
    server.advance(at(4_000).saturating_sub(UNIT));
    assert_eq!(take(&mut server, at(4_000).saturating_sub(UNIT), 1), [key]);
    server.advance(at(60_000));
    assert!(matches!(stage(&server, key), Stage::InProgress { .. }), "who has it may take his time");
    report(&mut server, at(60_000), key, Report::Yield, Duration::ZERO).expect("accepted");
    assert_eq!(stage(&server, key), Stage::Ended(End::NotPolled));
}

#[test]
fn what_follows_a_late_give_back_is_for_the_policy() {
    for (policy, ended, retried) in
        [(TimeoutPolicy::Retry, true, true), (TimeoutPolicy::AlertOnly, false, false)]
    {
        let (mut server, key) = with_poll_timeout(policy);
        report(&mut server, at(9_000), key, Report::Yield, Duration::ZERO).expect("accepted");
        let view = server.view(key).expect("known");
        assert_eq!(view.stage == Stage::Ended(End::NotPolled), ended, "{policy:?}");
        assert_eq!(view.retried_as.is_some(), retried, "{policy:?}");
        // R-TIMEOUT-3: a retry's count begins after its delay.
        let Some(next) = view.retried_as else { continue };
        server.advance(at(14_000).saturating_sub(UNIT));
        assert_eq!(stage(&server, next), Stage::Scheduled);
        server.advance(at(14_000));
        assert_eq!(stage(&server, next), Stage::Ended(End::NotPolled));
    }
}

/// R-LEASE-4: an update with `extendLease` at three generations of servers.
#[test]
fn each_generation_has_its_own_mind_about_extend_lease() {
    let busy = Beat { status: Some(Report::Yield), callback_after: SECOND * 3 };
    let bare = Beat::default();
    for (generation, beat, taken_as) in [
        (Generation::BeforeExtendLease, busy, Taken::Report(Report::Yield)),
        (Generation::BeforeExtendLease, bare, Taken::Failure),
        (Generation::DemandsStatus, busy, Taken::Extension),
        (Generation::DemandsStatus, bare, Taken::Failure),
        (Generation::Now, busy, Taken::Extension),
        (Generation::Now, bare, Taken::Extension),
        (Generation::Now, Beat { status: Some(Report::Completed), ..busy }, Taken::Extension),
    ] {
        let mut server = with_lease(2).with_generation(generation);
        let key = taken(&mut server, at(0));
        assert_eq!(server.beat(at(1_000), ticket(1), None, key, beat), Ok(taken_as), "{generation:?}");
        let until = at(if taken_as == Taken::Extension { 3_000 } else { 2_000 });
        let expected = match taken_as {
            Taken::Report(_) => Stage::Scheduled,
            Taken::Extension | Taken::Failure => Stage::InProgress { until },
        };
        assert_eq!(stage(&server, key), expected, "{generation:?} {beat:?}");
        let nobody = TaskKey::from_u128(1);
        assert_eq!(server.beat(at(1_001), ticket(1), None, nobody, beat), Err(Refusal::NoSuchTask));
    }
}

#[test]
fn before_extend_lease_the_delay_hides_the_task_for_so_long() {
    for (delay, hidden_until) in [(Duration::ZERO, 1_000), (SECOND * 3, 4_000)] {
        let mut server = with_lease(2).with_generation(Generation::BeforeExtendLease);
        let key = taken(&mut server, at(0));
        let beat = Beat { status: Some(Report::Yield), callback_after: delay };
        server.beat(at(1_000), ticket(1), None, key, beat).expect("accepted");
        server.advance(at(hidden_until).saturating_sub(UNIT));
        assert!(take(&mut server, at(hidden_until).saturating_sub(UNIT), 1).is_empty(), "{delay:?}");
        server.advance(at(hidden_until));
        assert_eq!(take(&mut server, at(hidden_until), 1), [key], "{delay:?}");
    }
}

/// R-WORKFLOW-6: the tasks of a paused workflow.
#[test]
fn a_held_task_has_no_timeout_and_no_retry_until_it_is_released() {
    let definition = Definition { response_timeout: SECOND, retry_delay: SECOND, ..Definition::default() };
    let mut server = server(Backend::Redis, definition);
    let (silent, failed) = (taken(&mut server, at(0)), taken(&mut server, at(0)));
    for key in [silent, failed, failed] {
        server.hold(key);
    }
    report(&mut server, at(10), failed, Report::Failed, Duration::ZERO).expect("accepted");
    server.advance(at(9_000));
    assert_eq!(stage(&server, silent), Stage::InProgress { until: at(1_000) });
    assert_eq!(server.view(failed).and_then(|view| view.retried_as), None);
    for key in [silent, failed] {
        server.release(at(9_000), key);
    }
    server.advance(at(9_000));
    assert_eq!(stage(&server, silent), Stage::Ended(End::NoResponse));
    let next = server.view(failed).and_then(|view| view.retried_as).expect("a retry");
    server.advance(at(10_000));
    assert_eq!(take(&mut server, at(10_000), 2).len(), 2, "both retries, {next:?} among them");
}
