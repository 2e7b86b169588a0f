//! Tasks and answers that are too large: each costs itself, with words that say what is too large for what.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use downbeat::{Context, EventKind, RawValue, Runner, Worker};
use support::{Queue, Received, Server, json, results, task};

fn echo() -> Worker {
    Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input))
}

/// A runner that takes tasks of at most 65,536 bytes.
fn runner(server: &Server) -> Runner {
    Runner::builder(server.url()).signals(false).max_task(0)
}

#[test]
fn a_task_that_is_too_large_fails_with_both_sizes_and_those_beside_it_run() {
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000));
    let queue =
        Queue::new([task("t-1", "echo", "{}"), task("t-large", "echo", &large), task("t-2", "echo", "{}")]);
    let server = Server::start(move |received: &Received| queue.answer(received));
    let running = runner(&server).worker(echo().slots(3)).start().unwrap();
    let received = server.wait("results", |received| results(received).len() == 3);
    running.handle().drain();
    let summary = running.join();
    assert_eq!((summary.completed, summary.failed), (2, 1));
    let result = results(&received).into_iter().find(|result| result.contains("t-large")).unwrap();
    assert!(result.contains(r#""FAILED""#), "{result}");
    assert!(result.contains("has room for 65536") && result.contains("needs 200"), "{result}");
}

#[test]
fn an_answer_without_an_end_is_broken_off_and_the_next_poll_is_as_any() {
    let polls = AtomicUsize::new(0);
    let queue = Queue::new([task("t-1", "echo", "{}")]);
    let server = Server::start(move |received: &Received| {
        // Eight tasks' worth would be read to its end: twice four of the largest.
        if received.target.contains("/poll/") && polls.fetch_add(1, Ordering::AcqRel) == 0 {
            return json(200, format!("[{}]", " ".repeat(9 * 65_536)));
        }
        queue.answer(received)
    });
    let mut runner = runner(&server).worker(echo());
    let events = runner.events(100);
    let running = runner.start().unwrap();
    let cause = events.iter().find_map(|event| {
        if let EventKind::PollFailure { cause, .. } = event.kind { Some(cause) } else { None }
    });
    let cause = cause.unwrap();
    assert!(cause.contains("far larger than the tasks that were asked for may be (`max_task`)"), "{cause}");
    server.wait("result", |received| results(received).len() == 1);
    running.handle().drain();
    assert_eq!(running.join().completed, 1);
}
