//! `replay`: a record through the core and the oracles.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::output::{PASS, USAGE, print_json};
use crate::record::{self, Record};
use crate::replay::{self, Answered, Divergence, Replay};
use crate::view::words;

/// A rule of safety is broken.
const SAFETY: u8 = 10;
/// A rule of liveness is broken.
const LIVENESS: u8 = 11;
/// The core answers something else than the record says.
const DIVERGENCE: u8 = super::output::NONDETERMINISM;

/// Arguments of `replay`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The record, of the simulator or of `downbeat run --record`.
    record: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let record = match record::read(&args.record) {
        Ok(record) => record,
        Err(error) => {
            writeln!(err, "downbeat-sim: {error}")?;
            return Ok(USAGE);
        }
    };
    if record.is_old() {
        let name = &record.name;
        writeln!(
            err,
            "downbeat-sim: {name} is a record of an older version: the machine's rules have changed since, so its answers say nothing of this core; `view` and `explain` read it"
        )?;
        return Ok(USAGE);
    }
    let replay = replay::replay(&record);
    let code = exit_code(&replay);
    if args.json {
        print_json(out, &told(&record, &replay, code))?;
    } else {
        report(&record, &replay, out)?;
    }
    out.flush()?;
    let mut trouble = trouble(&record, &replay);
    trouble.sort_by_key(|(line, _)| *line);
    for (_, text) in &trouble {
        writeln!(err, "{text}")?;
    }
    Ok(code)
}

/// All that is wrong, with the lines.
fn trouble(record: &Record, replay: &Replay) -> Vec<(usize, String)> {
    let place = |line: usize| format!("{}:{line}", record.name);
    let mut all = Vec::new();
    if let Some(found) = &replay.divergence {
        all.push((found.line, diverged(&place(found.line), found)));
    }
    for broken in &replay.judgement.broken {
        all.push((broken.line, format!("FAIL      {} {}", place(broken.line), broken.violation)));
    }
    for (word, misfit) in [("CONTRACT", &replay.contract), ("DIFFERS ", &replay.rerun)] {
        all.extend(misfit.as_ref().map(|it| (it.line, format!("{word}  {} {}", place(it.line), it.what))));
    }
    all
}

fn exit_code(replay: &Replay) -> u8 {
    let broken = &replay.judgement.broken;
    if broken.iter().any(|broken| !broken.violation.is_liveness()) {
        SAFETY
    } else if !broken.is_empty() {
        LIVENESS
    } else if replay.divergence.is_some() || replay.contract.is_some() || replay.rerun.is_some() {
        DIVERGENCE
    } else {
        PASS
    }
}

/// What became of a replay, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    record: &'a str,
    exit_code: u8,
    steps: u64,
    untried: u64,
    dropped: u64,
    segments: u32,
    truncated: bool,
    judged_rules: usize,
    not_judged: &'a [&'static str],
    because: &'a [String],
    /// Each broken rule once, in the order of the lines.
    violations: Vec<Broken<'a>>,
    divergence: Option<Diverged>,
    contract: Option<Misfit<'a>>,
    differs: Option<Misfit<'a>>,
}

#[derive(Serialize)]
struct Broken<'a> {
    line: usize,
    oracle: &'static str,
    at_us: u64,
    worker: Option<u32>,
    what: &'a str,
}

/// A line that no driver writes, or that the scenario's run does not have.
#[derive(Serialize)]
struct Misfit<'a> {
    line: usize,
    what: &'a str,
}

#[derive(Serialize)]
struct Diverged {
    line: usize,
    at_us: u64,
    worker: Option<u32>,
    told: String,
    recorded: String,
    core: String,
}

fn told<'a>(record: &'a Record, replay: &'a Replay, exit_code: u8) -> Told<'a> {
    let judgement = &replay.judgement;
    Told {
        record: &record.name,
        exit_code,
        steps: replay.steps,
        untried: replay.untried,
        dropped: replay.dropped,
        segments: replay.segments,
        truncated: record.truncated,
        judged_rules: judgement.judges,
        not_judged: &judgement.skipped,
        because: &judgement.reasons,
        violations: judgement.broken.iter().map(told_of).collect(),
        divergence: replay.divergence.as_ref().map(|found| Diverged {
            line: found.line,
            at_us: found.at.as_micros(),
            worker: found.worker,
            told: words::input(&found.input),
            recorded: answered(&found.recorded),
            core: answered(&found.core),
        }),
        contract: misfit(replay.contract.as_ref()),
        differs: misfit(replay.rerun.as_ref()),
    }
}

fn told_of(broken: &replay::Broken) -> Broken<'_> {
    let violation = &broken.violation;
    Broken {
        line: broken.line,
        oracle: violation.oracle,
        at_us: violation.at.as_micros(),
        worker: violation.worker,
        what: &violation.what,
    }
}

fn misfit(found: Option<&replay::Misfit>) -> Option<Misfit<'_>> {
    found.map(|found| Misfit { line: found.line, what: &found.what })
}

fn report(record: &Record, replay: &Replay, out: &mut dyn Write) -> io::Result<()> {
    if record.truncated {
        let line = record.entries.last().map_or(0, |entry| entry.number) + 1;
        writeln!(
            out,
            "note: line {line}, the last, is cut off (the writer was stopped while it wrote) and left out"
        )?;
    }
    if replay.dropped > 0 {
        writeln!(
            out,
            "note: {} steps were dropped by the writer, {} could not be tried: a segment begins anew after a gap",
            replay.dropped, replay.untried
        )?;
    }
    let segments = if replay.segments == 1 { "segment" } else { "segments" };
    writeln!(out, "{} steps of {} {segments} replayed", replay.steps, replay.segments)?;
    let judgement = &replay.judgement;
    writeln!(out, "judged by {} rules", judgement.judges)?;
    if !judgement.skipped.is_empty() {
        writeln!(out, "not judged: {}", judgement.skipped.join(", "))?;
    }
    for reason in &judgement.reasons {
        writeln!(out, "  because {reason}")?;
    }
    if exit_code(replay) == PASS {
        writeln!(out, "{}", in_words(replay))?;
    }
    Ok(())
}

/// Claims no more than was checked.
fn in_words(replay: &Replay) -> String {
    let answers = match (replay.steps, replay.untried) {
        (0, _) => "no answer was tried".to_owned(),
        (_, 0) => "the core gives every recorded answer again".to_owned(),
        (tried, untried) => {
            format!("the core gives {tried} recorded answers again; {untried} were not tried")
        }
    };
    let rules = if replay.judgement.judges > 0 { "no rule is broken" } else { "no rule was judged" };
    format!("{answers}, and {rules}")
}

fn diverged(place: &str, found: &Divergence) -> String {
    let who = found.worker.map_or_else(|| "the hub".to_owned(), |worker| format!("worker {worker}"));
    format!(
        "DIVERGES  {place} at {} {who}\n      told       {}\n      recorded   {}\n      core       {}",
        words::time(found.at),
        words::input(&found.input),
        answered(&found.recorded),
        answered(&found.core)
    )
}

fn answered(answered: &Answered) -> String {
    match answered {
        Answered::Machine(action) => words::action(action),
        Answered::Hub(to, action) => words::hub_action(*to, action),
        Answered::Nothing => "nothing: no machine runs there".to_owned(),
    }
}
