//! R-RETRY-1 to R-RETRY-3.

use std::time::Duration;

use downbeat_server::model::Report;
use downbeat_server::model::{Backend, Definition, RetryLogic, Stage};

use crate::support::{SECOND, UNIT, at, report, server, stage, take, taken};

#[test]
fn a_retry_is_there_at_once_and_comes_after_the_delay() {
    let definition = Definition { retry_delay: SECOND, ..Definition::default() };
    let mut server = server(Backend::Redis, definition);
    let key = taken(&mut server, at(0));
    report(&mut server, at(10), key, Report::Failed, Duration::ZERO).expect("taken");
    let next = server.view(key).and_then(|view| view.retried_as).expect("a retry");
    assert_ne!(next, key);
    assert_eq!(stage(&server, next), Stage::Scheduled);
    server.advance(at(1_010).saturating_sub(UNIT));
    assert!(take(&mut server, at(1_010).saturating_sub(UNIT), 1).is_empty());
    server.advance(at(1_010));
    assert_eq!(take(&mut server, at(1_010), 1), [next]);
    assert_eq!(server.view(next).map(|view| (view.attempt, view.deliveries)), Some((1, 1)));
}

#[test]
fn retries_end_after_their_count() {
    let definition = Definition { retries: 2, retry_delay: Duration::ZERO, ..Definition::default() };
    let mut server = server(Backend::Redis, definition);
    let mut key = taken(&mut server, at(0));
    for attempt in 0..=2 {
        report(&mut server, at(1), key, Report::Failed, Duration::ZERO).expect("taken");
        let next = server.view(key).and_then(|view| view.retried_as);
        assert_eq!(next.is_some(), attempt < 2, "after attempt {attempt}");
        server.advance(at(1));
        take(&mut server, at(1), 1);
        key = next.unwrap_or(key);
    }
    assert_eq!(server.open_tasks(), 0);
}

#[test]
fn what_failed_for_good_is_not_retried() {
    let mut server = server(Backend::Redis, Definition::default());
    for last in [Report::Terminal, Report::Completed] {
        let key = taken(&mut server, at(0));
        report(&mut server, at(1), key, last, Duration::ZERO).expect("taken");
        assert_eq!(server.view(key).and_then(|view| view.retried_as), None);
    }
    let canceled = taken(&mut server, at(2));
    assert!(server.cancel(at(3), canceled));
    assert!(!server.cancel(at(3), canceled), "once");
    assert_eq!(server.open_tasks(), 0);
}

#[test]
fn delays_grow_as_their_logic_says_up_to_the_cap() {
    let delays = |retry_logic, max: u64| {
        let definition = Definition {
            retry_logic,
            retry_delay: SECOND * 2,
            retry_delay_max: Duration::from_secs(max),
            ..Definition::default()
        };
        [0, 1, 2, 10].map(|n| definition.delay_after(n).as_secs())
    };
    assert_eq!(delays(RetryLogic::Fixed, 0), [2, 2, 2, 2]);
    assert_eq!(delays(RetryLogic::Linear { scale: 3 }, 0), [6, 12, 18, 66]);
    assert_eq!(delays(RetryLogic::Exponential, 0), [2, 4, 8, 2_048]);
    assert_eq!(delays(RetryLogic::Exponential, 5), [2, 4, 5, 5]);
    let endless = Definition { retry_logic: RetryLogic::Exponential, ..Definition::default() };
    assert!(endless.delay_after(u32::MAX) > endless.delay_after(31), "no overflow");
}

#[test]
fn jitter_lengthens_within_its_bound() {
    let jitter = Duration::from_millis(100);
    let definition = Definition { retry_delay: SECOND, retry_jitter: jitter, ..Definition::default() };
    let mut server = server(Backend::Redis, definition);
    for _ in 0..50 {
        let key = taken(&mut server, at(0));
        report(&mut server, at(0), key, Report::Failed, Duration::ZERO).expect("taken");
    }
    server.advance(at(1_000).saturating_sub(UNIT));
    assert!(take(&mut server, at(1_000).saturating_sub(UNIT), 100).is_empty());
    server.advance(at(1_100));
    assert_eq!(take(&mut server, at(1_100), 100).len(), 50);
}
