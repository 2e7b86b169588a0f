//! Results that the server refuses: the task fails with a reason, and nobody else is disturbed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use downbeat::{Context, RawValue, StdClock, TaskError, Worker};
use downbeat_core::machine::{Clock as _, Instant};

use crate::conductor::{Conductor, is_result};
use crate::support::json;
use crate::{Directory, drained, echo, runner};

/// The server refuses each result of `bad` that has completed; it takes one that has failed.
fn completed_bad(body: &str) -> bool {
    body.contains(r#""COMPLETED""#) && body.contains("bad-")
}

#[test]
fn a_result_that_is_too_large_fails_its_task_at_once_with_both_sizes() {
    let page = r#"{"message":"Maximum upload size of 2000 bytes exceeded"}"#;
    let (conductor, server) = Conductor::start(&[("bad-1", "large")], move |_, received| {
        (received.body.len() > 2_000).then(|| json(413, page))
    });
    let directory = Directory::new();
    let large = Worker::new("large", |_: Box<RawValue>, _: &Context| {
        Ok(serde_json::json!({ "text": "x".repeat(5_000) }))
    });
    let clock = StdClock::new();
    // With the usual delays: the report that takes the result's place waits for none of them.
    let running = runner(&server).store(&directory.0).worker(large).start().unwrap();
    conductor.wait_ended(1);
    assert!(clock.now() < Instant::ZERO.saturating_add(Duration::from_secs(8)), "{:?}", clock.now());
    let task = conductor.task("bad-1");
    assert_eq!(task.status, "FAILED_WITH_TERMINAL_ERROR");
    assert!(task.reason.contains("2000 bytes") && task.reason.contains("it has 5"), "{}", task.reason);
    let summary = drained(running);
    assert_eq!((summary.replaced, summary.failed_terminally, summary.given_up), (1, 1, 0), "{summary:?}");
    let [letter] = &directory.dead()[..] else { panic!("{:?}", directory.dead()) };
    assert!(letter.contains("xxxx") && letter.contains("bad-1"));
}

#[test]
fn a_result_that_is_rejected_fails_its_task_at_once_with_the_status() {
    for status in [400, 409, 422] {
        let (conductor, server) = Conductor::start(&[("bad-1", "echo")], move |_, received| {
            completed_bad(&received.body).then(|| json(status, r#"{"message":"no"}"#))
        });
        let running = runner(&server).worker(echo("echo")).start().unwrap();
        conductor.wait_ended(1);
        let task = conductor.task("bad-1");
        assert_eq!((task.status.as_str(), task.results), ("FAILED", 1));
        assert!(task.reason.contains(&format!("status {status}")), "{}", task.reason);
        assert_eq!(drained(running).replaced, 1);
    }
}

#[test]
fn a_gateway_that_knows_no_route_for_a_while_costs_no_result() {
    let refused = AtomicUsize::new(0);
    let (conductor, server) = Conductor::start(&[("t-1", "echo"), ("t-2", "echo")], move |_, received| {
        let gone = is_result(received) && refused.fetch_add(1, Ordering::AcqRel) < 7;
        gone.then(|| json(404, r#"{"message":"no Route matched with those values"}"#))
    });
    let running = runner(&server).worker(echo("echo").slots(2)).start().unwrap();
    conductor.wait_ended(2);
    let summary = drained(running);
    assert_eq!((summary.completed, summary.replaced, summary.given_up), (2, 0, 0), "{summary:?}");
}

#[test]
fn results_of_one_type_that_always_get_a_500_fail_in_time_and_disturb_nobody() {
    let tasks: Vec<String> = (0..40).map(|n| format!("bad-{n:02}")).collect();
    let mut all: Vec<(&str, &str)> = tasks.iter().map(|id| (id.as_str(), "bad")).collect();
    let others: Vec<String> = (0..200).map(|n| format!("ok-{n:03}")).collect();
    all.extend(others.iter().map(|id| (id.as_str(), "good")));
    let (conductor, server) = Conductor::start(&all, |_, received| {
        completed_bad(&received.body).then(|| json(500, r#"{"message":"cannot index"}"#))
    });
    let directory = Directory::new();
    let runner = runner(&server).store(&directory.0).worker(echo("bad").slots(16));
    let running = runner.worker(echo("good").slots(4)).start().unwrap();
    // Not one type is deaf: all its tasks are worked off, beyond the places of its table too.
    conductor.wait_ended(240);
    let summary = drained(running);
    assert_eq!((summary.completed, summary.replaced, summary.given_up), (200, 40, 0), "{summary:?}");
    for task in conductor.tasks() {
        let bad = task.task_type == "bad";
        assert_eq!(task.status, if bad { "FAILED" } else { "COMPLETED" });
        assert!(!bad || task.reason.contains("status 500"), "{}", task.reason);
    }
    assert_eq!(directory.dead().len(), 40);
}

#[test]
fn a_firewall_that_refuses_one_type_costs_no_tokens_and_disturbs_nobody() {
    let tasks: Vec<String> = (0..10).map(|n| format!("bad-{n}")).collect();
    let mut all: Vec<(&str, &str)> = tasks.iter().map(|id| (id.as_str(), "bad")).collect();
    let others: Vec<String> = (0..50).map(|n| format!("ok-{n:02}")).collect();
    all.extend(others.iter().map(|id| (id.as_str(), "good")));
    let (conductor, server) = Conductor::start(&all, |_, received| {
        completed_bad(&received.body)
            .then(|| json(403, "<html>blocked</html>").header("Content-Type", "text/html"))
    });
    let runner = runner(&server).auth("key", "secret").worker(echo("bad").slots(4));
    let running = runner.worker(echo("good").slots(4)).start().unwrap();
    conductor.wait_ended(60);
    let tokens = server.received().iter().filter(|received| received.target == "/api/token").count();
    assert!(tokens <= 2, "{tokens} tokens");
    let summary = drained(running);
    assert_eq!((summary.completed, summary.replaced, summary.given_up), (50, 10, 0), "{summary:?}");
}

#[test]
fn a_worker_whose_entries_are_full_of_refused_results_is_not_ready() {
    let (_conductor, server) = Conductor::start(&[("bad-1", "bad"), ("bad-2", "bad")], |_, received| {
        completed_bad(&received.body).then(|| json(500, "{}"))
    });
    let hour = Duration::from_secs(3_600);
    let slow = echo("bad").table(2).policy(|policy| policy.update = [Duration::ZERO, hour, hour, hour]);
    // The other one's polls go on, so that there is somebody to wait with.
    let mut runner = runner(&server).worker(slow).worker(echo("idle")).admin(([127, 0, 0, 1], 0).into());
    let metrics = runner.metrics();
    let running = runner.start().unwrap();
    server.wait("two refusals", |received| {
        received.iter().filter(|received| completed_bad(&received.body)).count() == 2
            && metrics.render().contains("downbeat_results_refused{taskType=\"bad\"} 2")
    });
    let ready = crate::support::ready(running.handle().admin_address().unwrap());
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(
        ready.contains("workers for `bad` hold all entries with results that the server refuses"),
        "{ready}"
    );
    running.handle().abort();
    let _ = running.join();
}

#[test]
fn a_server_that_takes_another_method_at_update_v2_gets_the_older_call_at_once() {
    let (conductor, server) = Conductor::start(&[("t-1", "echo"), ("t-2", "echo")], |_, received| {
        let message = r#"{"status":500,"message":"Request method 'POST' not supported","retryable":false}"#;
        received.target.ends_with("/update-v2").then(|| json(500, message))
    });
    let clock = StdClock::new();
    // With the usual delays: a failed report is repeated after ten seconds.
    let echo = Worker::new("echo", |_: Box<RawValue>, _: &Context| Ok::<(), TaskError>(()));
    let running = runner(&server).worker(echo).start().unwrap();
    conductor.wait_ended(2);
    assert!(clock.now() < Instant::ZERO.saturating_add(Duration::from_secs(8)), "{:?}", clock.now());
    let summary = drained(running);
    assert_eq!((summary.completed, summary.replaced), (2, 0));
    let tries = server.received().iter().filter(|received| received.target.ends_with("/update-v2")).count();
    assert_eq!(tries, 1);
}

#[test]
fn an_empty_answer_and_a_null_to_update_v2_are_no_task_and_the_result_is_accepted() {
    for body in ["", "null"] {
        let (conductor, server) = Conductor::start(&[("t-1", "echo")], move |conductor, received| {
            let v2 = received.target.ends_with("/update-v2");
            v2.then(|| {
                let _ = conductor.answer(received);
                json(200, body)
            })
        });
        let running = runner(&server).worker(echo("echo")).start().unwrap();
        conductor.wait_ended(1);
        let summary = drained(running);
        assert_eq!((summary.completed, conductor.task("t-1").results), (1, 1), "{body:?}");
    }
}

#[test]
fn a_give_back_that_would_end_the_workflow_is_a_failure_that_can_be_retried() {
    let (conductor, server) = Conductor::start(&[], |_, _| None);
    // It waited for longer than its poll timeout before it was polled for the second time.
    let times = r#","responseTimeoutSeconds":60,"scheduledTime":1000000,"startTime":1000100,"updateTime":1009000,"taskDefinition":{"pollTimeoutSeconds":4}"#;
    conductor.schedule("t-1", "patient", times);
    let (began, begins) = std::sync::mpsc::channel();
    let patient = Worker::new("patient", move |_: Box<RawValue>, context: &Context| {
        began.send(()).unwrap_or_default();
        while !context.wait_cancelled(crate::support::PATIENCE) {}
        Err::<(), _>(context.give_back())
    });
    let running = runner(&server).drain_timeout(Duration::from_millis(50)).worker(patient).start().unwrap();
    begins.recv_timeout(crate::support::PATIENCE).unwrap();
    let summary = drained(running);
    let task = conductor.task("t-1");
    assert_eq!((task.status.as_str(), task.results), ("FAILED", 1), "{summary:?}");
    assert!(task.reason.contains("pollTimeoutSeconds"), "{}", task.reason);
    assert_eq!((summary.given_back, summary.failed), (0, 1), "{summary:?}");
}
