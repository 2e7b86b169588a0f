//! A worker's life without faults.

use std::time::Duration;

use downbeat_core::machine::{Control, Instant};
use downbeat_core::ports::End;
use serde_json::json;

use crate::world::{Code, Setup, World, drive, task};

#[test]
fn tasks_are_run_and_reported() {
    let ran = drive(Setup::new(), || (World::with_tasks(20).drains_at(10), Code::quick()));
    let ended = &ran.world.ended;
    assert_eq!(ended.len(), 20);
    for (n, (id, report)) in ended.iter().enumerate() {
        assert_eq!(id, &format!("t{n}"));
        assert_eq!(report["status"], json!("COMPLETED"));
        assert_eq!(report["outputData"], json!({ "echo": { "n": n } }));
        assert_eq!(report["workflowInstanceId"], json!(format!("w-t{n}")));
        assert_eq!(report["workerId"], json!("w1"));
    }
    assert_eq!(ran.world.connections, 1);
    assert_eq!(ran.counts.failures, 0);
    assert_eq!(ran.code.most_at_once, 2, "both slots were used");
    assert!(ran.world.to("/tasks/update-v2").len() >= 18, "most tasks came with an update");
}

#[test]
fn an_idle_queue_is_polled_quietly() {
    let ran = drive(Setup::new(), || (World::new().drains_at(61), Code::quick()));
    let polls = ran.world.to("/tasks/poll/batch/greet");
    assert!((60..75).contains(&polls.len()), "{} polls in a minute", polls.len());
    assert_eq!(polls[0].query, "workerid=w1&count=2&timeout=0");
    assert_eq!(polls.last().expect("a poll").query, "workerid=w1&count=1&timeout=1000");
}

#[test]
fn byte_by_byte_is_the_same() {
    let make = |piece| {
        move || {
            let mut world = World::with_tasks(8).drains_at(10);
            world.piece = piece;
            (world, Code::quick())
        }
    };
    let (whole, bytes) = (drive(Setup::new(), make(usize::MAX)), drive(Setup::new(), make(1)));
    assert_eq!(whole.world.transcript, bytes.world.transcript);
    assert_eq!(whole.world.ended, bytes.world.ended);
}

#[test]
fn a_lease_is_extended_between_steps() {
    let ran = drive(Setup::new(), || {
        let code = Code::new(60, Duration::from_millis(500));
        (World::with_tasks(1).drains_at(2), code)
    });
    let reports = ran.world.to("/tasks");
    let extensions = reports.iter().filter(|seen| seen.body["extendLease"] == json!(true));
    let sent: Vec<u64> = extensions
        .map(|seen| {
            assert_eq!(seen.body["callbackAfterSeconds"], json!(10), "the length of the lease");
            seen.at.as_millis()
        })
        .collect();
    assert!(sent.len() >= 3, "30 s of work under a lease of 10 s: {sent:?}");
    let mut before = 1_000;
    for at in &sent {
        assert!(at - before <= 8_600, "80 % of the lease, and one step of 500 ms: {sent:?}");
        before = *at;
    }
    assert!(ran.world.now.as_millis() < 31_000, "the drain's time was enough: {:?}", ran.world.now);
}

#[test]
fn a_poll_is_not_held_while_code_waits_for_its_step() {
    let ran = drive(Setup::new(), || {
        let mut world = World::new().drains_at(30);
        world.queue.push_back(task("t0", json!({})));
        (world, Code::new(100, Duration::from_millis(50)))
    });
    let polls = ran.world.to("/tasks/poll/batch/greet");
    let during = polls.iter().filter(|seen| seen.at < ran.world.to("/tasks/update-v2")[0].at);
    assert!(during.clone().count() > 10, "the second entry is still asked for");
    assert!(during.clone().all(|seen| seen.query.ends_with("timeout=0")));
}

#[test]
fn a_drain_lets_code_finish_and_a_recall_gives_it_back() {
    let finishes =
        drive(Setup::new(), || (World::with_tasks(1).drains_at(2), Code::new(20, Duration::from_secs(1))));
    assert_eq!(finishes.world.ended.len(), 1);
    assert_eq!(finishes.code.cancelled, 0);

    let recalled = drive(Setup::new(), || {
        let mut world = World::new().drains_at(2);
        let mut polled = task("t0", json!({}));
        polled["outputData"] = json!({ "so": "far" });
        world.queue.push_back(polled);
        (world, Code::new(1_000, Duration::from_secs(1)))
    });
    assert_eq!((recalled.world.ended.len(), recalled.code.cancelled), (0, 1));
    let last = &recalled.world.seen.last().expect("a request").body;
    assert_eq!(last["status"], json!("IN_PROGRESS"));
    assert_eq!(last["callbackAfterSeconds"], json!(1));
    assert_eq!(last["outputData"], json!({ "so": "far" }));
}

