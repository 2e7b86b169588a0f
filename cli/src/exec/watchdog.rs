//! A small process beside the runner that ends its commands when the runner is killed.
//!
//! It is this binary, started again. It reads what runs from a pipe whose other end only the runner has, and
//! at the end of the pipe ends it. It has a session of its own, and no signal but SIGKILL ends it before
//! that. It tells the runner of those that ask a process to end: who signals it signals every process of the
//! service, commands too.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use tracing::{debug, warn};

use super::leftover::{self, Group};
use super::process::{self, Stat};
use super::{stops, table};
use crate::clock;

/// The first argument that makes this binary the watchdog; the second is the runner's directory of results.
pub(crate) const ARGUMENT: &str = "watch-commands";
/// How long its first word is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The least time between two starts of it.
const GAP: Duration = Duration::from_secs(1);
/// Its words: it is ready, and it was asked to end.
const READY: &str = "ready";
const TOLD: &str = "told";

// -------------------------------------------------------------------- the runner's side

/// What the runner keeps of its watchdog.
struct Keeper {
    scratch: PathBuf,
    dog: Option<Dog>,
    /// When the last one was started.
    last: Option<Instant>,
    /// It was said that there is none.
    said: bool,
}

struct Dog {
    child: Child,
    pipe: ChildStdin,
    line: table::Line,
}

/// `None`: no watchdog is wanted.
static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

fn keeper() -> MutexGuard<'static, Option<Keeper>> {
    KEEPER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the next command on there is a watchdog; it removes `scratch` once all commands of a killed runner have ended.
pub(crate) fn arm(scratch: PathBuf) {
    *keeper() = Some(Keeper { scratch, dog: None, last: None, said: false });
}

/// Sees to it that there is a watchdog, before a command is started.
pub(super) fn be_there() {
    if let Some(keeper) = keeper().as_mut().filter(|keeper| keeper.dog.is_none()) {
        keeper.start();
    }
}

/// A command has started; it is in the table.
pub(super) fn started(group: Pid, started: Option<u64>) {
    if let Some(keeper) = keeper().as_mut() {
        keeper.tell(&line(group, started));
    }
}

/// A command has ended, with all its group.
pub(super) fn ended(group: Pid) {
    if let Some(keeper) = keeper().as_mut() {
        keeper.tell(&format!("-{}\n", group.as_raw_nonzero()));
    }
}

fn line(group: Pid, started: Option<u64>) -> String {
    let started = started.map_or_else(|| "?".to_owned(), |started| started.to_string());
    format!("+{} {started}\n", group.as_raw_nonzero())
}

impl Keeper {
    fn start(&mut self) {
        if self.last.is_some_and(|last| !clock::left(last + GAP).is_zero()) {
            return;
        }
        self.last = Some(clock::now());
        match self.try_start() {
            Ok(()) => self.said = false,
            Err(error) if !self.said => {
                self.said = true;
                warn!(
                    %error,
                    "no watchdog could be started, and downbeat tries again: commands would outlive this process if \
                     it were killed"
                );
            }
            Err(_) => {}
        }
    }

    fn try_start(&mut self) -> io::Result<()> {
        let (ready, is_ready) = channel();
        let mut command = Command::new(own_program()?);
        // In our own group at first: so it can have a session of its own.
        command.arg0("downbeat").arg(ARGUMENT).arg(&self.scratch).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let starting = table::starting();
        let mut child = command.spawn()?;
        let line = table::enter_helper(Pid::from_child(&child));
        drop(starting);
        let (Some(pipe), Some(words)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a pipe is missing"));
        };
        let dog = self.dog.insert(Dog { child, pipe, line });
        // A watchdog that does not read must not stop the runner.
        rustix::io::ioctl_fionbio(&dog.pipe, true)?;
        let listen = move || listen(words, ready);
        let listener = std::thread::Builder::new().name("downbeat-watchdog".to_owned()).spawn(listen);
        if let Err(error) = listener {
            self.dog = None;
            return Err(error);
        }
        let _late = is_ready.recv_timeout(PATIENCE);
        for command in table::running() {
            self.tell(&self::line(command.group, command.started));
        }
        Ok(())
    }

    /// Lines are shorter than what a pipe takes as a whole or not at all.
    fn tell(&mut self, line: &str) {
        let Some(dog) = &mut self.dog else { return };
        if dog.pipe.write_all(line.as_bytes()).is_err() {
            // It has ended or hangs; who listens to it starts another.
            drop(dog.child.kill());
        }
    }
}

impl Drop for Dog {
    /// Only of one that has ended or is to.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        table::leave(self.line);
    }
}

