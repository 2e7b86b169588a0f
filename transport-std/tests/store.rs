//! Results that the server does not take: kept, sent again, never in the way of others.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use downbeat::store::{Part, list};
use downbeat::{Context, Error, RawValue, Runner, Running, Worker};
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

    /// The results that wait.
    fn waiting(&self) -> Vec<String> {
        let letters = list(&self.0).unwrap().letters.into_iter();
        let waiting = letters.filter(|letter| letter.part == Part::Waiting);
        waiting.map(|letter| String::from_utf8(letter.body().unwrap()).unwrap()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An echo whose reports are repeated soon, and stored when they were refused for a third of a second: no test waits for
/// minutes.
fn echo() -> Worker {
    let soon = Duration::from_millis(5);
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    echo.policy(|policy| {
        policy.update = [Duration::ZERO, soon, soon, soon];
        policy.store_after = Duration::from_millis(100);
    })
}

fn runner(server: &Server, directory: &Path) -> Runner {
    Runner::builder(server.url()).signals(false).store(directory).worker(echo())
}

/// What starting a runner comes to once the store's last one has let go of it, which may be a moment after its end.
fn start(make: impl Fn() -> Runner) -> Result<Running, Error> {
    for _ in 0..TRIES {
        match make().start() {
            Err(Error::Store { cause, .. }) if cause.kind() == ErrorKind::ResourceBusy => {
                std::thread::yield_now();
            }
            started => return started,
        }
    }
    panic!("the store is never free");
}

/// Answers `status` to reports of tasks with `bad` in their id, for as long as `fails` says so.
fn server(tasks: &[&str], status: u16, fails: &Arc<AtomicBool>) -> Server {
    let queue = Queue::new(tasks.iter().map(|id| task(id, "echo", r#"{"a":1}"#)));
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
    let waiting = directory.waiting();
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].contains(r#""taskId":"t-bad""#));
    for file in fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap()) {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if file.path().is_dir() { 0o700 } else { 0o600 }, "{}", file.path().display());
    }
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
fn a_result_with_the_stamp_of_a_board_without_a_clock_is_no_dead_letter_after_one_refusal() {
    let directory = Directory::new();
    let result = r#"{"taskId":"t-bad","workflowInstanceId":"w","status":"COMPLETED","outputData":{}}"#;
    fs::write(directory.0.join("0000000000001-1-0.json"), result).unwrap();
    fs::write(directory.0.join("9999999999999-1-1.json"), result.replace("t-bad", "t-good")).unwrap();
    let server = server(&[], 503, &Arc::new(AtomicBool::new(true)));
    let running = runner(&server, &directory.0).start().unwrap();
    // Two rounds: what comes after the first refusal is seen.
    server.wait("second try", |received| {
        results(received).iter().filter(|result| result.contains("t-bad")).count() >= 2
    });
    running.handle().drain();
    let _ = running.join();
    assert!(accepted(&server.received(), "t-good"));
    assert_eq!(directory.files("dead").len(), 0);
    assert_eq!(directory.waiting(), [result]);
}

/// A runner is aborted after its first report of `t-bad` has failed, and the server takes results from then on. Returns how
/// many requests came until then.
fn leave_a_result(server: &Server, directory: &Path, fails: &AtomicBool) -> usize {
    let hour = Duration::from_secs(3_600);
    let slow = echo().policy(|policy| policy.update = [Duration::ZERO, hour, hour, hour]);
    let runner_once = Runner::builder(server.url()).signals(false).store(directory).worker(slow);
    let running = runner_once.start().unwrap();
    server.wait("report", |received| accepted(received, "t-bad"));
    running.handle().abort();
    let _ = running.join();
    fails.store(false, Ordering::Release);
    server.received().len()
}

#[test]
fn what_an_earlier_run_has_left_is_sent_at_once() {
    let directory = Directory::new();
    let fails = Arc::new(AtomicBool::new(true));
    let server = server(&["t-bad"], 500, &fails);
    let before = leave_a_result(&server, &directory.0, &fails);
    let running = start(|| runner(&server, &directory.0)).unwrap();
    server.wait("stored result", |received| accepted(&received[before..], "t-bad"));
    running.handle().drain();
    let summary = running.join();
    // Its worker holds it again, and nothing else of it is sent.
    assert_eq!((summary.completed, summary.resent, summary.given_up), (1, 0, 0), "{summary:?}");
    assert_eq!(directory.waiting().len(), 0);
}

#[test]
fn what_an_earlier_run_has_left_and_no_worker_here_is_of_is_sent_from_the_store() {
    let directory = Directory::new();
    let fails = Arc::new(AtomicBool::new(true));
    let server = server(&["t-bad"], 500, &fails);
    let before = leave_a_result(&server, &directory.0, &fails);
    let other = || Worker::new("other", |input: Box<RawValue>, _: &Context| Ok(input));
    let running =
        start(|| Runner::builder(server.url()).signals(false).store(&directory.0).worker(other())).unwrap();
    server.wait("stored result", |received| accepted(&received[before..], "t-bad"));
    let handle = running.handle();
    // Polls go on meanwhile: at each it is looked.
    server.wait("end of it", |_| (handle.summary().resent, directory.waiting().len()) == (1, 0));
    handle.drain();
    let summary = running.join();
    assert_eq!((summary.completed, summary.resent, summary.given_up), (0, 1, 0), "{summary:?}");
}

#[test]
fn a_store_of_another_server_is_refused() {
    let directory = Directory::new();
    let first = server(&[], 500, &Arc::new(AtomicBool::new(false)));
    let running = runner(&first, &directory.0).start().unwrap();
    running.handle().drain();
    let _ = running.join();
    let second = server(&[], 500, &Arc::new(AtomicBool::new(false)));
    let error = start(|| runner(&second, &directory.0)).unwrap_err();
    assert!(matches!(error, Error::StoreServer { .. }), "{error}");
    for url in [first.url(), second.url()] {
        assert!(error.to_string().contains(&url), "{error}");
    }
    assert!(second.received().is_empty());
}

#[test]
fn what_the_server_rejects_is_among_the_dead_letters() {
    let directory = Directory::new();
    let server = server(&["t-bad", "t-1"], 400, &Arc::new(AtomicBool::new(true)));
    let patient = echo().store_after(Duration::from_secs(60));
    let runner = Runner::builder(server.url()).signals(false).store(&directory.0).worker(patient);
    let running = runner.start().unwrap();
    server.wait("result of the last", |received| accepted(received, "t-1"));
    running.handle().drain();
    let summary = running.join();
    assert_eq!((summary.completed, summary.given_up), (1, 1));
    let files = directory.files("dead");
    assert!(fs::read_to_string(&files[0]).unwrap().contains("t-bad"));
    let why = fs::read_to_string(files[0].with_extension("why")).unwrap();
    assert!(why.contains("the server will never take this result"), "{why}");
}

#[test]
fn the_next_task_of_an_entry_does_not_hide_what_became_of_the_last_one() {
    const TASKS: u64 = 60;
    let directory = Directory::new();
    let tasks: Vec<String> = (0..TASKS).map(|nth| format!("t-bad-{nth}")).collect();
    let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
    // One slot: each task has the entry of the one before, whose end another thread may be about to see to.
    let server = server(&tasks, 400, &Arc::new(AtomicBool::new(true)));
    let running = runner(&server, &directory.0).start().unwrap();
    server.wait("report in the last one's place", |received| {
        let last = received.iter().filter(|received| received.body.contains(tasks.last().unwrap()));
        last.count() == 2
    });
    running.handle().drain();
    let summary = running.join();
    assert_eq!((summary.tasks, summary.given_up), (TASKS, TASKS), "{summary:?}");
    assert_eq!(directory.files("dead").len(), tasks.len());
    assert!(directory.waiting().is_empty());
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
    assert_eq!(directory.waiting().len(), 1);
}

#[test]
fn what_has_no_room_among_the_dead_letters_waits_and_goes_there_once_there_is_some() {
    let directory = Directory::new();
    let queue = Queue::new([task("t-bad-1", "echo", "{}")]);
    let serving = Arc::clone(&queue);
    let server =
        Server::start(
            move |received: &Received| {
                if received.body.contains("bad") { json(400, "{}") } else { serving.answer(received) }
            },
        );
    let running = runner(&server, &directory.0).store_max_files(1).start().unwrap();
    server.wait("first dead letter", |_| directory.files("dead").len() == 1);
    queue.tasks.lock().unwrap().extend(["t-bad-2", "t-1"].map(|id| task(id, "echo", "{}")));
    // After it and the report that the task failed the second is sent again from the store, and rejected again.
    server.wait("third report of the second", |received| {
        results(received).iter().filter(|result| result.contains("t-bad-2")).count() >= 3
    });
    server.wait("result of the last", |received| accepted(received, "t-1"));
    let letter = || fs::read_to_string(&directory.files("dead")[0]).unwrap();
    assert!(letter().contains("t-bad-1"));
    assert_eq!((directory.files("dead").len(), directory.waiting().len()), (1, 1));
    fs::remove_file(&directory.files("dead")[0]).unwrap();
    server.wait("next try of the second", |_| !directory.files("dead").is_empty());
    assert!(letter().contains("t-bad-2"));
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
    // Each is to be stored after a while: one is, the others are tried on.
    let handle = running.handle();
    server.wait("ninth try of two", |received| {
        let tries = |id: &str| results(received).iter().filter(|result| result.contains(id)).count();
        let more = ["t-bad-1", "t-bad-2", "t-bad-3"].iter().filter(|id| tries(id) >= 9).count();
        more >= 2 && metrics.render().contains("\ndownbeat_store_files{part=\"waiting\"} 1\n")
    });
    assert_eq!((directory.waiting().len(), directory.files("dead").len()), (1, 0));
    let before = server.received().len();
    fails.store(false, Ordering::Release);
    // As it is, or as the report that the task failed, whichever is due.
    server.wait("a report of each", |received| {
        let received = received.get(before..).unwrap_or_default();
        ["t-bad-1", "t-bad-2", "t-bad-3"].iter().all(|id| accepted(received, id))
    });
    server.wait("an empty store", |_| directory.waiting().is_empty());
    handle.drain();
    let summary = running.join();
    assert_eq!((summary.tasks, summary.given_up), (3, 0), "{summary:?}");
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
    assert_eq!(directory.waiting().len(), 2);
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
    let again = start(|| runner(&server, &directory.0)).unwrap();
    again.handle().drain();
    let _ = again.join();
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let server = server(&[], 500, &Arc::new(AtomicBool::new(false)));
    let error = runner(&server, Path::new("/proc/nothing/here")).start().unwrap_err();
    assert!(error.to_string().contains("/proc/nothing/here"), "{error}");
}
