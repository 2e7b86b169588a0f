//! A task is run as a command: input on standard input, output from standard output, logs from standard error.

mod child;
mod files;
mod lines;
mod path;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::clock;
use child::Child;
pub(crate) use child::end_all;
pub(crate) use files::allow;
pub(crate) use path::find;

/// The largest output in bytes. Above 10 MiB the server fails the whole workflow (R-PAYLOAD-3).
pub(crate) const OUTPUT_MAX: usize = 10 * 1024 * 1024;
/// How long a group that was asked to end may take, unless set otherwise.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// The most of it when the runner wants the task back: a second later it gives the task to the server, whatever the
/// command does then.
const GRACE_RECALLED: Duration = Duration::from_millis(700);
/// How often a running command's task is looked at for a recall.
const RECALL_SLICE: Duration = Duration::from_millis(100);

/// What is run for each task of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// The program: a name to be looked up in `PATH`, or a path.
    pub(crate) program: OsString,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Variables set for it besides the inherited ones.
    pub(crate) env: BTreeMap<String, String>,
    /// Variables that it does not inherit, besides those of the runner's own credentials.
    pub(crate) hidden: Vec<String>,
    /// Where it runs; the runner's own directory if `None`.
    pub(crate) cwd: Option<PathBuf>,
    /// The longest that one task may take.
    pub(crate) timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub(crate) grace: Duration,
    /// The largest output in bytes.
    pub(crate) output_max: usize,
}

/// One task, as a command is told of it.
#[derive(Clone, Copy)]
pub(crate) struct Assignment<'a> {
    /// Its id, its workflow's and its type.
    pub(crate) task_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) task_type: &'a str,
    /// How often it was retried before.
    pub(crate) retry_count: u32,
    /// How often it was delivered, this time included.
    pub(crate) poll_count: u32,
    /// The input: raw JSON.
    pub(crate) input: &'a [u8],
    /// The file in which the command may ask to be called again.
    pub(crate) result: &'a Path,
}

/// What a command made of a task.
#[derive(Debug)]
pub(crate) struct Report {
    /// How it ended.
    pub(crate) end: End,
    /// The output, a JSON object.
    pub(crate) output: Option<Box<RawValue>>,
    /// What the command said on standard error, shortened to what the server keeps.
    pub(crate) log: Vec<String>,
}

/// How a command ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Completed,
    /// The server may retry.
    Failed(String),
    /// No retry.
    Terminal(String),
    /// To be delivered again after this time.
    InProgress(Duration),
    /// The runner recalled the task, and the command had no result.
    Recalled,
}

/// Why a command is stopped before its own end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    TimeLimit(Duration),
    Recalled,
    TooMuchOutput,
}

/// Runs `command` for one task, to the end of its whole process group. `recalled` is asked every 100 ms.
pub(crate) fn run(command: &Command, task: Assignment<'_>, recalled: &dyn Fn() -> bool) -> Report {
    let end = drive(command, task, recalled);
    let report = match end {
        Ok(finished) => verdict::judge(command, task.result, finished),
        Err(error) => Report { end: End::Failed(failure(command, &error)), output: None, log: Vec::new() },
    };
    // The next delivery of this task must not find it; most commands never made it.
    drop(std::fs::remove_file(task.result));
    report
}

/// What is known of a command when its group has ended.
struct Finished {
    status: std::process::ExitStatus,
    stop: Option<Stop>,
    output: Vec<u8>,
    log: Vec<String>,
}

fn drive(command: &Command, task: Assignment<'_>, recalled: &dyn Fn() -> bool) -> io::Result<Finished> {
    let deadline = command.timeout.map(|limit| (limit, clock::now() + limit));
    let mut child = Child::spawn(command, task)?;
    let mut stop: Option<Stop> = None;
    let mut kill_at: Option<Instant> = None;
    while !child.has_ended()? {
        if stop.is_none() {
            stop = reason(&child, command, deadline, recalled);
            kill_at = match stop {
                Some(Stop::TooMuchOutput) => Some(clock::now()),
                Some(Stop::TimeLimit(_)) => Some(child.ask(command.grace)),
                Some(Stop::Recalled) => Some(child.ask(command.grace.min(GRACE_RECALLED))),
                None => None,
            };
        }
        if kill_at.is_some_and(|at| clock::left(at).is_zero()) {
            child.kill();
            kill_at = None;
        }
        let until = if stop.is_none() { deadline.map(|(_, at)| at) } else { kill_at };
        child.attend(until.map_or(RECALL_SLICE, |until| clock::left(until).min(RECALL_SLICE)))?;
    }
    child.finish(stop)
}

fn reason(
    child: &Child<'_>,
    command: &Command,
    deadline: Option<(Duration, Instant)>,
    recalled: &dyn Fn() -> bool,
) -> Option<Stop> {
    let late = deadline.filter(|(_, at)| clock::left(*at).is_zero());
    if child.output_len() > command.output_max {
        Some(Stop::TooMuchOutput)
    } else if recalled() {
        Some(Stop::Recalled)
    } else {
        late.map(|(limit, _)| Stop::TimeLimit(limit))
    }
}

fn failure(command: &Command, error: &io::Error) -> String {
    let program = command.program.to_string_lossy();
    match &command.cwd {
        Some(cwd) if !cwd.is_dir() => format!("the command's directory {} is not there", cwd.display()),
        _ => format!("the command `{program}` could not be run: {error}"),
    }
}
