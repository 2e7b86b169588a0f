//! Servers that are wrong, slow or far away: clear words, and nothing lost.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use downbeat::{Context, Event, EventKind, RawValue, Runner, Running, Summary, Worker};
use support::{Queue, Received, Reply, Server, json, results, task};

fn echo() -> Worker {
    Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input))
}

fn runner(server: &Server) -> Runner {
    Runner::builder(server.url()).signals(false)
}

fn drained(running: Running) -> Summary {
    running.handle().drain();
    running.join()
}

fn cause(event: Event) -> Option<String> {
    if let EventKind::PollFailure { cause, .. } = event.kind { Some(cause) } else { None }
}

/// What the first failed poll says.
fn poll_failure(answer: impl Fn() -> Reply + Send + Sync + 'static) -> String {
    let server = Server::start(move |_: &Received| answer());
    let mut runner = runner(&server).worker(echo());
    let events = runner.events(100);
    let running = runner.start().unwrap();
    let cause = events.iter().find_map(cause);
    let _ = drained(running);
    cause.unwrap()
}

#[test]
fn a_page_of_html_is_said_not_to_be_conductor() {
    let cause = poll_failure(|| json(200, "<html>hi</html>").header("Content-Type", "text/html").into());
    assert!(cause.contains("status 200; this is not Conductor's API: check the server's address"), "{cause}");
}

#[test]
fn a_body_that_is_not_json_is_said_to_be_none() {
    let cause = poll_failure(|| json(200, "hello").into());
    assert!(cause.contains("the answer is not what Conductor answers"), "{cause}");
    let cause = poll_failure(|| json(200, r#"[{"taskId":"t"#).into());
    assert!(cause.contains("the answer is not what Conductor answers"), "{cause}");
}

#[test]
fn wrong_credentials_are_named() {
    let cause = poll_failure(|| json(401, r#"{"error":"INVALID_TOKEN"}"#).into());
    assert!(cause.contains("status 401; check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET"), "{cause}");
}

#[test]
fn a_server_that_is_not_there_is_said_to_be_unreachable() {
    let server = Server::start(|_: &Received| Reply::Close);
    let gone = Runner::builder("http://127.0.0.1:1/api").signals(false);
    drop(server);
    let mut runner = gone.worker(echo());
    let events = runner.events(100);
    let running = runner.start().unwrap();
    let cause = events.iter().find_map(cause);
    assert_eq!(cause.unwrap(), "no connection could be made to the server; nothing was sent");
    let _ = drained(running);
}

#[test]
fn the_tasks_before_a_truncation_are_run() {
    let polls = AtomicUsize::new(0);
    let server = Server::start(move |received: &Received| -> Reply {
        if received.target.contains("/poll/") && polls.fetch_add(1, Ordering::AcqRel) == 0 {
            let body = format!("[{},{{\"taskId\":\"t2\",", task("t1", "echo", "{}"));
            return json(200, body).into();
        }
        Queue::default().answer(received).into()
    });
    let running = runner(&server).worker(echo().slots(2)).start().unwrap();
    server.wait("result", |received| results(received).iter().any(|result| result.contains("\"t1\"")));
    assert_eq!(drained(running).completed, 1);
}

#[test]
fn an_answer_lost_on_the_way_costs_no_result() {
    let updates = AtomicUsize::new(0);
    let queue = Queue::new([task("t", "echo", "{}")]);
    let server = Server::start(move |received: &Received| -> Reply {
        if results(std::slice::from_ref(received)).len() == 1 && updates.fetch_add(1, Ordering::AcqRel) == 0 {
            return Reply::Close;
        }
        queue.answer(received).into()
    });
    let soon = std::time::Duration::from_millis(1);
    let quick = echo().policy(|policy| policy.update = [soon; 4]);
    let running = runner(&server).worker(quick).start().unwrap();
    server.wait("second report", |received| results(received).len() == 2);
    assert_eq!(drained(running).completed, 1);
}

#[test]
fn a_task_that_is_delivered_again_while_it_runs_is_run_once() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let worker = Worker::new("slow", move |_: Box<RawValue>, _: &Context| {
        counted.fetch_add(1, Ordering::AcqRel);
        gate.lock().unwrap().recv().unwrap_or_default();
        Ok(())
    });
    let queue = Queue::new([task("t", "slow", "{}"), task("t", "slow", "{}"), task("t", "slow", "{}")]);
    let asked = Arc::clone(&queue);
    let server = Server::start(move |received: &Received| asked.answer(received));
    // Two slots, so that it polls on while the first runs.
    let running = runner(&server).worker(worker.slots(2)).start().unwrap();
    // A poll that comes after the one that emptied the queue shows that that one's answer has been dealt with.
    server.wait("poll of the empty queue", |received| {
        let polls = received.iter().filter(|received| received.target.contains("/poll/")).count();
        polls >= 3 && queue.tasks.lock().unwrap().is_empty()
    });
    assert_eq!(runs.load(Ordering::Acquire), 1);
    drop(go);
    server.wait("result", |received| results(received).len() == 1);
    assert_eq!(drained(running).tasks, 1);
}

#[test]
fn a_paused_worker_does_not_poll_and_a_resumed_one_does() {
    let queue = Queue::new([task("t", "echo", "{}")]);
    let server = Server::start(move |received: &Received| {
        if received.target.contains("/batch/other") { json(200, "[]") } else { queue.answer(received) }
    });
    let other = Worker::new("other", |input: Box<RawValue>, _: &Context| Ok(input));
    let running = runner(&server).worker(echo().paused(true)).worker(other).start().unwrap();
    let polls_of = |received: &[Received], task: &str| {
        received.iter().filter(|received| received.target.contains(&format!("/poll/batch/{task}?"))).count()
    };
    let received = server.wait("polls of the other", |received| polls_of(received, "other") >= 5);
    assert_eq!(polls_of(&received, "echo"), 0);
    assert_eq!(running.handle().resume("echo"), 1);
    server.wait("result", |received| results(received).len() == 1);
    assert_eq!(running.handle().pause("nobody"), 0);
    let states = running.handle().snapshot();
    assert_eq!((states[0].task.as_str(), states[1].task.as_str()), ("echo", "other"));
    assert_eq!(drained(running).completed, 1);
}

#[test]
fn the_seven_events_are_told_and_a_full_channel_drops_and_counts() {
    let queue = Queue::new([task("t", "echo", r#"{"a":1}"#)]);
    let server = Server::start(move |received: &Received| queue.answer(received));
    let mut runner = runner(&server).worker_id("me").worker(echo());
    let events = runner.events(4);
    let running = runner.start().unwrap();
    server.wait("result and a poll", |received| {
        let first = received.iter().position(|received| !results(std::slice::from_ref(received)).is_empty());
        first.is_some_and(|at| received.len() > at + 3)
    });
    let summary = drained(running);
    let told: Vec<Event> = events.try_iter().collect();
    let names: Vec<&str> = told.iter().map(|event| event.kind.name()).collect();
    assert_eq!(told.len(), 4);
    assert_eq!(names[0], "PollStarted");
    assert!(names.contains(&"PollCompleted") && names.contains(&"TaskExecutionStarted"), "{names:?}");
    assert!(summary.events_dropped > 0);
    let started = told.iter().find(|event| event.kind.name() == "TaskExecutionStarted").unwrap();
    assert_eq!(
        started.kind,
        EventKind::TaskExecutionStarted {
            task_id: "t".to_owned(),
            workflow_instance_id: "w-t".to_owned(),
            worker_id: "me".to_owned(),
        }
    );
    assert!(started.timestamp > 1_600_000_000_000 && started.task_type == "echo");
}