#[test]
fn an_abort_ends_at_once() {
    let ran = drive(Setup::new(), || {
        let mut world = World::with_tasks(2);
        world.controls.push_back((Instant::from_secs(3), Control::Abort));
        (world, Code::new(100, Duration::from_secs(1)))
    });
    assert_eq!(ran.code.cancelled, 2);
    assert!(ran.world.now < Instant::from_secs(5));
}

#[test]
fn a_pause_stops_polls_and_a_resume_begins_again() {
    let ran = drive(Setup::new(), || {
        let mut world = World::new();
        let controls = [(2, Control::Pause), (50, Control::Resume), (52, Control::Drain)];
        world.controls.extend(controls.map(|(at, control)| (Instant::from_secs(at), control)));
        (world, Code::quick())
    });
    let between = ran.world.seen.iter().filter(|seen| (4..50).contains(&(seen.at.as_millis() / 1_000)));
    assert_eq!(between.count(), 0);
    assert!(ran.world.seen.iter().any(|seen| seen.at >= Instant::from_secs(50)));
}

#[test]
fn the_end_of_the_code_decides_what_is_reported() {
    let ends = [
        (End::Failed { reason: "no ink" }, "FAILED", "no ink"),
        (End::Terminal { reason: "no \"paper\"" }, "FAILED_WITH_TERMINAL_ERROR", "no \"paper\""),
    ];
    for (end, status, reason) in ends {
        let ran = drive(Setup::new(), || {
            let mut code = Code::quick();
            code.end = end;
            (World::with_tasks(1).drains_at(3), code)
        });
        let (_, report) = &ran.world.ended[0];
        assert_eq!(report["status"], json!(status));
        assert_eq!(report["reasonForIncompletion"], json!(reason));
        assert_eq!(report["outputData"], json!({ "echo": { "n": 0 } }));
    }
}

#[test]
fn a_yield_says_when_to_come_back() {
    let ran = drive(Setup::new(), || {
        let mut code = Code::quick();
        code.end = End::InProgress { callback_after: Duration::from_millis(29_500) };
        (World::with_tasks(1).drains_at(3), code)
    });
    let report = &ran.world.to("/tasks")[0].body;
    assert_eq!((&report["status"], &report["callbackAfterSeconds"]), (&json!("IN_PROGRESS"), &json!(30)));
}

#[test]
fn an_input_that_does_not_fit_the_code_is_terminal() {
    let ran = drive(Setup::new(), || {
        let mut world = World::new().drains_at(3);
        world.queue.push_back(task("t0", json!({ "unfit": true })));
        (world, Code::quick())
    });
    let (_, report) = &ran.world.ended[0];
    assert_eq!(report["status"], json!("FAILED_WITH_TERMINAL_ERROR"));
    assert_eq!(report["reasonForIncompletion"], json!("the input is not what this worker takes"));
}

#[test]
fn the_retry_of_a_task_that_runs_is_extended_and_reported_in_its_place() {
    let ran = drive(Setup::new(), || {
        let mut world = World::with_tasks(1).drains_at(30);
        let mut retry = task("t1", json!({}));
        retry["retriedTaskId"] = json!("t0");
        retry["responseTimeoutSeconds"] = json!(20);
        world.queue.push_back(retry);
        (world, Code::new(18, Duration::from_secs(1)))
    });
    assert_eq!(ran.code.most_at_once, 1);
    let extensions = ran.world.to("/tasks");
    let [extension] = *extensions else { panic!("one, at 80 % of 20 s: {extensions:?}") };
    assert_eq!(
        (&extension.body["taskId"], &extension.body["callbackAfterSeconds"]),
        (&json!("t1"), &json!(20))
    );
    let [(id, report)] = &*ran.world.ended else { panic!("one report: {:?}", ran.world.ended) };
    assert_eq!((id.as_str(), &report["workflowInstanceId"]), ("t1", &json!("w-t1")));
    assert_eq!(report["outputData"], json!({ "echo": { "n": 0 } }));
}