/// Hears what the watchdog says, to its end; then there is to be another.
fn listen(words: ChildStdout, ready: Sender<()>) {
    for word in BufReader::new(words).lines().map_while(Result::ok) {
        match word.as_str() {
            READY => drop(ready.send(())),
            TOLD => stops::all_were_told(),
            _ => {}
        }
    }
    // Who started it may still wait for its first word, and is not to wait in vain.
    drop(ready);
    let last = keeper().as_mut().and_then(|keeper| {
        keeper.dog = None;
        keeper.last
    });
    debug!("the watchdog has ended; another is started");
    clock::pause(last.map_or(GAP, |last| clock::left(last + GAP)));
    be_there();
}

/// This very binary, also if another has taken its name since.
fn own_program() -> io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() { Ok(own.to_path_buf()) } else { std::env::current_exe() }
}

// -------------------------------------------------------------------- the watchdog's side

/// The runner's directory, if these arguments of a process make it a watchdog.
pub(crate) fn is_meant(mut arguments: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    arguments.next().filter(|word| word == OsStr::new(ARGUMENT))?;
    arguments.next().map(PathBuf::from)
}

/// Watches over the commands of the process at the other end of standard input.
///
/// # Errors
/// The system refuses a signal handler or a thread.
pub(crate) fn watch(scratch: &Path) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2])?;
    let heed = move || {
        for signal in signals.forever() {
            if matches!(signal, SIGTERM | SIGINT | SIGHUP) {
                say(TOLD);
            }
        }
    };
    std::thread::Builder::new().spawn(heed)?;
    // Refused only to the leader of a group, which this process is if a shell started it.
    let _refused = rustix::process::setsid();
    say(READY);
    let mut groups = BTreeMap::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        hear(&line, &mut groups);
    }
    let groups: Vec<Group> = groups.into_values().collect();
    end_run(&groups, scratch);
    drop(std::fs::remove_dir_all(scratch));
    Ok(())
}

/// Ends processes of a run that is gone, and whose directory this is; the watchdog does it, unless that was killed too.
pub(crate) fn end_below(scratch: &Path) {
    end_run(&[], scratch);
}

fn end_run(groups: &[Group], scratch: &Path) {
    leftover::end(groups, &|stat: &Stat| !stat.zombie && is_below(stat.pid, scratch));
}

/// Whether standard input is a pipe.
pub(crate) fn is_piped() -> bool {
    use rustix::fs::{FileType, fstat};
    fstat(io::stdin()).is_ok_and(|facts| FileType::from_raw_mode(facts.st_mode) == FileType::Fifo)
}

fn is_below(pid: Pid, scratch: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    process::mark(pid).is_some_and(|mark| Path::new(OsStr::from_bytes(&mark)).starts_with(scratch))
}

fn hear(line: &str, groups: &mut BTreeMap<i32, Group>) {
    let (sign, rest) = line.split_at_checked(1).unwrap_or_default();
    let mut numbers = rest.split(' ');
    let number = numbers.next().and_then(|number| number.parse().ok()).filter(|number| *number > 1);
    let Some((number, leader)) = number.and_then(|number| Some((number, Pid::from_raw(number)?))) else {
        return;
    };
    if sign == "+" {
        let started = numbers.next().and_then(|started| started.parse().ok());
        groups.insert(number, Group { leader, started });
    } else {
        groups.remove(&number);
    }
}

fn say(word: &str) {
    let mut out = io::stdout().lock();
    // The runner may be gone.
    drop(writeln!(out, "{word}").and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_and_go_by_lines_and_other_lines_mean_nothing() {
        let mut groups = BTreeMap::new();
        for line in ["+20 300", "+21 ?", "+22 5", "-22", "", "+", "+x 1", "+1 1", "+-5 1", "-99", "é"] {
            hear(line, &mut groups);
        }
        let group = |leader, started| Group { leader: Pid::from_raw(leader).unwrap(), started };
        assert_eq!(groups.into_values().collect::<Vec<_>>(), [group(20, Some(300)), group(21, None)]);
        assert_eq!(line(Pid::from_raw(20).unwrap(), Some(300)), "+20 300\n");
        assert_eq!(line(Pid::from_raw(20).unwrap(), None), "+20 ?\n");
    }

    #[test]
    fn two_arguments_make_a_watchdog_and_nothing_else_does() {
        let meant = |words: &[&str]| is_meant(words.iter().map(OsString::from));
        assert_eq!(meant(&[ARGUMENT, "/tmp/here"]), Some("/tmp/here".into()));
        assert_eq!((meant(&[ARGUMENT]), meant(&["run", ARGUMENT]), meant(&[])), (None, None, None));
    }
}
