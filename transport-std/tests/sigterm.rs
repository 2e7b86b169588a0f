//! `SIGTERM` while a hundred tasks run. A test binary of its own, for it sends the signal to itself.

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use downbeat::{Context, RawValue, Runner, Worker};
use downbeat_core::machine::Lifecycle;
use support::{Queue, Received, Server, results, task};

const TASKS: usize = 100;
/// How often the state is looked at, at the most: some seconds' worth.
const LOOKS: u32 = 20_000_000;

/// Opens once, for all.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

#[test]
fn a_hundred_running_tasks_are_finished_and_none_is_lost() {
    let queue =
        Queue::new((0..TASKS + 50).map(|n| task(&format!("t-{n}"), "slow", &format!(r#"{{"n":{n}}}"#))));
    let asked = Arc::clone(&queue);
    let server = Server::start(move |received: &Received| asked.answer(received));
    let gate = Arc::new(Gate::default());
    let inside = Arc::clone(&gate);
    let slow = Worker::new("slow", move |input: Box<RawValue>, _: &Context| {
        let open = inside.open.lock().unwrap();
        drop(inside.opened.wait_while(open, |open| !*open));
        Ok(input)
    });
    let mut runner = Runner::builder(server.url()).worker(slow.slots(u16::try_from(TASKS).unwrap()));
    let events = runner.events(10_000);
    let running = runner.start().unwrap();
    let started = events.iter().filter(|event| event.kind.name() == "TaskExecutionStarted");
    assert_eq!(started.take(TASKS).count(), TASKS);

    let killed = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(killed.success());
    let handle = running.handle();
    // The signal takes its way through the system: looks at the state until it has arrived.
    let draining = (0..LOOKS).any(|_| {
        std::thread::yield_now();
        matches!(handle.snapshot()[0].state.lifecycle, Lifecycle::Draining { .. })
    });
    assert!(draining);
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    let summary = running.join();

    let tasks = u64::try_from(TASKS).unwrap();
    assert_eq!((summary.tasks, summary.completed), (tasks, tasks));
    assert_eq!((summary.given_back, summary.given_up, summary.stored), (0, 0, 0));
    let reported: BTreeSet<String> = results(&server.received()).into_iter().collect();
    assert_eq!(reported.len(), TASKS);
    assert!(reported.iter().all(|result| result.contains("COMPLETED")));
    // And nothing was taken that was not run.
    assert_eq!(queue.tasks.lock().unwrap().len(), 50);
}
