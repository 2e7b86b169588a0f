//! Many workers in one process of the std runner: all are served, few threads, few calls.

use std::time::Duration;

use downbeat::{Context, RawValue, Runner, StdClock, Worker};
use downbeat_core::machine::{Clock, Instant};
use downbeat_server::http::{Options, Server, WorkflowStatus};

const WORKERS: u64 = 30;
const TASKS_EACH: u64 = 40;
const PATIENCE: Duration = Duration::from_secs(60);

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |threads| {
        let named =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        named.filter(|name| name.starts_with("downbeat-")).count()
    })
}

#[test]
fn all_of_many_workers_are_served_by_one_budget_of_calls() {
    let server = Server::start(Options::default()).unwrap();
    let mut runner = Runner::builder(server.url()).signals(false);
    for worker in 0..WORKERS {
        let name = format!("work-{worker}");
        server.define_task(&format!(r#"{{"name":"{name}","responseTimeoutSeconds":60}}"#)).unwrap();
        for n in 0..TASKS_EACH {
            server.schedule(&name, &format!(r#"{{"n":{n}}}"#)).unwrap();
        }
        runner = runner.worker(Worker::new(name, |input: Box<RawValue>, _: &Context| Ok(input)).slots(4));
    }
    let events = runner.events(100_000);
    let running = runner.start().unwrap();
    let clock = StdClock::new();
    let all = WORKERS * TASKS_EACH;
    let completed = || server.workflows().get(&WorkflowStatus::Completed).copied().unwrap_or(0);
    let mut most_connections = 0;
    while completed() < all {
        assert!(clock.now() < Instant::ZERO.saturating_add(PATIENCE), "{:?}", running.handle().summary());
        most_connections = most_connections.max(server.stats().open_connections);
        let _ = events.recv_timeout(Duration::from_millis(20));
    }
    // 16 calls at a time.
    assert!(most_connections <= 16, "{most_connections} connections");
    let threads = threads();
    assert!(threads <= 16 + 4 * 30 + 2, "{threads} threads");
    running.handle().drain();
    let summary = running.join();
    assert_eq!((summary.tasks, summary.completed, summary.given_up), (all, all, 0));
    assert_eq!(server.stats().tasks.redelivered, 0);
}
