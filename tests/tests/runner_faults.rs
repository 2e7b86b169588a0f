//! The std runner against the model server over real sockets: every fault it can be ordered to have, and no task lost.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

use std::sync::mpsc::Receiver;
use std::time::Duration;

use downbeat::{Context, Event, RawValue, Runner, Running, StdClock, Summary, Worker};
use downbeat_core::machine::{Clock, Instant};
use downbeat_server::http::{Auth, CallKind, Fault, FaultKind, Options, Server, WorkflowStatus};

/// How long a run may take at the most.
const PATIENCE: Duration = Duration::from_secs(60);
const TASK: &str = "work";

fn server(options: Options) -> Server {
    let server = Server::start(options).unwrap();
    // A delivery that is lost on the way comes again when its lease ends, as a retry of the task.
    let definition = r#"{"name":"work","retryCount":20,"retryDelaySeconds":0,"responseTimeoutSeconds":1,"timeoutSeconds":0}"#;
    server.define_task(definition).unwrap();
    server
}

/// The usual rules, with reports repeated sooner, so that a test takes seconds.
fn worker() -> Worker {
    let echo = Worker::new(TASK, |input: Box<RawValue>, _: &Context| Ok(input));
    echo.slots(8).policy(|policy| {
        policy.update = [0, 20, 50, 100].map(Duration::from_millis);
        policy.failing.cap = Duration::from_millis(500);
    })
}

struct Run {
    running: Running,
    events: Receiver<Event>,
    clock: StdClock,
}

impl Run {
    fn new(mut runner: Runner) -> Self {
        let events = runner.events(100_000);
        Self { running: runner.start().unwrap(), events, clock: StdClock::new() }
    }

    /// Waits until `done`, which is asked after every event.
    fn until(&self, what: &str, mut done: impl FnMut() -> bool) -> Instant {
        while !done() {
            assert!(self.clock.now() < Instant::ZERO.saturating_add(PATIENCE), "{what} took too long");
            let _ = self.events.recv_timeout(Duration::from_millis(20));
        }
        self.clock.now()
    }

    fn drained(self) -> Summary {
        self.running.handle().drain();
        self.running.join()
    }
}

fn completed(server: &Server) -> u64 {
    server.workflows().get(&WorkflowStatus::Completed).copied().unwrap_or(0)
}

/// Runs tasks under faults; every workflow must complete.
fn survives(options: Options, tasks: u64, faults: &[Fault]) -> (Server, Summary) {
    let auth = options.auth.clone();
    let server = server(options);
    for fault in faults {
        server.faults().add(fault.clone());
    }
    for n in 0..tasks {
        server.schedule(TASK, &format!(r#"{{"n":{n}}}"#)).unwrap();
    }
    let mut runner = Runner::builder(server.url()).signals(false).worker(worker());
    if let Some(auth) = auth {
        runner = runner.auth(auth.key, auth.secret);
    }
    let run = Run::new(runner);
    run.until("the completion of all workflows", || completed(&server) == tasks);
    let summary = run.drained();
    assert_eq!(summary.given_up, 0, "{summary:?}");
    assert!(summary.completed >= tasks, "{summary:?}");
    (server, summary)
}

fn sometimes(kind: FaultKind) -> Fault {
    Fault { percent: 20, ..Fault::new(kind) }.times(40)
}

#[test]
fn no_fault() {
    let (server, summary) = survives(Options::default(), 500, &[]);
    assert_eq!((summary.tasks, summary.completed), (500, 500));
    assert_eq!(server.stats().tasks.redelivered, 0);
}

#[test]
fn answers_of_reports_are_lost_cut_or_garbled() {
    for kind in
        [FaultKind::LostAnswer, FaultKind::Cut, FaultKind::Truncated, FaultKind::Garbage, FaultKind::Html]
    {
        let (_, summary) = survives(Options::default(), 100, &[sometimes(kind).on(&[CallKind::Update])]);
        assert!(summary.tasks >= 100);
    }
}

#[test]
fn requests_are_lost_refused_or_slow() {
    let slow = sometimes(FaultKind::Slow).by(Duration::from_millis(200));
    for fault in [
        sometimes(FaultKind::LostRequest),
        sometimes(FaultKind::Reset),
        sometimes(FaultKind::Status(500)),
        sometimes(FaultKind::Status(503)).retry_after(1),
        sometimes(FaultKind::Status(429)).retry_after(1),
        slow,
    ] {
        survives(Options::default(), 100, &[fault]);
    }
}

#[test]
fn answers_of_polls_are_lost_with_their_tasks() {
    for kind in [FaultKind::LostAnswer, FaultKind::Cut, FaultKind::Truncated] {
        let lost = Fault::new(kind).with_task().on(&[CallKind::Poll]).times(3);
        survives(Options::default(), 40, &[lost]);
    }
}

#[test]
fn polls_bring_what_they_should_not() {
    for kind in [FaultKind::OverDeliver, FaultKind::Duplicate, FaultKind::MalformedTask, FaultKind::WrongType]
    {
        survives(Options::default(), 100, &[Fault::new(kind).times(5)]);
    }
    let (_, summary) = survives(Options::default(), 40, &[Fault::new(FaultKind::NoId).times(2)]);
    assert!(summary.unreportable >= 2);
}

#[test]
fn tokens_expire_and_are_revoked_and_the_token_call_fails() {
    let auth =
        Auth { key: "key".to_owned(), secret: "secret".to_owned(), token_life: Duration::from_secs(1) };
    let options = Options { auth: Some(auth), ..Options::default() };
    let failing = Fault::new(FaultKind::LostRequest).on(&[CallKind::Token]).times(1);
    survives(
        options.clone(),
        300,
        &[failing, sometimes(FaultKind::Status(401)).on(&[CallKind::Update]).times(3)],
    );
}

#[test]
fn a_server_without_update_v2_is_asked_for_it_once() {
    let (server, _) = survives(Options { update_v2: false, ..Options::default() }, 100, &[]);
    // Those that were under way when the first 404 came are not asked again.
    let (v2, v1) = (server.stats().requests_to("update_v2"), server.stats().requests_to("update"));
    assert!(v2 <= 8 && v1 >= 100, "{:?}", server.stats().requests);
}

#[test]
fn an_outage_is_gentle_and_its_end_is_noticed_soon() {
    let server = server(Options::default());
    let quiet = worker().policy(|policy| policy.failing.cap = Duration::from_secs(5));
    let run = Run::new(Runner::builder(server.url()).signals(false).worker(quiet));
    server.schedule(TASK, "{}").unwrap();
    run.until("the first task", || completed(&server) == 1);
    let before = server.stats().reset_connections;
    // The first cuts what is open; the second counts who comes.
    server.faults().add(Fault::new(FaultKind::Down).lasting(Duration::from_millis(200)));
    let down = server.faults().add(Fault::new(FaultKind::Reset));
    let began = run.clock.now();
    run.until("the outage", || run.clock.now() > began.saturating_add(Duration::from_secs(4)));
    let tries = server.stats().reset_connections - before;
    assert!((2..=8).contains(&tries), "{tries} connections in an outage of 4 s");
    server.faults().remove(down);
    server.schedule(TASK, "{}").unwrap();
    let healed = run.clock.now();
    let back = run.until("the second task", || completed(&server) == 2);
    assert!(
        back.saturating_duration_since(healed) < Duration::from_secs(6),
        "{:?}",
        back.saturating_duration_since(healed)
    );
    let _ = run.drained();
}
