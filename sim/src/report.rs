//! What people read after a run.

use std::io::{self, Write};
use std::time::Duration;

use crate::scenario::Scenario;
use crate::trial::Trial;
use crate::world::Outcome;

/// One line about a run.
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

/// The report of a failing run, as it should be the last thing on standard error.
///
/// # Errors
/// It cannot be written.
pub fn failure(
    err: &mut dyn Write,
    name: &str,
    again: &str,
    trial: &Trial,
    timeline: Option<&str>,
) -> io::Result<()> {
    let commit = option_env!("DOWNBEAT_COMMIT").filter(|commit| !commit.is_empty());
    if let Some(violation) = &trial.violation {
        let at = violation.at.as_millis();
        write!(err, "FAIL  {}   {name}   commit {}", violation.oracle, commit.unwrap_or("unknown"))?;
        write!(err, "   at {}.{:03} s", at / 1_000, at % 1_000)?;
        match violation.worker {
            Some(worker) => writeln!(err, "   worker {worker}")?,
            None => writeln!(err)?,
        }
        writeln!(err, "      {}", violation.what)?;
    }
    if let Some(pending) = &trial.outcome.pending {
        writeln!(err, "  pending     {pending}")?;
    }
    writeln!(err, "  reproduce   downbeat-sim run {again}")?;
    writeln!(err, "  minimal     downbeat-sim shrink {again} --out minimal.json")?;
    match timeline {
        Some(path) => writeln!(err, "  timeline    {path}"),
        None => writeln!(err, "  timeline    downbeat-sim run {again} --html run.html"),
    }
}

/// How long processors have worked for this process, all its threads together, to 10 ms, as the system tells it.
/// `None` where it does not. A busy machine does not lengthen it, as it does the time on the wall.
#[must_use]
pub fn processor_time() -> Option<Duration> {
    // Ticks of a hundredth of a second, fields 14 and 15; the second one is the name in brackets.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(10 * (user + system)))
}

/// The most memory that this process has had, as the system tells it.
#[must_use]
pub fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |kib| kib.trim().to_owned())
}
