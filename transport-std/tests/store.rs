//! Results that the server does not take: kept, sent again, never in the way of others.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use downbeat::{Context, Error, RawValue, Runner, Worker};
use support::{Queue, Received, Server, json, results, task};

/// How often a store is tried to be opened, at the most: some seconds' worth.
const TRIES: u32 = 100_000;

/// A directory of this test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("downbeat-store-{}-{serial}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self, below: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join(below)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An echo whose reports are repeated at once, so that four failures take no minute.
fn echo() -> Worker {
    let soon = Duration::from_millis(1);
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    echo.policy(|policy| policy.update = [Duration::ZERO, soon, soon, soon])
}

fn runner(server: &Server, directory: &Path) -> Runner {
    Runner::builder(server.url()).signals(false).store(directory).worker(echo())
}

/// Answers `status` to reports of tasks with `bad` in their id, for as long as `fails` says so.
fn server(tasks: &[&str], status: u16, fails: &Arc<AtomicBool>) -> Server {
    let queue = Queue::of(tasks.iter().map(|id| task(id, "echo", r#"{"a":1}"#)));
    let fails = Arc::clone(fails);
    Server::start(move |received: &Received| {
        if received.body.contains("bad") && fails.load(Ordering::Acquire) {
            return json(status, r#"{"message":"no"}"#);
        }
        queue.answer(received)
    })
}

fn accepted(received: &[Received], id: &str) -> bool {
    results(received).iter().any(|result| result.contains(id))
}

#[test]
fn a_result_that_always_gets_a_500_is_kept_then_sent_again_and_blocks_nobody() {
    let directory = Directory::new();
    let fails = Arc::new(AtomicBool::new(true));
    let server = server(&["t-bad", "t-1", "t-2", "t-3"], 500, &fails);
    let mut runner = runner(&server, &directory.0);
    let events = runner.events(1_000);
    let running = runner.start().unwrap();
    // One slot: the others can only run once the first does not hold it any more.
    server.wait("result of the last", |received| accepted(received, "t-3"));
    let failure = events.iter().find(|event| event.kind.name() == "TaskUpdateFailure").unwrap();
    assert!(format!("{failure:?}").contains("t-bad"));
    let files = directory.files("");
    assert_eq!(files.len(), 1);
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&files[0]).unwrap().contains(r#""taskId":"t-bad""#));
    let before = server.received().len();
    fails.store(false, Ordering::Release);
    server.wait("stored result", |received| accepted(&received[before..], "t-bad"));
    running.handle().drain();
    let summary = running.join();
    assert_eq!((summary.completed, summary.stored, summary.given_up), (3, 1, 0));
}

#[test]
fn what_an_earlier_run_has_left_is_sent_and_what_is_no_result_is_set_aside() {
    let directory = Directory::new();
    let now = std::process::id();
    let result = r#"{"taskId":"t-left","workflowInstanceId":"w","status":"COMPLETED","outputData":{}}"#;
    fs::write(directory.0.join("9999999999999-1-0.json"), result).unwrap();
    fs::write(directory.0.join("0000000000002-1-1.json"), r#"{"taskId":"t-cut","workfl"#).unwrap();
    fs::write(directory.0.join("0-readme.json"), "hello").unwrap();
    fs::write(directory.0.join("0000000000001-1-2.json"), result.replace("t-left", "t-old")).unwrap();
    fs::write(directory.0.join(format!("9999999999999-{now}-3.new")), "{").unwrap();
    let server = server(&[], 500, &Arc::new(AtomicBool::new(false)));
    let running = runner(&server, &directory.0).start().unwrap();
    server.wait("stored result", |received| accepted(received, "t-left"));
    running.handle().drain();
    let _ = running.join();
    // However long the runner was away, the server is asked first.
    assert!(accepted(&server.received(), "t-old"));
    assert_eq!(directory.files("dead").len(), 0);
    assert_eq!(directory.files("damaged").len(), 2);
    let unfinished = fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(unfinished.filter(|path| path.extension().is_some_and(|end| end == "new")).count(), 0);
}

#[test]
fn what_the_server_does_not_take_after_a_day_is_among_the_dead_letters() {
    let directory = Directory::new();
    let result = r#"{"taskId":"t-bad","workflowInstanceId":"w","status":"COMPLETED","outputData":{}}"#;
    fs::write(directory.0.join("0000000000001-1-0.json"), result).unwrap();
    fs::write(directory.0.join("9999999999999-1-1.json"), result.replace("t-bad", "t-good")).unwrap();
    let server = server(&[], 500, &Arc::new(AtomicBool::new(true)));
    let running = runner(&server, &directory.0).start().unwrap();
    server.wait("stored result", |received| accepted(received, "t-good"));
    running.handle().drain();
    let _ = running.join();
    assert!(accepted(&server.received(), "t-bad"));
    assert_eq!(fs::read_to_string(&directory.files("dead")[0]).unwrap(), result);
}

#[test]
fn what_the_server_rejects_is_among_the_dead_letters() {
    let directory = Directory::new();
    let server = server(&["t-bad", "t-1"], 400, &Arc::new(AtomicBool::new(true)));
    let running = runner(&server, &directory.0).start().unwrap();
    server.wait("result of the last", |received| accepted(received, "t-1"));
    running.handle().drain();
    let summary = running.join();
    assert_eq!((summary.completed, summary.given_up), (1, 1));
    let files = directory.files("dead");
    assert!(fs::read_to_string(&files[0]).unwrap().contains("t-bad"));
}

#[test]
fn a_result_that_is_not_taken_at_an_abort_is_kept() {
    let directory = Directory::new();
    let server = server(&["t-bad"], 500, &Arc::new(AtomicBool::new(true)));
    let hour = Duration::from_secs(3_600);
    let slow = echo().policy(|policy| policy.update = [Duration::ZERO, hour, hour, hour]);
    let runner = Runner::builder(server.url()).signals(false).store(&directory.0).worker(slow);
    let running = runner.start().unwrap();
    server.wait("report", |received| accepted(received, "t-bad"));
    running.handle().abort();
    let summary = running.join();
    assert_eq!((summary.stored, summary.given_up), (1, 0));
    assert_eq!(directory.files("").len(), 1);
}

#[test]
fn what_has_no_room_among_the_dead_letters_waits_and_goes_there_once_there_is_some() {
    let directory = Directory::new();
    let server = server(&["t-bad-1", "t-bad-2", "t-1"], 400, &Arc::new(AtomicBool::new(true)));
    let running = runner(&server, &directory.0).store_max_files(1).start().unwrap();
    // The second is sent again from the store, and rejected again.
    server.wait("second try of the second", |received| {
        results(received).iter().filter(|result| result.contains("t-bad-2")).count() >= 2
    });
    server.wait("result of the last", |received| accepted(received, "t-1"));
    assert!(fs::read_to_string(&directory.files("dead")[0]).unwrap().contains("t-bad-1"));
    assert_eq!((directory.files("dead").len(), directory.files("").len()), (1, 1));
    fs::remove_file(&directory.files("dead")[0]).unwrap();
    server.wait("third try of the second", |_| directory.files("").is_empty());
    assert!(fs::read_to_string(&directory.files("dead")[0]).unwrap().contains("t-bad-2"));
    running.handle().drain();
    let _ = running.join();
}

#[test]
fn what_has_no_room_in_the_store_stays_in_memory_and_is_not_lost() {
    let directory = Directory::new();
    let fails = Arc::new(AtomicBool::new(true));
    let server = server(&["t-bad-1", "t-bad-2", "t-bad-3"], 500, &fails);
    let mut runner = runner(&server, &directory.0).store_max_files(1);
    let metrics = runner.metrics();
    let running = runner.start().unwrap();
    // Each is to be stored after its fourth try: one is, the others are tried a fifth time, and a ninth.
    let handle = running.handle();
    server.wait("ninth try of two", |received| {
        let tries = |id: &str| results(received).iter().filter(|result| result.contains(id)).count();
        let more = ["t-bad-1", "t-bad-2", "t-bad-3"].iter().filter(|id| tries(id) >= 9).count();
        more >= 2 && metrics.render().contains("\ndownbeat_store_files{part=\"waiting\"} 1\n")
    });
    assert_eq!((directory.files("").len(), directory.files("dead").len()), (1, 0));
    fails.store(false, Ordering::Release);
    server.wait("all results", |_| {
        let summary = handle.summary();
        summary.completed + summary.resent == 3
    });
    handle.drain();
    let summary = running.join();
    assert_eq!((summary.stored, summary.given_up), (1, 0), "{summary:?}");
    assert!(directory.files("").is_empty());
}

#[test]
fn an_abort_stores_what_it_holds_also_beyond_the_bound() {
    let directory = Directory::new();
    let server = server(&["t-bad-1", "t-bad-2"], 500, &Arc::new(AtomicBool::new(true)));
    let hour = Duration::from_secs(3_600);
    let slow = echo().slots(2).policy(|policy| policy.update = [Duration::ZERO, hour, hour, hour]);
    let runner = Runner::builder(server.url()).signals(false).store(&directory.0).store_max(1);
    let running = runner.worker(slow).start().unwrap();
    server.wait("reports", |received| accepted(received, "t-bad-1") && accepted(received, "t-bad-2"));
    running.handle().abort();
    let summary = running.join();
    assert_eq!((summary.stored, summary.given_up), (2, 0));
    assert_eq!(directory.files("").len(), 2);
}

#[test]
fn a_directory_is_one_runners_at_a_time() {
    let directory = Directory::new();
    let server = server(&[], 500, &Arc::new(AtomicBool::new(false)));
    let running = runner(&server, &directory.0).start().unwrap();
    let error = runner(&server, &directory.0).start().unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    assert!(error.to_string().contains("another runner uses it"), "{error}");
    running.handle().drain();
    let _ = running.join();
}

#[test]
fn a_runner_that_has_ended_lets_go_of_its_store_also_where_nobody_joins_it() {
    let directory = Directory::new();
    let server = server(&[], 500, &Arc::new(AtomicBool::new(false)));
    // With its signals: their thread must not keep the store.
    let running = runner(&server, &directory.0).signals(true).start().unwrap();
    let handle = running.handle();
    drop(running);
    handle.drain();
    drop(handle);
    let again = (0..TRIES).find_map(|_| {
        std::thread::yield_now();
        runner(&server, &directory.0).start().ok()
    });
    let again = again.expect("the store is free");
    again.handle().drain();
    let _ = again.join();
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let server = server(&[], 500, &Arc::new(AtomicBool::new(false)));
    let error = runner(&server, Path::new("/proc/nothing/here")).start().unwrap_err();
    assert!(error.to_string().contains("/proc/nothing/here"), "{error}");
}
