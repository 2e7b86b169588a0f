//! Bad input, over real sockets: the library's runner against the model server, which is told what to do wrong.
//!
//! In each test the other tasks go on, nothing is lost, and what happened is said.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod limits;
mod server;
mod tasks;

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use downbeat::{Context, Event, RawValue, Runner, Running, StdClock, Summary, Worker};
use downbeat_core::machine::Clock as _;
use downbeat_server::http::{Fault, Options, Server, Status, WorkflowStatus, WorkflowView};

/// How long a test waits for anything at the most.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with a task type whose lease is short and whose failures are retried at once, so that what goes wrong is
/// made good within the test's time.
fn server(task: &str, options: Options) -> Server {
    let server = Server::start(options).unwrap();
    let definition = format!(
        r#"{{"name":"{task}","retryCount":50,"retryDelaySeconds":0,"responseTimeoutSeconds":1,"timeoutSeconds":0}}"#
    );
    server.define_task(&definition).unwrap();
    server
}

/// A worker that gives back its input, with delays that fit into a test.
fn echo(task: &str) -> Worker {
    quick(Worker::new(task, |input: Box<RawValue>, _: &Context| Ok(input)).slots(4))
}

fn quick(worker: Worker) -> Worker {
    worker.policy(|policy| {
        policy.update = [0, 50, 50, 50].map(Duration::from_millis);
        policy.failing.cap = Duration::from_millis(500);
        policy.auth.base = Duration::from_millis(50);
        policy.auth.cap = Duration::from_millis(100);
    })
}

/// A runner at work, with what it tells.
struct Bench {
    running: Running,
    events: Receiver<Event>,
    told: Vec<Event>,
}

impl Bench {
    fn start(url: &str, workers: impl IntoIterator<Item = Worker>) -> Self {
        Self::start_runner(Runner::builder(url), workers)
    }

    fn start_runner(runner: Runner, workers: impl IntoIterator<Item = Worker>) -> Self {
        log();
        let mut runner = workers.into_iter().fold(runner.signals(false), Runner::worker);
        let events = runner.events(100_000);
        Self { running: runner.start().unwrap(), events, told: Vec::new() }
    }

    /// Waits until something is so.
    fn wait(&mut self, what: &str, mut so: impl FnMut(&[Event]) -> bool) {
        let clock = StdClock::new();
        let start = clock.now();
        while !so(&self.told) {
            assert!(
                clock.now().saturating_duration_since(start) < PATIENCE,
                "not in time: {what}; last events: {:#?}",
                self.last()
            );
            self.told.extend(self.events.recv_timeout(Duration::from_millis(10)));
        }
    }

    fn last(&self) -> &[Event] {
        self.told.get(self.told.len().saturating_sub(5)..).unwrap_or_default()
    }

    /// Waits until the server has so many completed workflows, and no other.
    fn wait_completed(&mut self, server: &Server, count: u64) {
        let completed = |server: &Server| server.workflows().get(&WorkflowStatus::Completed).copied();
        self.wait(&format!("{count} completed workflows"), |_| completed(server) == Some(count));
        assert_eq!(server.workflows().values().sum::<u64>(), count, "{:?}", server.workflows());
    }

    fn wait_cause(&mut self, words: &str) {
        self.wait(words, |told| told.iter().any(|event| format!("{:?}", event.kind).contains(words)));
    }

    fn drain(self) -> Summary {
        self.running.handle().drain();
        self.running.join()
    }
}

fn schedule(server: &Server, task: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| server.schedule(task, &format!("{{\"n\":{n}}}")).unwrap()).collect()
}

/// Every workflow's last attempt completed with the input as its output.
fn assert_echoed(server: &Server, workflows: &[String]) {
    for id in workflows {
        let view = server.workflow(id).unwrap();
        let last = view.tasks.last().unwrap();
        assert_eq!((last.status, &last.output), (Status::Completed, &last.input), "{view:?}");
    }
}

/// How the first attempt of a workflow's task ended, once it has.
fn first_attempt(view: &WorkflowView) -> (Status, String) {
    let first = view.tasks.first().unwrap();
    (first.status, first.reason.clone().unwrap_or_default())
}

fn faulty(server: &Server, fault: Fault) -> u64 {
    server.faults().add(fault)
}

// ---------------------------------------------------------------- the log of all tests

static LOG: Mutex<String> = Mutex::new(String::new());

fn logged() -> MutexGuard<'static, String> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has what is logged kept, from the first test on.
fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Writer);
        subscriber.with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG).init();
    });
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        logged().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
