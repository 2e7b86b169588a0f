//! One process group and its three pipes, attended by one thread.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::lines::Lines;
use super::{Assignment, Command, Finished, Hooks, Stop, orphans, process, table, watchdog};
use crate::clock;

/// How much of a pipe is read or written at once.
const PIECE: usize = 64 * 1024;
/// How long the pipes are read on after the group was killed: only who left the group can still hold them.
const LEFTOVER: Duration = Duration::from_secs(1);
/// How often the process is looked at if the system offers no handle that can be waited for.
const WAIT_SLICE: Duration = Duration::from_millis(10);

/// The variables that hold the runner's own credentials; a command gets them only from its `env`.
const CREDENTIALS: [&str; 4] = [
    "CONDUCTOR_AUTH_KEY",
    "CONDUCTOR_AUTH_SECRET",
    "CONDUCTOR_SERVER_AUTH_KEY",
    "CONDUCTOR_SERVER_AUTH_SECRET",
];

/// What [`Child::attend`] waits for.
#[derive(Clone, Copy)]
enum Event {
    Stdin,
    Stdout,
    Stderr,
    End,
}

/// A started command.
pub(super) struct Child<'a> {
    child: std::process::Child,
    /// The process, and the group of the same number.
    group: Pid,
    line: table::Line,
    /// Becomes readable when the process ends; `None` if there is no such thing.
    handle: Option<OwnedFd>,
    stdin: Option<ChildStdin>,
    /// What is still to be written.
    input: &'a [u8],
    stdout: Option<ChildStdout>,
    output: Vec<u8>,
    output_max: usize,
    stderr: Option<ChildStderr>,
    lines: Lines,
    reaped: bool,
}

