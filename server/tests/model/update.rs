//! R-UPDATE-2, R-UPDATE-3, R-UPDATE-7, R-UPDATE-9, R-UPDATE-10.

use std::time::Duration;

use downbeat_core::machine::{Instant, TaskKey};
use downbeat_server::model::{Backend, Definition, End, Server, Stage, Update};
use downbeat_server::model::{Effect, Report};

use crate::support::{SECOND, UNIT, at, report, server, stage, take, taken, ticket};

fn plain() -> Server {
    server(Backend::Redis, Definition::default())
}

fn and_next(server: &mut Server, now: Instant, key: TaskKey, report: Report) -> usize {
    let update = Update { key, report, callback_after: SECOND, take_next: true };
    server.update(now, ticket(2), None, None, update).expect("taken").len()
}

#[test]
fn the_first_final_result_wins() {
    let mut server = plain();
    let key = taken(&mut server, at(0));
    server.take_effects();
    for later in [Report::Completed, Report::Completed, Report::Failed, Report::Yield, Report::Terminal] {
        report(&mut server, at(1), key, later, Duration::ZERO).expect("accepted");
    }
    assert_eq!(stage(&server, key), Stage::Ended(End::Reported(Report::Completed)));
    let applied = server.take_effects().into_iter().filter_map(|effect| {
        if let Effect::Reported { applied, .. } = effect { Some(applied) } else { None }
    });
    assert_eq!(applied.collect::<Vec<_>>(), [true, false, false, false, false]);
    server.advance(at(100_000));
    assert!(take(&mut server, at(100_000), 1).is_empty());
}

#[test]
fn a_yield_comes_back_after_its_delay_with_the_same_key() {
    let mut server = plain();
    let key = taken(&mut server, at(0));
    report(&mut server, at(10), key, Report::Yield, SECOND).expect("taken");
    server.advance(at(1_010).saturating_sub(UNIT));
    assert!(take(&mut server, at(1_010).saturating_sub(UNIT), 1).is_empty());
    server.advance(at(1_010));
    assert_eq!(take(&mut server, at(1_010), 1), [key]);
    assert_eq!(server.view(key).map(|view| (view.attempt, view.deliveries)), Some((0, 2)));
}

#[test]
fn a_yield_without_a_delay_comes_back_at_once() {
    let mut server = plain();
    let key = taken(&mut server, at(0));
    report(&mut server, at(10), key, Report::Yield, Duration::ZERO).expect("taken");
    server.advance(at(10));
    assert_eq!(take(&mut server, at(10), 1), [key]);
}

#[test]
fn a_late_yield_takes_a_task_from_its_next_holder() {
    let mut server = plain();
    let key = taken(&mut server, at(0));
    report(&mut server, at(10), key, Report::Yield, SECOND).expect("taken");
    server.advance(at(1_010));
    assert_eq!(take(&mut server, at(1_010), 1), [key]);
    // The same report again, late: nobody checks who says so.
    report(&mut server, at(1_020), key, Report::Yield, SECOND).expect("taken");
    assert_eq!(stage(&server, key), Stage::Scheduled);
}

#[test]
fn a_given_back_task_can_be_completed_without_a_poll() {
    for delay in [Duration::ZERO, SECOND] {
        let mut server = plain();
        let key = taken(&mut server, at(0));
        report(&mut server, at(1), key, Report::Yield, delay).expect("taken");
        server.advance(at(2));
        report(&mut server, at(2), key, Report::Completed, Duration::ZERO).expect("taken");
        assert_eq!(stage(&server, key), Stage::Ended(End::Reported(Report::Completed)));
        server.advance(at(5_000));
        assert!(take(&mut server, at(5_000), 1).is_empty());
    }
}

#[test]
fn update_v2_polls_after_a_final_report_and_after_its_repetition() {
    let mut server = plain();
    let key = taken(&mut server, at(0));
    for _ in 0..3 {
        server.schedule(at(0), 0);
    }
    assert_eq!(and_next(&mut server, at(1), key, Report::Yield), 0, "not after a yield");
    assert_eq!(and_next(&mut server, at(2), key, Report::Completed), 1);
    assert_eq!(and_next(&mut server, at(3), key, Report::Completed), 1, "a second task, for the same report");
    assert_eq!(take(&mut server, at(4), 10).len(), 1);
}
