//! The runner against a scripted server: tasks in, results out.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use downbeat::{Context, RawValue, Runner, Running, Summary, TaskError, Worker};
use serde::{Deserialize, Serialize};
use support::{PATIENCE, Queue, Received, Reply, Server, json, results, task};

#[derive(Deserialize)]
struct Order {
    cents: u64,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: String,
}

#[derive(Serialize)]
struct Receipt {
    paid: u64,
    skus: Vec<String>,
}

fn pay(order: Order, context: &Context) -> Result<Receipt, TaskError> {
    context.log(format!("paying in try {}", context.retry_count()));
    if order.cents == 0 {
        return Err(TaskError::terminal("nothing to pay"));
    }
    if order.cents == 13 {
        return Err(
            TaskError::in_progress(Duration::from_secs(5)).with_output(serde_json::json!({"seen": 1}))
        );
    }
    if order.cents == 14 {
        "x".parse::<u64>()?;
    }
    assert!(order.cents != 15, "fifteen is a bad number");
    let skus = order.lines.into_iter().map(|line| line.sku).collect();
    Ok(Receipt { paid: order.cents, skus })
}

fn start(server: &Server, worker: Worker) -> Running {
    Runner::builder(server.url()).worker_id("me").signals(false).worker(worker).start().unwrap()
}

fn drained(running: Running) -> Summary {
    running.handle().drain();
    running.join()
}

/// Runs `worker` until the server has so many results, and gives those.
fn results_of(tasks: &[String], worker: Worker) -> (Vec<String>, Summary) {
    let queue = Queue::new(tasks.iter().cloned());
    let server = Server::start(move |received: &Received| queue.answer(received));
    let running = start(&server, worker);
    let count = tasks.len();
    let received = server.wait("results", |received| results(received).len() >= count);
    let summary = drained(running);
    (results(&received), summary)
}

fn result<'r>(results: &'r [String], id: &str) -> &'r str {
    results.iter().find(|result| result.contains(&format!("\"{id}\""))).unwrap()
}

