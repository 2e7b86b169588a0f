//! The store as its runner sees it.

mod directory;
mod kill;
mod recovery;
mod writing;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;

const SERVER: &str = "http://localhost:8080/api";

/// A directory of a test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Where a sync costs nothing, if there is such a place: for tests that open a store thousands of times.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory) } else { Self::new() }
    }

    fn below(place: &Path) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("downbeat-journal-{}-{serial}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        // As it is made if nobody has made it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    fn open(&self) -> (Store, Recovered) {
        self.bounded(Bounds::default())
    }

    fn bounded(&self, bounds: Bounds) -> (Store, Recovered) {
        Store::open(&self.0, SERVER, bounds, Journal::Finish).unwrap()
    }

    fn names(&self, below: &str) -> Vec<String> {
        let mut names = place::names(&self.0.join(below)).unwrap();
        names.retain(|name| !["lock", "server", "dead", "damaged"].contains(&name.as_str()));
        names
    }

    /// The only segment that there is.
    fn segment(&self) -> PathBuf {
        let numbers = segment::numbers(&self.0).unwrap();
        let [number] = numbers.as_slice() else { panic!("not one segment: {numbers:?}") };
        segment::path(&self.0, *number)
    }

    /// Bytes of all segments.
    fn bytes(&self) -> u64 {
        let numbers = segment::numbers(&self.0).unwrap();
        numbers.iter().map(|number| fs::metadata(segment::path(&self.0, *number)).unwrap().len()).sum()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn result(task: &str) -> Vec<u8> {
    format!(r#"{{"taskId":"{task}","workflowInstanceId":"w","status":"COMPLETED","outputData":{{"a":1}}}}"#)
        .into()
}

const fn note(task_id: &str) -> LeaseNote<'_> {
    LeaseNote {
        task_id,
        workflow_id: "w",
        task_type: "type",
        worker_id: "host-1",
        polled_output: r#"{"phase":1}"#,
        give_back_until_ms: None,
        lease: Duration::from_secs(60),
        poll_count: 3,
    }
}

/// The tasks whose results wait, in their order.
fn waiting(store: &Store) -> Vec<String> {
    let items = store.items().unwrap();
    let bodies = items.iter().map(|item| match store.read(item).unwrap() {
        Stored::Result { body, .. } => task_id(&body),
        Stored::Damaged { .. } | Stored::Gone => "no result".to_owned(),
    });
    bodies.collect()
}

/// Leaves a store as a `kill -9` does: nothing more is written.
fn kill(store: Store) {
    // The lock is let go as the system does it for a process that is gone.
    store._lock.unlock().unwrap();
    std::mem::forget(store);
}

fn copy(from: &Path, to: &Path) {
    for name in place::names(from).unwrap() {
        let path = from.join(&name);
        if path.is_file() {
            fs::copy(path, to.join(name)).unwrap();
        }
    }
}
