//! What is too large, too deep, elsewhere, or never accepted.

use downbeat::{Context, RawValue, Runner, Worker};
use downbeat_server::http::{CallKind, Fault, FaultKind, Options, Status, WorkflowStatus};

use crate::{Bench, assert_echoed, echo, faulty, first_attempt, quick, schedule, server};

#[test]
fn a_result_that_is_answered_with_500_every_time_blocks_no_other() {
    let server = server("stuck", Options::default());
    server.define_task(r#"{"name":"fine","responseTimeoutSeconds":5}"#).unwrap();
    let fault = faulty(&server, Fault::new(FaultKind::Status(500)).on(&[CallKind::Update]).for_task("stuck"));
    let stuck = schedule(&server, "stuck", 1);
    let mut bench = Bench::start(&server.url(), [echo("stuck"), echo("fine")]);
    let rest = schedule(&server, "fine", 30);
    let fine = |server: &downbeat_server::http::Server| {
        server.workflows().get(&WorkflowStatus::Completed).copied() == Some(30)
    };
    bench.wait("thirty others", |_| fine(&server));
    assert_echoed(&server, &rest);
    bench.wait("more than four tries", |_| failed_answers(&server) > 4);
    assert!(server.faults().remove(fault));
    bench.wait_completed(&server, 31);
    assert_echoed(&server, &stuck);
    assert_eq!(bench.drain().given_up, 0);
}

/// Answers of 500 so far.
fn failed_answers(server: &downbeat_server::http::Server) -> u64 {
    server.stats().answers.get(&500).copied().unwrap_or(0)
}

#[test]
fn an_output_above_the_limit_fails_its_task_with_a_reason_and_no_other() {
    let server = server("huge", Options::default());
    let worker = Worker::new("huge", |input: Box<RawValue>, context: &Context| {
        let large = input.get().contains("true");
        context.log("made the output");
        let text = if large { "x".repeat(10 * 1024 * 1024) } else { String::new() };
        Ok(std::collections::BTreeMap::from([("text", text)]))
    });
    let large = server.schedule("huge", r#"{"large":true}"#).unwrap();
    for _ in 0..5 {
        server.schedule("huge", r#"{"large":false}"#).unwrap();
    }
    let mut bench = Bench::start(&server.url(), [quick(worker.slots(2))]);
    bench.wait("all six", |_| {
        let counts = server.workflows();
        counts.get(&WorkflowStatus::Completed) == Some(&5) && counts.get(&WorkflowStatus::Failed) == Some(&1)
    });
    let (status, reason) = first_attempt(&server.workflow(&large).unwrap());
    assert_eq!(status, Status::FailedWithTerminalError);
    assert!(
        reason.contains("and the server takes 10485760; store it elsewhere and report where"),
        "{reason}"
    );
    assert_eq!(bench.drain().failed_terminally, 1);
}

#[test]
fn an_input_in_external_storage_is_fetched_where_that_is_possible() {
    let server = server("external", Options { input_inline_max: 100, ..Options::default() });
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(500));
    let workflow = server.schedule("external", &input).unwrap();
    let mut bench = Bench::start(&server.url(), [echo("external")]);
    bench.wait_completed(&server, 1);
    assert_eq!(server.workflow(&workflow).unwrap().tasks[0].output, input);
    let _ = bench.drain();
}

#[test]
fn an_input_that_cannot_be_fetched_fails_its_task_and_names_its_path() {
    let options = Options { input_inline_max: 100, external_readable: false, ..Options::default() };
    let server = server("elsewhere", options);
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(500));
    let workflow = server.schedule("elsewhere", &input).unwrap();
    let mut bench = Bench::start(&server.url(), [echo("elsewhere")]);
    bench.wait("the failure", |_| server.workflows().contains_key(&WorkflowStatus::Failed));
    let (status, reason) = first_attempt(&server.workflow(&workflow).unwrap());
    assert_eq!(status, Status::FailedWithTerminalError);
    assert!(reason.contains(".json"), "names the path: {reason}");
    schedule(&server, "elsewhere", 3);
    bench.wait("the others", |_| server.workflows().get(&WorkflowStatus::Completed) == Some(&3));
    let _ = bench.drain();
}

#[test]
fn numbers_of_any_size_pass_through_unchanged() {
    let server = server("numbers", Options::default());
    let input = r#"{"n":[18446744073709551616,-123456789012345678901234567890,0.1,1e21,9007199254740993]}"#;
    let workflow = server.schedule("numbers", input).unwrap();
    let mut bench = Bench::start(&server.url(), [echo("numbers")]);
    bench.wait_completed(&server, 1);
    assert_eq!(server.workflow(&workflow).unwrap().tasks[0].output, input);
    let _ = bench.drain();
}

#[test]
fn an_input_nested_too_deeply_fails_its_task_and_no_other() {
    let server = server("deep", Options::default());
    server.define_task(r#"{"name":"deep","retryCount":0,"responseTimeoutSeconds":5}"#).unwrap();
    let input = format!(r#"{{"n":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let workflow = server.schedule("deep", &input).unwrap();
    schedule(&server, "deep", 5);
    let mut bench = Bench::start(&server.url(), [echo("deep")]);
    bench.wait("all six", |_| {
        let counts = server.workflows();
        counts.get(&WorkflowStatus::Completed) == Some(&5) && counts.get(&WorkflowStatus::Failed) == Some(&1)
    });
    let (status, reason) = first_attempt(&server.workflow(&workflow).unwrap());
    assert_eq!(status, Status::Failed);
    assert!(reason.contains("nested deeper than"), "{reason}");
    let _ = bench.drain();
}

#[test]
fn an_input_too_large_for_the_worker_fails_its_task_and_no_other() {
    let server = server("vast", Options { input_inline_max: usize::MAX, ..Options::default() });
    server.define_task(r#"{"name":"vast","retryCount":0,"responseTimeoutSeconds":60}"#).unwrap();
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(3 << 20));
    let workflow = server.schedule("vast", &input).unwrap();
    schedule(&server, "vast", 5);
    let runner = Runner::builder(server.url()).max_task(1 << 20);
    let mut bench = Bench::start_runner(runner, [echo("vast")]);
    bench.wait("all six", |_| {
        let counts = server.workflows();
        counts.get(&WorkflowStatus::Completed) == Some(&5) && counts.get(&WorkflowStatus::Failed) == Some(&1)
    });
    let (_, reason) = first_attempt(&server.workflow(&workflow).unwrap());
    assert!(reason.contains("needs 3145") && reason.contains("has room for 1048576"), "{reason}");
    let _ = bench.drain();
}
