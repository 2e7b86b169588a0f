//! Processes that outlive their parents: adopted here, ended with their task, reaped
//! (docs/decisions/0024-orphans-are-adopted.md).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group, waitid};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;

use super::process::{self, Stat};
use super::table::{self, Running};
use crate::clock;

/// How long the end of a command's orphans is waited for; they were killed.
const PATIENCE: Duration = Duration::from_secs(1);
/// The least time between two looks for zombies.
const REST: Duration = Duration::from_millis(50);

/// Whose children may be adopted here.
struct Family {
    /// The directory of the files that `DOWNBEAT_RESULT` names: marks below it are of this process.
    scratch: PathBuf,
    /// Whether an orphan without a mark can only be a command's: no one else's child ends up here.
    only_commands: bool,
}

static FAMILY: OnceLock<Family> = OnceLock::new();

/// From now on descendants of commands that lose their parents become children of this process, which ends them with
/// their task and reaps them. To be called by the main thread, before the first command.
///
/// # Errors
/// The system refuses a signal handler or a thread.
pub(crate) fn adopt(scratch: PathBuf) -> io::Result<()> {
    if !process::is_visible() {
        #[cfg(target_os = "linux")]
        tracing::warn!(
            "/proc does not show this process: what commands leave outside their groups is not ended"
        );
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    // Before Linux 3.4 there is no such thing; process 1 needs none.
    let _refused = rustix::process::set_child_subreaper(Some(getpid()));
    let only_commands = getpid() != Pid::INIT && children().is_empty();
    if FAMILY.set(Family { scratch, only_commands }).is_err() {
        return Ok(());
    }
    let mut signals = Signals::new([SIGCHLD])?;
    let attend = move || {
        for _signal in signals.forever() {
            drop(round(Look::All));
            clock::pause(REST);
        }
    };
    std::thread::Builder::new().name("downbeat-reaper".to_owned()).spawn(attend).map(drop)
}

/// Ends what commands that have ended left outside their groups, and waits for that within a bound. Those who were
/// these processes' children become ours in turn, and end too.
pub(super) fn end() {
    let until = clock::now() + PATIENCE;
    loop {
        let killed = round(Look::New);
        if killed.is_empty() || clock::left(until).is_zero() {
            return;
        }
        for handle in killed {
            wait(handle, until);
        }
    }
}

/// Which orphans are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    All,
    /// Without those whose command is known to run.
    New,
}

/// Whom an orphan descends from.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Origin {
    /// The command with this file of `DOWNBEAT_RESULT`.
    Run(PathBuf),
    /// It cleared its environment, or may not be looked at. It started at this tick, its command before.
    Unknown(u64),
}

/// Orphans that were left running, by their number: it stays theirs until they are reaped, which happens only
/// here.
static LEFT_ALONE: Mutex<BTreeMap<i32, Origin>> = Mutex::new(BTreeMap::new());

fn left_alone() -> MutexGuard<'static, BTreeMap<i32, Origin>> {
    LEFT_ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps orphans that have ended, and kills those whose command has: handles of these, if there are such.
fn round(look: Look) -> Vec<Option<OwnedFd>> {
    let Some(family) = FAMILY.get() else { return Vec::new() };
    if family.orphans(look).0.is_empty() {
        return Vec::new();
    }
    // Now no child is about to be filed, and no number of a child becomes another's: it is reaped only here.
    let _held = table::nothing_starts();
    let (orphans, running) = family.orphans(look);
    let mut killed = Vec::new();
    for stat in orphans.into_iter().filter_map(Stat::from_pid) {
        if stat.zombie {
            let _gone = waitid(WaitId::Pid(stat.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            left_alone().remove(&number(stat.pid));
            continue;
        }
        let origin = family.origin(&stat);
        if family.has_ended(&origin, &running) {
            killed.push(handle(stat.pid));
            kill(&stat);
        } else {
            left_alone().insert(number(stat.pid), origin);
        }
    }
    killed
}

impl Family {
    /// The orphans to be looked at, and the commands that run.
    fn orphans(&self, look: Look) -> (Vec<Pid>, Vec<Running>) {
        let mut orphans: Vec<Pid> = children().into_iter().filter(|pid| !table::holds(*pid)).collect();
        if orphans.is_empty() {
            return (orphans, Vec::new());
        }
        let running = table::running();
        if look == Look::New {
            let known = left_alone();
            orphans
                .retain(|pid| known.get(&number(*pid)).is_none_or(|origin| self.has_ended(origin, &running)));
        }
        (orphans, running)
    }

    fn origin(&self, orphan: &Stat) -> Origin {
        let mark = process::mark(orphan.pid).map(path).filter(|mark| mark.starts_with(&self.scratch));
        mark.map_or(Origin::Unknown(orphan.started), Origin::Run)
    }

    /// Whether the command that an orphan descends from has ended, as far as that is known.
    fn has_ended(&self, origin: &Origin, running: &[Running]) -> bool {
        let mut running = running.iter();
        match origin {
            Origin::Run(mark) => running.all(|command| command.mark != *mark),
            Origin::Unknown(tick) => {
                self.only_commands
                    && running.all(|command| command.started.is_some_and(|started| started > *tick))
            }
        }
    }
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

fn path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Kills a process, with its group if it leads one: then all of it descends from it.
fn kill(stat: &Stat) {
    let pid = stat.pid;
    let killed = if stat.group == number(pid) {
        kill_process_group(pid, Signal::KILL)
    } else {
        kill_process(pid, Signal::KILL)
    };
    // It may have ended in the meantime.
    let _gone = killed;
}

/// The children of the main thread: the kernel gives all orphans to it.
fn children() -> Vec<Pid> {
    let own = number(getpid());
    match std::fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(text) => {
            text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
        }
        // A kernel without CONFIG_PROC_CHILDREN.
        Err(_) => process::all().filter(|stat| stat.parent == own).map(|stat| stat.pid).collect(),
    }
}

#[cfg(target_os = "linux")]
fn handle(process: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
const fn handle(_process: Pid) -> Option<OwnedFd> {
    None
}

/// Waits for the end of a process.
fn wait(handle: Option<OwnedFd>, until: Instant) {
    match (handle, Timespec::try_from(clock::left(until))) {
        (Some(handle), Ok(timeout)) => {
            let _elapsed = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout));
        }
        (_, _) => clock::pause(Duration::from_millis(2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_ends_with_its_command_or_once_no_command_is_older() {
        let running = |started, mark: &str| Running { group: getpid(), started, mark: mark.into() };
        let family = |only_commands| Family { scratch: "/s".into(), only_commands };
        let marked = Origin::Run("/s/1".into());
        for only_commands in [false, true] {
            let family = family(only_commands);
            assert!(family.has_ended(&marked, &[]));
            assert!(family.has_ended(&marked, &[running(Some(1), "/s/2"), running(None, "/s/11")]));
            assert!(!family.has_ended(&marked, &[running(Some(9), "/s/2"), running(Some(9), "/s/1")]));
        }
        let unknown = Origin::Unknown(100);
        for (started, ended) in [(Some(99), false), (Some(100), false), (Some(101), true), (None, false)] {
            let running = [running(started, "/s/1")];
            assert_eq!(family(true).has_ended(&unknown, &running), ended, "{started:?}");
            assert!(!family(false).has_ended(&unknown, &running), "it may be somebody else's");
        }
        assert!(family(true).has_ended(&unknown, &[]) && !family(false).has_ended(&unknown, &[]));
    }
}
