//! What people read after a run.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

pub use crate::built::commit;
use crate::scenario::Scenario;
use crate::trial::Trial;
use crate::world::Outcome;

/// Returns one line about a run.
#[must_use]
pub fn summary(scenario: &Scenario, outcome: &Outcome) -> String {
    let workers: u32 = scenario.workers.iter().map(|group| group.count).sum();
    format!(
        "{}: {workers} workers, {} s of virtual time, {} steps, {} events",
        if scenario.name.is_empty() { "scenario" } else { &scenario.name },
        outcome.at.as_millis() / 1_000,
        outcome.steps,
        outcome.events
    )
}

/// A failing run, as it should be the last thing on standard error.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The rule's number and name.
    pub oracle: &'static str,
    /// The run: `seed 4711`.
    pub run: String,
    /// See [`commit()`].
    pub commit: &'static str,
    /// When the rule was broken, in microseconds of virtual time.
    pub at_us: u64,
    /// By which worker, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// What happened.
    pub what: String,
    /// What was not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// The command that runs it again.
    pub reproduce: String,
    /// The scenario made small; an error is what to do for one, why there is none, or nothing to say.
    #[serde(serialize_with = "made")]
    pub minimal: Result<Minimal, String>,
    /// A file with the page; an error as above.
    #[serde(serialize_with = "made")]
    pub timeline: Result<String, String>,
}

/// A failing scenario made small, in a file.
#[derive(Clone, Debug, Serialize)]
pub struct Minimal {
    /// Where it is.
    pub file: String,
    /// Faults before and after.
    pub faults: (u64, u64),
    /// Tasks that came until the rule was broken, before and after.
    pub tasks: (u64, u64),
    /// Workers before and after.
    pub workers: (u64, u64),
}

impl Failure {
    /// Takes what is known of a failing run by itself, or `None` if it did not fail. `again` runs it again.
    #[must_use]
    pub fn from_trial(trial: &Trial, run: String, again: &str) -> Option<Self> {
        let violation = trial.violation.as_ref()?;
        Some(Self {
            oracle: violation.oracle,
            run,
            commit: commit(),
            at_us: violation.at.as_micros(),
            worker: violation.worker,
            what: violation.what.clone(),
            // A rule of safety ends the run at once: then it says nothing that something is open.
            pending: trial
                .outcome
                .pending
                .clone()
                .filter(|pending| violation.is_liveness() && !violation.what.contains(pending)),
            reproduce: format!("{} run {again}", program()),
            minimal: Err(format!("{} shrink {again} --out minimal.json", program())),
            timeline: Err(format!("{} run {again} --html run.html", program())),
        })
    }
}

impl Failure {
    /// Leaves out a small scenario and a page: another failure of the same rule has them.
    #[must_use]
    pub fn brief(mut self) -> Self {
        (self.minimal, self.timeline) = (Err(String::new()), Err(String::new()));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.at_us / 1_000_000, self.at_us / 1_000 % 1_000);
        write!(f, "FAIL  {}   {}   commit {}   ", self.oracle, self.run, self.commit)?;
        write!(f, "at {secs}.{millis:03} s")?;
        if let Some(worker) = self.worker {
            write!(f, "   worker {worker}")?;
        }
        write!(f, "\n      {}", self.what)?;
        if let Some(pending) = &self.pending {
            write!(f, "\n  pending     {pending}")?;
        }
        write!(f, "\n  reproduce   {}", self.reproduce)?;
        match &self.minimal {
            Ok(minimal) => write!(f, "\n  minimal     {minimal}")?,
            Err(words) if words.is_empty() => {}
            Err(words) => write!(f, "\n  minimal     {words}")?,
        }
        match &self.timeline {
            Err(words) if words.is_empty() => Ok(()),
            Ok(words) | Err(words) => write!(f, "\n  timeline    {words}"),
        }
    }
}

impl fmt::Display for Minimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |count: u64| if count == 1 { "" } else { "s" };
        let ((faults, few_faults), (tasks, few_tasks)) = (self.faults, self.tasks);
        let (file, f_s, t_s) = (&self.file, s(few_faults), s(few_tasks));
        write!(f, "{file}   ({faults} → {few_faults} fault{f_s}, {tasks} → {few_tasks} task{t_s})")
    }
}

/// What was made, or nothing.
fn made<T: Serialize, S: Serializer>(made: &Result<T, String>, to: S) -> Result<S::Ok, S::Error> {
    made.as_ref().ok().serialize(to)
}

/// How this program was called, so that a command that it prints can be given again in the same place.
fn program() -> String {
    std::env::args().next().map_or_else(|| "downbeat-sim".to_owned(), |name| quoted(&name))
}

/// Writes a word as a shell takes it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Returns how long processors have worked for this process, all its threads together, to 10 ms, as the
/// system tells it. `None` if it does not. A busy machine does not lengthen it, as it does the time on the
/// wall.
#[must_use]
pub fn processor_time() -> Option<Duration> {
    // Ticks of a hundredth of a second, fields 14 and 15; the second one is the name in brackets.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(10 * (user + system)))
}

/// Returns the most memory that this process has had, as the system tells it.
#[must_use]
pub fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |kib| kib.trim().to_owned())
}
