//! R-POLL-1 to R-POLL-4, R-QUEUE-3.

use std::time::Duration;

use downbeat_server::model::Report;
use downbeat_server::model::{Backend, Definition, Limit, Stage};

use crate::support::{SECOND, UNIT, at, report, server, stage, take, taken, ticket};

#[test]
fn a_poll_takes_its_task_before_it_answers() {
    let mut server = server(Backend::Redis, Definition::default());
    let parked = server.poll(at(0), ticket(1), None, 0, 1, SECOND).expect("no token is wanted");
    assert!(parked.is_none());
    let key = server.schedule(at(10), 0).expect("a definition");
    // Whether anybody is there to hear of it is not the server's business.
    let ended = server.advance(at(10));
    assert_eq!(ended.len(), 1);
    assert!(matches!(stage(&server, key), Stage::InProgress { .. }));
    assert!(take(&mut server, at(11), 1).is_empty());
}

#[test]
fn an_empty_poll_ends_at_its_time_and_not_before() {
    let mut server = server(Backend::Redis, Definition::default());
    assert!(server.poll(at(0), ticket(1), None, 0, 1, SECOND).expect("taken").is_none());
    assert!(server.advance(at(1_000).saturating_sub(UNIT)).is_empty());
    assert_eq!(server.advance(at(1_000)), [(ticket(1), Vec::new())]);
}

#[test]
fn no_poll_waits_longer_than_five_seconds() {
    let mut server = server(Backend::Redis, Definition::default());
    assert!(server.poll(at(0), ticket(1), None, 0, 1, SECOND * 60).expect("taken").is_none());
    assert!(server.advance(at(5_000).saturating_sub(UNIT)).is_empty());
    assert_eq!(server.advance(at(5_000)).len(), 1);
}

#[test]
fn back_ends_wait_for_the_first_for_all_or_not_at_all() {
    for (backend, early, count) in
        [(Backend::Redis, true, 1), (Backend::Sql, false, 1), (Backend::None, true, 0)]
    {
        let mut server = server(backend, Definition::default());
        let polled = server.poll(at(0), ticket(1), None, 0, 2, SECOND).expect("taken");
        assert_eq!(polled.is_some(), backend == Backend::None);
        server.schedule(at(1), 0);
        assert_eq!(
            server.advance(at(1)).len(),
            usize::from(early && backend != Backend::None),
            "{backend:?}"
        );
        let late = server.advance(at(1_000));
        let tasks: usize = late.iter().map(|(_, tasks)| tasks.len()).sum();
        assert_eq!(tasks, if early { 0 } else { count }, "{backend:?}");
    }
}

#[test]
fn an_sql_poll_ends_as_soon_as_it_has_all() {
    let mut server = server(Backend::Sql, Definition::default());
    assert!(server.poll(at(0), ticket(1), None, 0, 2, SECOND).expect("taken").is_none());
    server.schedule(at(1), 0);
    assert!(server.advance(at(1)).is_empty());
    server.schedule(at(2), 0);
    assert_eq!(server.advance(at(2)).first().map(|(_, tasks)| tasks.len()), Some(2));
}

#[test]
fn a_task_over_the_limit_is_put_back_for_sixty_seconds() {
    let limit = Some(Limit { group: 0, at_most: 1 });
    let mut server = server(Backend::Redis, Definition { limit, ..Definition::default() });
    for _ in 0..2 {
        server.schedule(at(0), 0);
    }
    let running = take(&mut server, at(0), 10);
    assert_eq!(running.len(), 1);
    report(&mut server, at(10), running[0], Report::Completed, Duration::ZERO).expect("taken");
    server.advance(at(60_000).saturating_sub(UNIT));
    assert!(take(&mut server, at(60_000).saturating_sub(UNIT), 10).is_empty(), "though nothing runs");
    server.advance(at(60_000));
    assert_eq!(take(&mut server, at(60_000), 10).len(), 1);
}

#[test]
fn a_given_back_task_frees_its_place_under_the_limit() {
    let limit = Some(Limit { group: 0, at_most: 1 });
    let mut server = server(Backend::Redis, Definition { limit, ..Definition::default() });
    let key = taken(&mut server, at(0));
    report(&mut server, at(1), key, Report::Yield, SECOND * 100).expect("taken");
    taken(&mut server, at(2));
}