#[test]
fn every_ending_is_reported_as_what_it_is() {
    let order = |cents: u64| format!(r#"{{"cents":{cents},"lines":[{{"sku":"a"}}]}}"#);
    let tasks = [
        task("t-done", "pay", &order(7)),
        task("t-terminal", "pay", &order(0)),
        task("t-yield", "pay", &order(13)),
        task("t-error", "pay", &order(14)),
        task("t-panic", "pay", &order(15)),
    ];
    let (results, summary) = results_of(&tasks, Worker::new("pay", pay).slots(3));
    let done = result(&results, "t-done");
    assert!(done.starts_with(
        r#"{"taskId":"t-done","workflowInstanceId":"w-t-done","workerId":"me","status":"COMPLETED""#
    ));
    assert!(done.ends_with(r#""outputData":{"paid":7,"skus":["a"]}}"#), "{done}");
    assert!(done.contains("paying in try 1"), "{done}");
    let terminal = result(&results, "t-terminal");
    assert!(terminal.contains(r#""FAILED_WITH_TERMINAL_ERROR","reasonForIncompletion":"nothing to pay""#));
    let in_progress = result(&results, "t-yield");
    assert!(
        in_progress.contains(r#""IN_PROGRESS","callbackAfterSeconds":5"#)
            && in_progress.ends_with(r#"{"seen":1}}"#)
    );
    assert!(result(&results, "t-error").contains(r#""FAILED","reasonForIncompletion":"invalid digit"#));
    let panic = result(&results, "t-panic");
    assert!(
        panic.contains(r#""FAILED","reasonForIncompletion":"the handler panicked: fifteen is a bad number"#)
    );
    assert_eq!((summary.tasks, summary.completed, summary.failed), (5, 1, 2));
    assert_eq!((summary.failed_terminally, summary.in_progress, summary.given_up), (1, 1, 0));
}

#[test]
fn an_unfit_input_fails_for_good_and_names_its_place_without_its_content() {
    let input = r#"{"cents":7,"lines":[{"sku":"a"},{"sku":{"secret":"hunter2"}}]}"#;
    let (results, summary) = results_of(&[task("t", "pay", input)], Worker::new("pay", pay));
    let result = result(&results, "t");
    assert!(result.contains("FAILED_WITH_TERMINAL_ERROR"), "{result}");
    assert!(result.contains("at `lines[1].sku`: expected a string"), "{result}");
    assert!(!result.contains("hunter2") && !result.contains("secret"), "{result}");
    assert_eq!(summary.failed_terminally, 1);
}

#[test]
fn raw_json_passes_through_to_the_digit() {
    let input = r#"{"n":123456789012345678901234567890,"f":1.10,"s":"\u00e9\u0001"}"#;
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    let (results, _) = results_of(&[task("t", "echo", input)], echo);
    assert!(result(&results, "t").ends_with(&format!("\"outputData\":{input}}}")));
}

#[test]
fn a_bad_task_of_a_batch_costs_only_itself() {
    let tasks = [
        r#"{"taskId":"t-bad","workflowInstanceId":"w","taskType":"echo","inputData":[]}"#.to_owned(),
        r#"{"workflowInstanceId":"w","taskType":"echo","inputData":{}}"#.to_owned(),
        task("t-other", "pay", "{}"),
        task("t-good", "echo", r#"{"a":1}"#),
    ];
    let queue = Queue::new(tasks);
    let server = Server::start(move |received: &Received| queue.answer(received));
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input)).slots(4);
    let running = start(&server, echo);
    let received = server.wait("results", |received| results(received).len() >= 3);
    let summary = drained(running);
    let results = results(&received);
    assert!(
        result(&results, "t-bad")
            .contains(r#""FAILED","reasonForIncompletion":"the polled task's `inputData` is not an object"#)
    );
    assert!(
        result(&results, "t-other").contains("the server sent a task of type `pay` to a worker for `echo`")
    );
    assert!(result(&results, "t-good").contains("COMPLETED"));
    assert_eq!((summary.unreportable, summary.completed, summary.failed), (1, 1, 2));
}

#[test]
fn surplus_tasks_are_given_back() {
    let server = Server::start(|received: &Received| {
        if received.target.contains("/poll/") && received.nth == 0 && received.connection == 0 {
            return json(200, format!("[{},{}]", task("t1", "echo", "{}"), task("t2", "echo", "{}")));
        }
        Queue::default().answer(received)
    });
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    let running = start(&server, echo);
    let received = server.wait("results", |received| results(received).len() >= 2);
    let summary = drained(running);
    let results = results(&received);
    assert!(result(&results, "t1").contains("COMPLETED"));
    assert!(result(&results, "t2").contains(r#""IN_PROGRESS","callbackAfterSeconds":1"#));
    assert_eq!((summary.completed, summary.given_back), (1, 1));
}

#[test]
fn the_give_back_of_a_surplus_task_is_sent_again_where_the_server_was_too_busy_for_it() {
    let busy = AtomicBool::new(true);
    let server = Server::start(move |received: &Received| {
        if received.target.contains("/poll/") && received.nth == 0 && received.connection == 0 {
            return json(200, format!("[{},{}]", task("t1", "echo", "{}"), task("t2", "echo", "{}")));
        }
        if received.body.contains("t2") && busy.swap(false, Ordering::AcqRel) {
            return json(503, "{}");
        }
        Queue::default().answer(received)
    });
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    let running = start(&server, echo);
    let received = server.wait("second give-back", |received| results(received).len() >= 3);
    let summary = drained(running);
    let of_it: Vec<String> = results(&received).into_iter().filter(|result| result.contains("t2")).collect();
    assert_eq!((of_it.len(), summary.given_back), (2, 1), "{summary:?}");
    assert_eq!(of_it[0], of_it[1]);
}

#[test]
fn an_output_above_the_limit_is_never_sent() {
    let large = Worker::new("large", |_: Box<RawValue>, _: &Context| {
        Ok(serde_json::json!({ "text": "x".repeat(10 * 1024 * 1024) }))
    });
    let (results, _) = results_of(&[task("t", "large", "{}")], large);
    let result = result(&results, "t");
    assert!(result.contains("FAILED_WITH_TERMINAL_ERROR") && result.len() < 1_000, "{} bytes", result.len());
    assert!(result.contains("the output has 10485771 bytes and the server takes 10485760"), "{result}");
}

#[test]
fn an_output_that_is_no_object_fails_for_good_and_nothing_is_an_empty_one() {
    let list = Worker::new("list", |_: Box<RawValue>, _: &Context| Ok(vec![1, 2]));
    let (results, _) = results_of(&[task("t", "list", "{}")], list);
    assert!(result(&results, "t").contains("not an object as Conductor needs it"));
    let unit = Worker::new("unit", |_: Box<RawValue>, _: &Context| Ok(()));
    let (results, _) = results_of(&[task("t", "unit", "{}")], unit);
    assert!(result(&results, "t").ends_with(r#""COMPLETED","outputData":{}}"#));
}

#[test]
fn a_401_renews_the_token_once_and_costs_no_result() {
    let queue = Queue::new([task("t", "echo", "{}")]);
    let server = Server::start(move |received: &Received| -> Reply {
        let token = received.headers.get("x-authorization").map(String::as_str);
        match (received.target.as_str(), token) {
            ("/api/token", None) => {
                let old = received.body.contains("\"secret-1\"");
                assert!(old);
                json(200, r#"{"token":"good"}"#).into()
            }
            (_, Some("good")) => queue.answer(received).into(),
            (_, _) => json(401, r#"{"error":"EXPIRED_TOKEN"}"#).into(),
        }
    });
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    let runner = Runner::builder(server.url()).auth("key-1", "secret-1").signals(false).worker(echo);
    let running = runner.start().unwrap();
    let received = server.wait("results", |received| results(received).len() == 1);
    let summary = drained(running);
    assert_eq!(summary.completed, 1);
    assert_eq!(received.iter().filter(|received| received.target == "/api/token").count(), 1);
}

#[test]
fn tasks_that_do_not_end_are_cancelled_then_given_back() {
    let queue =
        Queue::new([task("t-kind", "wait", r#"{"kind":true}"#), task("t-deaf", "wait", r#"{"kind":false}"#)]);
    let server = Server::start(move |received: &Received| queue.answer(received));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let wait = Worker::new("wait", move |input: serde_json::Value, context: &Context| {
        if input["kind"] == true {
            assert!(context.wait_cancelled(PATIENCE));
            return Err(context.give_back());
        }
        held.lock().unwrap().recv().unwrap_or_default();
        Ok(serde_json::json!({}))
    });
    let runner = Runner::builder(server.url()).signals(false).drain_timeout(Duration::ZERO);
    let mut runner = runner.worker(wait.slots(2));
    let events = runner.events(100);
    let running = runner.start().unwrap();
    let started = events.iter().filter(|event| event.kind.name() == "TaskExecutionStarted");
    assert_eq!(started.take(2).count(), 2);
    let summary = drained(running);
    drop(release);
    let results = results(&server.received());
    assert!(result(&results, "t-kind").contains(r#""IN_PROGRESS","callbackAfterSeconds":1"#));
    assert!(result(&results, "t-deaf").contains(r#""IN_PROGRESS","callbackAfterSeconds":1"#));
    assert_eq!((summary.completed, summary.in_progress, summary.given_back), (0, 0, 2));
}
