//! A task whose workflow is terminated while its code runs.

use std::time::Duration;

use downbeat_core::machine::{Instant, OnLapse, Policy};
use serde_json::json;

use crate::world::{Code, Ran, Seen, Setup, World, drive};

/// One task of 25 steps of a second each, and a lease of 10 s; its workflow is terminated at that time.
fn works_until(terminated: Instant, asked_bytes: usize) -> Ran {
    drive(Setup::new(), move || {
        let mut world = World::with_tasks(1).drains_at(60);
        (world.terminated, world.asked_bytes) = (terminated, asked_bytes);
        (world, Code::new(25, Duration::from_secs(1)))
    })
}

fn asks(ran: &Ran) -> Vec<&Seen> {
    let asks = ran.world.to("/tasks/t0");
    assert!(asks.iter().all(|seen| seen.method == "GET" && seen.body.is_null()));
    asks
}

#[test]
fn a_terminated_workflows_task_is_stopped_and_nothing_is_reported() {
    let ran = works_until(Instant::from_secs(13), 0);
    assert_eq!((ran.code.cancelled, ran.world.ended.len()), (1, 0));
    // The task came in the first second. The interval of 10 s, up to 10 % less, and a step of a second at the most.
    let at: Vec<u64> = asks(&ran).iter().map(|seen| seen.at.as_millis()).collect();
    let [first, second] = *at else { panic!("two questions: {at:?}") };
    assert!((10_000..12_100).contains(&first) && (9_000..11_100).contains(&(second - first)), "{at:?}");
    assert!(
        ran.code.cancelled_at.as_millis() - second < 1_100,
        "{:?}, asked at {at:?}",
        ran.code.cancelled_at
    );
    let after = ran.world.seen.iter().filter(|seen| seen.at > ran.code.cancelled_at);
    assert!(after.clone().count() > 20, "the entry is free");
    assert!(after.clone().all(|seen| seen.path.starts_with("/tasks/poll/")), "nobody hears of it again");
    assert_eq!(ran.counts.faults + ran.counts.failures + ran.counts.unreportable, 0);
}

#[test]
fn the_state_of_a_task_is_read_through_a_buffer_that_is_smaller() {
    let setup = Setup::new();
    assert_eq!(setup.receive, 2_048);
    let stopped = works_until(Instant::from_secs(13), 10_000);
    assert_eq!((stopped.code.cancelled, stopped.world.ended.len()), (1, 0));
    assert_eq!(stopped.counts.faults + stopped.counts.failures, 0);

    let goes_on = works_until(Instant::FAR_FUTURE, 10_000);
    assert_eq!((goes_on.code.cancelled, goes_on.world.ended.len()), (0, 1));
    assert_eq!(goes_on.world.ended[0].1["status"], json!("COMPLETED"));
    assert_eq!(asks(&goes_on).len(), 2, "one request an interval");
    assert_eq!(goes_on.counts.faults + goes_on.counts.failures, 0);
}

#[test]
fn a_task_that_ends_within_the_interval_is_not_asked_about() {
    let ran =
        drive(Setup::new(), || (World::with_tasks(1).drains_at(30), Code::new(8, Duration::from_secs(1))));
    assert_eq!((ran.world.ended.len(), asks(&ran).len()), (1, 0));
}

#[test]
fn a_task_that_timed_out_on_the_server_goes_on_unless_a_lapse_stops_it() {
    for (on_lapse, cancelled, asked) in [(OnLapse::Finish, 0, 2), (OnLapse::Stop, 1, 1)] {
        let setup = Setup { policy: Policy { on_lapse, ..Setup::new().policy }, ..Setup::new() };
        let ran = drive(setup, || {
            let mut world = World::with_tasks(1).drains_at(60);
            (world.terminated, world.ends_as) = (Instant::from_secs(5), "TIMED_OUT");
            (world, Code::new(25, Duration::from_secs(1)))
        });
        assert_eq!((ran.code.cancelled, asks(&ran).len()), (cancelled, asked), "{on_lapse:?}");
    }
}
