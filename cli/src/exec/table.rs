//! The processes that this one has started and waits for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::process::{Pid, Signal, kill_process_group};

/// A process that somebody here waits for.
#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    pid: Pid,
    started: Option<u64>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A command with a group of its own; its file of `DOWNBEAT_RESULT`. `ending`: it is being reaped, and its number
    /// may be another's at any time.
    Command { mark: PathBuf, ending: bool },
    /// The watchdog.
    Helper,
}

/// The number of a line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Line(u64);

/// A command in the table.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) group: Pid,
    pub(super) started: Option<u64>,
    pub(super) mark: PathBuf,
}

static TABLE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);
/// Held for reading from before a process is started until it is in the table.
static STARTING: RwLock<()> = RwLock::new(());

fn table() -> MutexGuard<'static, Vec<Entry>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be held while a process is started and filed: until then it looks like an orphan.
pub(super) fn starting() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// While this is held every child of ours that is not in the table is nobody's.
pub(super) fn nothing_starts() -> RwLockWriteGuard<'static, ()> {
    STARTING.write().unwrap_or_else(PoisonError::into_inner)
}

/// Files a command; the caller holds [`starting`].
pub(super) fn enter(group: Pid, started: Option<u64>, mark: &Path) -> Line {
    file(group, started, Kind::Command { mark: mark.to_path_buf(), ending: false })
}

/// Files a process of our own that is no command; the caller holds [`starting`].
pub(super) fn enter_helper(pid: Pid) -> Line {
    file(pid, None, Kind::Helper)
}

fn file(pid: Pid, started: Option<u64>, kind: Kind) -> Line {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    table().push(Entry { number, pid, started, kind });
    Line(number)
}

/// The command is about to be reaped: its group is signalled no more.
pub(super) fn ending(line: Line) {
    if let Some(entry) = table().iter_mut().find(|entry| entry.number == line.0)
        && let Kind::Command { ending, .. } = &mut entry.kind
    {
        *ending = true;
    }
}

/// The process was reaped.
pub(super) fn leave(line: Line) {
    table().retain(|entry| entry.number != line.0);
}

/// Whether somebody waits for this process.
pub(super) fn holds(pid: Pid) -> bool {
    table().iter().any(|entry| entry.pid == pid)
}

/// The commands that run.
pub(super) fn running() -> Vec<Running> {
    let table = table();
    let commands = table.iter().filter_map(|entry| match &entry.kind {
        Kind::Command { mark, ending: false } => {
            Some(Running { group: entry.pid, started: entry.started, mark: mark.clone() })
        }
        Kind::Command { .. } | Kind::Helper => None,
    });
    commands.collect()
}

/// Ends every group that is still there: the process is about to end.
pub(crate) fn end_all() {
    for entry in table().iter() {
        if matches!(entry.kind, Kind::Command { ending: false, .. }) {
            let _nobody = kill_process_group(entry.pid, Signal::KILL);
        }
    }
}
