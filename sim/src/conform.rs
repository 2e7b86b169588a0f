//! Runs the machine under [`Policy::ruby_sdk`] against traces of the original Ruby class, call by call.
//!
//! A case scripts what polls, executions and updates answer and after how long, and lists every call that the class
//! made, with its virtual time (`tests/vectors/README.md`). The machine has to make the same calls at the same
//! millisecond.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, EntryId, Fault, Input, Instant, Outcome, Policy, TaskKey,
    TaskMeta, Worker,
};
use serde::Deserialize;

/// One case of a trace file.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The worker's poll interval.
    pub poll_interval_ms: u64,
    /// The trace holds the calls that start before this time.
    pub until_ms: u64,
    /// What the k-th poll answers; past the end `empty` after 1 ms.
    #[serde(default)]
    pub polls: Vec<Scripted>,
    /// How the k-th execution ends; past the end `completed` after 1 ms.
    #[serde(default)]
    pub executions: Vec<Scripted>,
    /// What the k-th update answers; past the end `ok` after 1 ms.
    #[serde(default)]
    pub updates: Vec<Scripted>,
    /// Half-open intervals in which the worker is paused.
    #[serde(default)]
    pub paused_ms: Vec<(u64, u64)>,
    /// Every call, in order.
    pub trace: Vec<Call>,
}

/// A scripted answer.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Scripted {
    /// After how many milliseconds it comes.
    pub ms: u64,
    /// What it is.
    pub outcome: Scripting,
}

/// Kinds of scripted answers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Scripting {
    /// A poll finds nothing.
    Empty,
    /// A poll brings one task.
    Task,
    /// A poll is refused for lack of authorisation.
    Auth,
    /// A poll or an update fails.
    Error,
    /// An execution completes.
    Completed,
    /// An execution fails and may be retried.
    Failed,
    /// An execution fails for good.
    Terminal,
    /// An update is accepted.
    Ok,
}

/// One call of a trace.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Call {
    /// The virtual time at which it starts.
    pub at_ms: u64,
    /// `poll` or `update`.
    pub call: String,
    /// The task reported: `tK` came with the K-th poll.
    #[serde(default)]
    pub task: Option<String>,
    /// The status reported.
    #[serde(default)]
    pub status: Option<String>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms {}", self.at_ms, self.call)?;
        match (&self.task, &self.status) {
            (Some(task), Some(status)) => write!(f, " {task} {status}"),
            (Some(task), None) => write!(f, " {task}"),
            (None, _) => Ok(()),
        }
    }
}

/// Where a case went another way than its trace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Divergence {
    /// Number of the call in the trace, from 0.
    pub at: usize,
    /// What the trace says, or `None` for nothing more.
    pub expected: Option<Call>,
    /// What the machine did, or `None` for nothing more.
    pub actual: Option<Call>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show =
            |call: &Option<Call>| call.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        write!(f, "call {}: expected {}, got {}", self.at, show(&self.expected), show(&self.actual))
    }
}

