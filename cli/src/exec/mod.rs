//! A task is run as a command: input on standard input, output from standard output, logs from standard error.

mod child;
mod files;
mod gate;
mod leftover;
mod lines;
mod orphans;
mod path;
mod process;
mod shortage;
mod stops;
mod table;
#[cfg(test)]
mod tests;
mod verdict;
mod watchdog;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::clock;
use child::Child;
pub(crate) use files::{Short, allow, shares};
pub(crate) use leftover::end_leftover;
pub(crate) use orphans::adopt;
pub(crate) use path::find;
pub(crate) use stops::{Starting, is_told, note as note_signals};
pub(crate) use table::end_all;
pub(crate) use watchdog::{arm as arm_watchdog, end_below, is_meant as is_watchdog, is_piped, watch};

/// The largest output in bytes. Above 10 MiB the server fails the whole workflow (R-PAYLOAD-3).
pub(crate) const OUTPUT_MAX: usize = 10 * 1024 * 1024;
/// How long a group that was asked to end may take, unless set otherwise.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// The most of it when the runner wants the task back: a second later it gives the task to the server, whatever the
/// command does then.
const GRACE_RECALLED: Duration = Duration::from_millis(700);
/// How often a running command's task is looked at for a recall.
const RECALL_SLICE: Duration = Duration::from_millis(100);
/// How long the end of a command that may be due to a signal for the whole service is held, until that is known.
const HELD: Duration = Duration::from_millis(300);
/// How often it is looked, meanwhile.
const HELD_SLICE: Duration = Duration::from_millis(5);

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

/// Why the runner wants a task back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Recall {
    /// It ends: in a second the task is given back to the server.
    Drain,
    /// The server has ended the task: no result of it is wanted, and the command has all of its grace.
    Cancelled,
}

/// What a running command asks and tells.
#[derive(Clone, Copy)]
pub(crate) struct Hooks<'a> {
    /// Whether the task is wanted back; asked every 100 ms.
    pub(crate) recalled: &'a dyn Fn() -> Option<Recall>,
    /// Told of the command's process group once it runs, and when that started: in clock ticks since the
    /// machine did, if that can be seen.
    pub(crate) started: &'a dyn Fn(i32, Option<u64>),
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
    /// No result: the runner recalled the task, or the machine has nothing left to run it with.
    GivenBack,
    /// The server has ended the task; nothing is to be reported.
    Cancelled,
}

/// Why a command is stopped before its own end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    TimeLimit(Duration),
    Recalled(Recall),
    TooMuchOutput,
    /// Not by us: every process of the service was asked to end.
    Elsewhere,
}

/// Runs `command` for one task, to the end of all that it started.
pub(crate) fn run(command: &Command, task: Assignment<'_>, hooks: Hooks<'_>) -> Report {
    let report = match drive(command, task, hooks) {
        Ok(Some(finished)) => verdict::judge(command, task.result, finished),
        Ok(None) => Report { end: End::GivenBack, output: None, log: Vec::new() },
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

/// `None`: the command was not started.
fn drive(command: &Command, task: Assignment<'_>, hooks: Hooks<'_>) -> io::Result<Option<Finished>> {
    let is_recalled = || (hooks.recalled)().is_some();
    let Some(_permit) = gate::enter(&is_recalled) else { return Ok(None) };
    let before = stops::Before::now();
    let start = || Child::spawn(command, task, hooks);
    let Some(mut child) = shortage::outlast(start, &is_recalled)? else { return Ok(None) };
    let deadline = command.timeout.map(|limit| (limit, clock::now() + limit));
    let mut stop: Option<Stop> = None;
    let mut kill_at: Option<Instant> = None;
    while !child.has_ended()? {
        if stop.is_none() {
            stop = reason(&child, command, deadline, hooks);
            if stop.is_some() && child.has_ended()? {
                // By itself, since it was last looked at.
                stop = None;
                break;
            }
            kill_at = match stop {
                Some(Stop::TooMuchOutput) => Some(clock::now()),
                Some(Stop::TimeLimit(_) | Stop::Recalled(Recall::Cancelled)) => {
                    Some(child.ask(command.grace))
                }
                Some(Stop::Recalled(Recall::Drain)) => Some(child.ask(command.grace.min(GRACE_RECALLED))),
                Some(Stop::Elsewhere) | None => None,
            };
        }
        if kill_at.is_some_and(|at| clock::left(at).is_zero()) {
            child.kill();
            kill_at = None;
        }
        let until = if stop.is_none() { deadline.map(|(_, at)| at) } else { kill_at };
        child.attend(until.map_or(RECALL_SLICE, |until| clock::left(until).min(RECALL_SLICE)))?;
    }
    let mut finished = child.finish(stop)?;
    if finished.stop.is_none() && was_stopped(&finished, task, before, &is_recalled) {
        finished.stop = Some(Stop::Elsewhere);
    }
    Ok(Some(finished))
}

fn reason(
    child: &Child<'_>,
    command: &Command,
    deadline: Option<(Duration, Instant)>,
    hooks: Hooks<'_>,
) -> Option<Stop> {
    let late = deadline.filter(|(_, at)| clock::left(*at).is_zero());
    if child.output_len() > command.output_max {
        Some(Stop::TooMuchOutput)
    } else if let Some(recall) = (hooks.recalled)() {
        Some(Stop::Recalled(recall))
    } else {
        late.map(|(limit, _)| Stop::TimeLimit(limit))
    }
}

/// Whether a command without a result ended because all processes of the service were asked to end, it among them: as
/// systemd does it by default. That may be known here a moment later than there.
fn was_stopped(
    finished: &Finished,
    task: Assignment<'_>,
    before: stops::Before,
    is_recalled: &dyn Fn() -> bool,
) -> bool {
    let by_signal = verdict::is_asked_to_end(finished.status);
    let no_result = || !verdict::is_result(finished, task.result);
    if !by_signal && (!is_told() || before.is_during_stop() || !no_result()) {
        return false;
    }
    let until = clock::now() + HELD;
    loop {
        // What a signal ended was asked to end by whoever asked us. Only the watchdog knows of other ends;
        // its word counts only while we are asked too.
        let stopped = if by_signal { is_told() || is_recalled() } else { before.are_all_told_since() };
        if stopped {
            return true;
        }
        if clock::left(until).is_zero() {
            return false;
        }
        clock::pause(HELD_SLICE);
    }
}

fn failure(command: &Command, error: &io::Error) -> String {
    let program = command.program.to_string_lossy();
    match &command.cwd {
        Some(cwd) if !cwd.is_dir() => format!("the command's directory {} is not there", cwd.display()),
        _ => format!("the command `{program}` could not be run: {error}"),
    }
}
