//! Tasks that end without their worker: restarted, terminated, lapsed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use downbeat::{CancelReason, Context, OnLapse, RawValue, Worker};

use crate::conductor::{Conductor, is_extension, is_result};
use crate::support::{PATIENCE, json};
use crate::{Directory, drained, echo, runner};

/// A worker that waits to be cancelled, says why it was, and returns an output all the same.
fn waits(task: &str) -> (Worker, Receiver<Option<CancelReason>>) {
    let (told, tells) = channel();
    let worker = Worker::new(task, move |_: Box<RawValue>, context: &Context| {
        let _ = context.wait_cancelled(PATIENCE);
        told.send(context.cancel_reason()).unwrap_or_default();
        Ok(())
    });
    (worker, tells)
}

/// A worker whose runs wait for a word each; how often it was called.
fn gated(task: &str) -> (Worker, Sender<()>, Arc<AtomicUsize>) {
    let (go, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let worker = Worker::new(task, move |_: Box<RawValue>, _: &Context| {
        counted.fetch_add(1, Ordering::AcqRel);
        gate.lock().unwrap().recv_timeout(PATIENCE).unwrap_or_default();
        Ok(())
    });
    (worker, go, runs)
}

/// Members of a task whose lease is a second.
const SECOND: &str = r#","responseTimeoutSeconds":1"#;

#[test]
fn a_task_whose_workflow_was_restarted_is_cancelled_quietly() {
    let tasks: Vec<String> = (0..30).map(|n| format!("ok-{n:02}")).collect();
    let mut all = vec![("t-old", "waits")];
    all.extend(tasks.iter().map(|id| (id.as_str(), "echo")));
    let (conductor, server) = Conductor::start(&all, |_, _| None);
    let directory = Directory::new();
    let (worker, told) = waits("waits");
    let worker = worker.policy(|policy| policy.ask_interval = Some(Duration::from_millis(50)));
    let runner = runner(&server).store(&directory.0).worker(worker).worker(echo("echo"));
    let running = runner.start().unwrap();
    conductor.wait("task in progress", |tasks| tasks["t-old"].status == "IN_PROGRESS");
    conductor.forget("t-old");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Some(CancelReason::WorkflowEnded));
    conductor.wait_ended(30);
    let summary = drained(running);
    assert_eq!((summary.cancelled, summary.completed, summary.given_up), (1, 30, 0), "{summary:?}");
    assert!(!server.received().iter().any(|received| is_result(received) && received.body.contains("t-old")));
    assert_eq!(directory.dead().len(), 0);
}

#[test]
fn a_result_of_a_task_that_is_gone_is_no_failure_and_delays_no_other() {
    let all = [("t-old", "gated"), ("t-new", "gated")];
    let (conductor, server) = Conductor::start(&all, |_, _| None);
    let directory = Directory::new();
    let (worker, go, _) = gated("gated");
    // Nobody asks: it is seen when the result arrives.
    let worker = worker.slots(2).policy(|policy| policy.ask_interval = None);
    let running = runner(&server).store(&directory.0).worker(worker).start().unwrap();
    conductor.wait("tasks in progress", |tasks| tasks.values().all(|task| task.status == "IN_PROGRESS"));
    conductor.forget("t-old");
    go.send(()).unwrap();
    go.send(()).unwrap();
    conductor.wait_ended(1);
    let summary = drained(running);
    assert_eq!((summary.cancelled, summary.completed, summary.given_up), (1, 1, 0), "{summary:?}");
    assert_eq!(directory.dead().len(), 0);
}

#[test]
fn a_run_is_told_within_the_interval_that_its_workflow_was_terminated() {
    let (conductor, server) = Conductor::start(&[("t-1", "waits")], |_, _| None);
    let (worker, told) = waits("waits");
    let running = runner(&server).worker(worker.ask_interval(Duration::from_millis(100))).start().unwrap();
    conductor.wait("task in progress", |tasks| tasks["t-1"].status == "IN_PROGRESS");
    conductor.end("t-1", "CANCELED");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Some(CancelReason::WorkflowEnded));
    let summary = drained(running);
    assert_eq!(
        (summary.cancelled, summary.completed, conductor.task("t-1").results),
        (1, 0, 0),
        "{summary:?}"
    );
}

