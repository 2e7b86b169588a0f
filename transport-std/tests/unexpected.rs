//! Unexpected errors in the runner's own threads: logged, counted, and after a second it goes on with nothing lost.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test of what a panic does; a broken assumption ends it"
)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use downbeat::{Context, LeanTransport, RawValue, Runner, StdClock, Worker};
use downbeat_core::machine::{Clock as _, Instant};
use downbeat_core::ports::{Failure, Head, Request, Sink, Transport};
use support::{Queue, Received, Server, results, task};

/// Whether a request's target is one of those that a test is about.
type IsMeant = fn(&str) -> bool;

/// Panics at the first request to such a target, and notes when each of them was to be sent.
struct Shaky {
    inner: LeanTransport,
    clock: StdClock,
    is_meant: IsMeant,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Transport for Shaky {
    fn exchange(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure> {
        if (self.is_meant)(request.target) {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(self.clock.now());
            let first = asked.len() == 1;
            drop(asked);
            assert!(!first, "as this test wants it");
        }
        self.inner.exchange(request, deadline, sink)
    }
}

/// What all runners of this process log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs one task with a transport that panics at its first such request; answers when those were to be sent.
fn run(is_meant: IsMeant) -> Vec<Instant> {
    let queue = Queue::new([task("t", "echo", r#"{"a":1}"#)]);
    let server = Server::start(move |received: &Received| queue.answer(received));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let make = {
        let (asked, url) = (Arc::clone(&asked), server.url());
        let clock = StdClock::new();
        move || -> Box<dyn Transport + Send> {
            let inner = LeanTransport::new(&url, clock).unwrap();
            Box::new(Shaky { inner, clock, is_meant, asked: Arc::clone(&asked) })
        }
    };
    let soon = Duration::from_millis(1);
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    let echo = echo.policy(|policy| policy.update = [Duration::ZERO, soon, soon, soon]);
    let mut runner = Runner::builder(server.url()).signals(false).own_transport(make).worker(echo);
    let metrics = runner.metrics();
    let running = runner.start().unwrap();
    server.wait("result", |received| results(received).len() == 1);
    running.handle().drain();
    let summary = running.join();
    assert_eq!((summary.completed, summary.given_up), (1, 0));
    let text = metrics.render();
    assert!(text.contains("\nthread_uncaught_exceptions_total{exception=\"Panic\"} 1\n"), "{text}");
    let asked = asked.lock().unwrap();
    asked.clone()
}

#[test]
fn the_runner_goes_on_a_second_after_an_unexpected_error_and_says_so() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let polls = |target: &str| target.starts_with("/tasks/poll");
    let updates = |target: &str| target == "/tasks" || target == "/tasks/update-v2";
    let jobs: [(IsMeant, _); 2] = [(polls, "poll"), (updates, "update")];
    for (is_meant, job) in jobs {
        let asked = run(is_meant);
        assert!(asked[1].saturating_duration_since(asked[0]) >= Duration::from_secs(1), "{job}: {asked:?}");
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let line = text.lines().find(|line| line.contains(&format!("job=\"{job}\"")));
        let line = line.unwrap_or_else(|| panic!("no line for {job} in\n{text}"));
        assert!(
            line.contains("ERROR")
                && line.contains("an unexpected error in the runner; it goes on after a second"),
            "{line}"
        );
    }
}
