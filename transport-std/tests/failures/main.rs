//! Everything that can go wrong between a task's delivery and its accepted result: a server with one quirk per test.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod conductor;
mod crash;
mod ended;
mod refused;
mod slow;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use downbeat::{Context, RawValue, Runner, Running, Summary, TaskError, Worker};
use support::Server;

fn runner(server: &Server) -> Runner {
    Runner::builder(server.url()).signals(false)
}

fn drained(running: Running) -> Summary {
    running.handle().drain();
    running.join()
}

/// A worker whose reports are repeated soon, so that no test waits for minutes.
fn echo(task: &str) -> Worker {
    let echo = Worker::new(task, |_: Box<RawValue>, _: &Context| Ok::<(), TaskError>(()));
    let soon = Duration::from_millis(5);
    echo.policy(|policy| policy.update = [Duration::ZERO, soon, soon, soon])
}

/// A directory of this test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("downbeat-failures-{}-{serial}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The dead letters, as text.
    fn dead(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("dead")).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.extension().is_some_and(|end| end == "json"));
        files.map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
