//! A server that is slow, and not dead.

use std::time::Duration;

use downbeat::TransportChoice;

use crate::conductor::{Conductor, is_result, takes};
use crate::{drained, echo, runner};

/// Each result takes longer than a call may, and no longer than a report may.
fn all_arrive(transport: TransportChoice) {
    let tasks: Vec<String> = (0..20).map(|n| format!("t-{n:02}")).collect();
    let all: Vec<(&str, &str)> = tasks.iter().map(|id| (id.as_str(), "echo")).collect();
    let (conductor, server) = Conductor::start(&all, |conductor, received| {
        is_result(received).then(|| {
            let answer = conductor.answer(received);
            takes(Duration::from_millis(600));
            answer
        })
    });
    let worker = echo("echo").slots(4).report_timeout(Duration::from_secs(5));
    let worker = worker.policy(|policy| policy.call_timeout = Duration::from_millis(400));
    let running = runner(&server).transport(transport).worker(worker).start().unwrap();
    let handle = running.handle();
    server.wait("all results", |_| handle.summary().completed == 20);
    let summary = drained(running);
    assert_eq!((summary.tasks, summary.given_up), (20, 0), "{summary:?}");
    let updates: usize = conductor.tasks().iter().map(|task| task.results).sum();
    assert!(updates <= 30, "{updates} updates for 20 results");
    assert!(conductor.tasks().iter().all(|task| task.status == "COMPLETED"));
}

#[test]
fn results_that_take_long_are_sent_once_and_the_tasks_in_late_answers_run() {
    all_arrive(TransportChoice::Lean);
}

#[test]
fn results_that_take_long_are_sent_once_by_ureq_too() {
    all_arrive(TransportChoice::Ureq);
}