/// Reads the cases of a trace file.
///
/// # Errors
/// Says at which line and column the text is not a list of cases.
pub fn parse(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Runs one case.
///
/// # Errors
/// The first call that differs.
pub fn check(case: &Case) -> Result<(), Box<Divergence>> {
    let actual = run(case);
    let longest = actual.len().max(case.trace.len());
    let differs = (0..longest).find(|at| actual.get(*at) != case.trace.get(*at));
    match differs {
        Some(at) => Err(Box::new(Divergence {
            at,
            expected: case.trace.get(at).cloned(),
            actual: actual.get(at).cloned(),
        })),
        None => Ok(()),
    }
}

/// Returns every call that the machine makes in a case.
#[must_use]
pub fn run(case: &Case) -> Vec<Call> {
    let Some(mut bench) = Bench::new(case) else { return Vec::new() };
    // A pause that begins with the loop holds before its first round.
    bench.schedule(Instant::ZERO, ANSWER, Input::Tick);
    while let Some((at, input)) = bench.next_event() {
        if at.as_millis() >= case.until_ms {
            break;
        }
        bench.now = at;
        bench.drain(input);
    }
    bench.calls
}

/// The intervals in order, with those that touch or overlap made one: a pause ends if no interval goes on.
fn pauses(intervals: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted: Vec<_> = intervals.iter().copied().filter(|(from, to)| from < to).collect();
    sorted.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in sorted {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// The machine, its virtual time, and the script.
struct Bench<'a> {
    case: &'a Case,
    worker: Worker<1>,
    now: Instant,
    /// What happens next, by time, then controls before answers, then order of origin.
    events: BTreeMap<(Instant, u8, u64), Input>,
    wake: Option<Instant>,
    made: u64,
    polls: usize,
    runs: usize,
    updates: usize,
    task: String,
    status: &'static str,
    calls: Vec<Call>,
}

const CONTROL: u8 = 0;
const ANSWER: u8 = 1;

impl<'a> Bench<'a> {
    fn new(case: &'a Case) -> Option<Self> {
        let policy = Policy {
            poll_interval: Duration::from_millis(case.poll_interval_ms.max(1)),
            ..Policy::ruby_sdk()
        };
        let mut bench = Self {
            case,
            worker: Worker::new(policy, 0).ok()?,
            now: Instant::ZERO,
            events: BTreeMap::new(),
            wake: None,
            made: 0,
            polls: 0,
            runs: 0,
            updates: 0,
            task: String::new(),
            status: "",
            calls: Vec::new(),
        };
        for (from, to) in pauses(&case.paused_ms) {
            bench.schedule(Instant::from_millis(from), CONTROL, Input::Control(Control::Pause));
            bench.schedule(Instant::from_millis(to), CONTROL, Input::Control(Control::Resume));
        }
        Some(bench)
    }

    fn schedule(&mut self, at: Instant, class: u8, input: Input) {
        self.made += 1;
        self.events.insert((at, class, self.made), input);
    }

    /// The next thing that happens; at equal times controls come first, then answers, then the wake-up.
    fn next_event(&mut self) -> Option<(Instant, Input)> {
        let event = self.events.first_key_value().map(|((at, ..), _)| *at);
        match (event, self.wake) {
            (Some(at), Some(wake)) if wake < at => self.take_wake(),
            (Some(_), _) => self.events.pop_first().map(|((at, ..), input)| (at, input)),
            (None, _) => self.take_wake(),
        }
    }

    fn take_wake(&mut self) -> Option<(Instant, Input)> {
        self.wake.take().map(|at| (at, Input::Tick))
    }

    /// Steps until the machine waits.
    fn drain(&mut self, first: Input) {
        let mut action = self.worker.step(self.now, first);
        loop {
            match action {
                Action::Wait { until, .. } => {
                    self.wake = until;
                    return;
                }
                Action::Stopped => return,
                Action::Poll { call, .. } => self.poll(call),
                Action::Run { entry, .. } => self.execute(entry),
                Action::Update { call, .. } => self.update(call),
                Action::GiveBack { .. }
                | Action::Ignore { .. }
                | Action::Recall { .. }
                | Action::Lapsed { .. }
                | Action::Adopt { .. }
                | Action::Ask { .. }
                | Action::Refresh { .. }
                | Action::Extend { .. }
                | Action::Spill { .. }
                | Action::Discard { .. } => {}
            }
            action = self.worker.step(self.now, Input::Tick);
        }
    }

    fn poll(&mut self, call: CallId) {
        self.calls.push(Call {
            at_ms: self.now.as_millis(),
            call: "poll".to_owned(),
            task: None,
            status: None,
        });
        let script = self.case.polls.get(self.polls).copied();
        let script = script.unwrap_or(Scripted { ms: 1, outcome: Scripting::Empty });
        self.polls += 1;
        let at = self.now.saturating_add(Duration::from_millis(script.ms));
        let reply = match script.outcome {
            Scripting::Auth => Err(CallError::new(Fault::Unauthorized)),
            Scripting::Error => Err(CallError::new(Fault::Server)),
            Scripting::Task => {
                let task = TaskMeta::new(TaskKey::from_u128(self.polls as u128), None);
                self.schedule(at, ANSWER, Input::Leased { call, task });
                Ok(Answer::Done)
            }
            Scripting::Empty
            | Scripting::Completed
            | Scripting::Failed
            | Scripting::Terminal
            | Scripting::Ok => Ok(Answer::Done),
        };
        self.schedule(at, ANSWER, Input::Replied { call, reply });
    }

    fn execute(&mut self, entry: EntryId) {
        self.task = format!("t{}", self.polls);
        let script = self.case.executions.get(self.runs).copied();
        let script = script.unwrap_or(Scripted { ms: 1, outcome: Scripting::Completed });
        self.runs += 1;
        self.status = match script.outcome {
            Scripting::Failed => "FAILED",
            Scripting::Terminal => "FAILED_WITH_TERMINAL_ERROR",
            Scripting::Completed
            | Scripting::Empty
            | Scripting::Task
            | Scripting::Auth
            | Scripting::Error
            | Scripting::Ok => "COMPLETED",
        };
        let at = self.now.saturating_add(Duration::from_millis(script.ms));
        self.schedule(at, ANSWER, Input::Finished { entry, outcome: Outcome::Final });
    }

    fn update(&mut self, call: CallId) {
        self.calls.push(Call {
            at_ms: self.now.as_millis(),
            call: "update".to_owned(),
            task: Some(self.task.clone()),
            status: Some(self.status.to_owned()),
        });
        let script = self.case.updates.get(self.updates).copied();
        let script = script.unwrap_or(Scripted { ms: 1, outcome: Scripting::Ok });
        self.updates += 1;
        let reply = match script.outcome {
            Scripting::Error => Err(CallError::new(Fault::Server)),
            Scripting::Auth => Err(CallError::new(Fault::Unauthorized)),
            Scripting::Ok
            | Scripting::Empty
            | Scripting::Task
            | Scripting::Completed
            | Scripting::Failed
            | Scripting::Terminal => Ok(Answer::Done),
        };
        let at = self.now.saturating_add(Duration::from_millis(script.ms));
        self.schedule(at, ANSWER, Input::Replied { call, reply });
    }
}