impl<'a> Child<'a> {
    pub(super) fn spawn(command: &Command, task: Assignment<'a>, hooks: Hooks<'_>) -> io::Result<Self> {
        watchdog::be_there();
        let mut process = std::process::Command::new(&command.program);
        for name in CREDENTIALS.into_iter().chain(command.hidden.iter().map(String::as_str)) {
            process.env_remove(name);
        }
        process
            .args(&command.args)
            .envs(&command.env)
            .env("DOWNBEAT_TASK_ID", task.task_id)
            .env("DOWNBEAT_WORKFLOW_ID", task.workflow_id)
            .env("DOWNBEAT_TASK_TYPE", task.task_type)
            .env("DOWNBEAT_RETRY_COUNT", task.retry_count.to_string())
            .env("DOWNBEAT_POLL_COUNT", task.poll_count.to_string())
            .env(process::MARK, task.result)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: a Ctrl-C at the terminal does not reach it, and a signal to it reaches all of it.
            .process_group(0);
        if let Some(cwd) = &command.cwd {
            process.current_dir(cwd);
        }
        let starting = table::starting();
        let mut child = process.spawn()?;
        let group = Pid::from_child(&child);
        let since = process::started(group);
        let line = table::enter(group, since, task.result);
        drop(starting);
        let started = Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            group,
            line,
            handle: handle(group),
            input: task.input,
            output: Vec::new(),
            output_max: command.output_max,
            lines: Lines::default(),
            reaped: false,
        };
        watchdog::started(group, since);
        (hooks.started)(group.as_raw_nonzero().get(), since);
        started.unblock()?;
        Ok(started)
    }

    /// Makes our ends of the pipes answer at once; the command's ends are descriptions of their own.
    fn unblock(&self) -> io::Result<()> {
        let stdin = self.stdin.as_ref().map(AsFd::as_fd);
        let stdout = self.stdout.as_ref().map(AsFd::as_fd);
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        for pipe in [stdin, stdout, stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(())
    }

    /// Bytes of output seen so far; at most one piece above the largest that is kept.
    pub(super) const fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Whether the command itself has ended. It stays a zombie, so that its group's number is not given to another.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.group), options)?.is_some())
    }

    /// Asks the group to end, and says when it must have.
    pub(super) fn ask(&self, grace: Duration) -> Instant {
        self.signal(Signal::TERM);
        clock::now() + grace
    }

    /// Ends the group.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // It fails if nobody is left in the group, which is what a signal is sent for.
        let _nobody = kill_process_group(self.group, signal);
    }

    /// Serves the pipes until something happens, at most for `patience`.
    pub(super) fn attend(&mut self, patience: Duration) -> io::Result<()> {
        let patience = if self.handle.is_some() { patience } else { patience.min(WAIT_SLICE) };
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        let watched = [
            self.stdin.as_ref().map(|pipe| (Event::Stdin, PollFd::new(pipe, PollFlags::OUT))),
            self.stdout.as_ref().map(|pipe| (Event::Stdout, PollFd::new(pipe, PollFlags::IN))),
            self.stderr.as_ref().map(|pipe| (Event::Stderr, PollFd::new(pipe, PollFlags::IN))),
            self.handle.as_ref().map(|handle| (Event::End, PollFd::new(handle, PollFlags::IN))),
        ];
        let (events, mut fds): (Vec<Event>, Vec<PollFd<'_>>) = watched.into_iter().flatten().unzip();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // An error or a hang-up counts too: reading or writing tells which.
        let ready = events.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        for event in ready.map(|(event, _)| event).collect::<Vec<_>>() {
            match event {
                Event::Stdin => self.write(),
                Event::Stdout => self.read_output(),
                Event::Stderr => self.read_log(),
                Event::End => {}
            }
        }
        Ok(())
    }

    /// Gives the command more of its input; one that does not read it is no error.
    fn write(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        let (piece, _) = self.input.split_at(self.input.len().min(PIECE));
        match stdin.write(piece) {
            Ok(written) => self.input = self.input.get(written..).unwrap_or_default(),
            Err(error) if again(&error) => return,
            Err(_) => self.input = &[],
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
    }

    fn read_output(&mut self) {
        let room = self.output_max + 1 - self.output.len().min(self.output_max + 1);
        let output = &mut self.output;
        let open = read(self.stdout.as_mut(), |bytes| {
            output.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or(bytes));
        });
        if !open {
            self.stdout = None;
        }
    }

    fn read_log(&mut self) {
        let lines = &mut self.lines;
        if !read(self.stderr.as_mut(), |bytes| lines.push(bytes)) {
            self.stderr = None;
        }
    }

    /// Ends what is left of the group, reads what is left in the pipes, and reaps the command.
    pub(super) fn finish(mut self, stop: Option<Stop>) -> io::Result<Finished> {
        self.kill();
        self.stdin = None;
        self.handle = None;
        let until = clock::now() + LEFTOVER;
        while (self.stdout.is_some() || self.stderr.is_some()) && !clock::left(until).is_zero() {
            self.attend(clock::left(until))?;
        }
        let status = self.reap()?;
        let too_much = (self.output.len() > self.output_max).then_some(Stop::TooMuchOutput);
        let output = std::mem::take(&mut self.output);
        let log = std::mem::take(&mut self.lines).into_log();
        Ok(Finished { status, stop: stop.or(too_much), output, log })
    }
}

impl Child<'_> {
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        table::ending(self.line);
        let status = self.child.wait();
        table::leave(self.line);
        watchdog::ended(self.group);
        orphans::end();
        status
    }
}

impl Drop for Child<'_> {
    /// Whatever went wrong: no group is left behind, and no zombie.
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            drop(self.reap());
        }
    }
}

/// Reads one piece; `false` once the pipe is at its end.
fn read(pipe: Option<&mut impl Read>, mut take: impl FnMut(&[u8])) -> bool {
    let Some(pipe) = pipe else { return false };
    let mut piece = [0; PIECE];
    match pipe.read(&mut piece) {
        Ok(0) => false,
        Ok(count) => {
            take(piece.get(..count).unwrap_or_default());
            true
        }
        Err(error) => again(&error),
    }
}

fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A handle that becomes readable when the process ends.
#[cfg(target_os = "linux")]
fn handle(process: Pid) -> Option<OwnedFd> {
    // Refused by old kernels and some containers: then the process is looked at every 10 ms.
    rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
const fn handle(_process: Pid) -> Option<OwnedFd> {
    None
}