#[test]
fn an_extension_carries_a_status_and_the_length_of_the_lease() {
    let (conductor, server) = Conductor::start(&[], |_, _| None);
    conductor.schedule("t-1", "gated", SECOND);
    let (worker, go, _) = gated("gated");
    let running = runner(&server).worker(worker).start().unwrap();
    let received = server.wait("extension", |received| received.iter().any(is_extension));
    let extension = &received.iter().find(|received| is_extension(received)).unwrap().body;
    assert!(extension.contains(r#""status":"IN_PROGRESS","callbackAfterSeconds":1"#), "{extension}");
    go.send(()).unwrap();
    conductor.wait_ended(1);
    assert_eq!(drained(running).completed, 1);
}

/// A task whose lease ends, and comes again while its first run goes on.
fn lapses(on_lapse: OnLapse, worker: Worker) -> (Arc<Conductor>, crate::support::Server, downbeat::Running) {
    let (conductor, server) = Conductor::start(&[], |_, received| {
        is_extension(received).then(|| json(503, r#"{"message":"the database is away"}"#))
    });
    conductor.schedule("t-1", "lapses", SECOND);
    let worker = worker.slots(2).on_lapse(on_lapse).ask_interval(Duration::from_millis(100));
    let running = runner(&server).worker(worker).start().unwrap();
    let handle = running.handle();
    server.wait("lapse", |_| handle.summary().lapsed == 1);
    conductor.end("t-1", "TIMED_OUT");
    conductor.schedule("t-2", "lapses", r#","responseTimeoutSeconds":60,"retriedTaskId":"t-1""#);
    (conductor, server, running)
}

#[test]
fn a_run_whose_lease_lapsed_goes_on_for_the_retry_and_there_is_one_copy_of_it() {
    let (worker, go, runs) = gated("lapses");
    let (conductor, server, running) = lapses(OnLapse::Finish, worker);
    let handle = running.handle();
    server.wait("adoption", |_| handle.summary().adopted == 1);
    go.send(()).unwrap();
    conductor.wait("result of the retry", |tasks| tasks["t-2"].status == "COMPLETED");
    let summary = drained(running);
    assert_eq!(
        (runs.load(Ordering::Acquire), summary.completed, summary.cancelled),
        (1, 1, 0),
        "{summary:?}"
    );
    assert_eq!(conductor.task("t-1").results, 0);
}

#[test]
fn a_result_after_its_leases_end_is_late_and_not_completed() {
    let (conductor, server) = Conductor::start(&[], |_, received| {
        is_extension(received).then(|| json(503, r#"{"message":"the database is away"}"#))
    });
    conductor.schedule("t-1", "late", SECOND);
    let (worker, go, _) = gated("late");
    let running = runner(&server).worker(worker).start().unwrap();
    let handle = running.handle();
    server.wait("lapse", |_| handle.summary().lapsed == 1);
    conductor.end("t-1", "TIMED_OUT");
    go.send(()).unwrap();
    // The server answers 200, and changes nothing.
    server.wait("report", |_| handle.summary().late == 1);
    let summary = drained(running);
    assert_eq!((summary.tasks, summary.completed, summary.given_up), (1, 0, 0), "{summary:?}");
    assert_eq!(conductor.task("t-1").status, "TIMED_OUT");
}

#[test]
fn a_run_whose_lease_lapsed_is_stopped_where_that_is_wanted() {
    let (worker, told) = waits("lapses");
    let (conductor, _server, running) = lapses(OnLapse::Stop, worker);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Some(CancelReason::LeaseLapsed));
    conductor.wait("retry in progress", |tasks| tasks["t-2"].status == "IN_PROGRESS");
    conductor.end("t-2", "CANCELED");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Some(CancelReason::WorkflowEnded));
    let summary = drained(running);
    assert_eq!((summary.adopted, summary.completed, summary.cancelled), (0, 0, 2), "{summary:?}");
    assert_eq!(conductor.task("t-1").results, 0);
}
