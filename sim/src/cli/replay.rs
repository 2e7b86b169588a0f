//! `replay`: a record through the core and the oracles.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{PASS, USAGE, print_json};
use crate::record::{self, Record};
use crate::replay::{self, Answered, Divergence, Replay};
use crate::view::words;

/// A rule of safety is broken.
const SAFETY: u8 = 10;
/// A rule of liveness is broken.
const LIVENESS: u8 = 11;
/// The core answers something else than the record says.
const DIVERGENCE: u8 = super::NONDETERMINISM;

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
    let replay = replay::replay(&record);
    let code = exit_code(&replay);
    if args.json {
        print_json(out, &told(&record, &replay, code))?;
    } else {
        report(&record, &replay, out)?;
    }
    out.flush()?;
    if let Some(broken) = &replay.verdict.violation {
        writeln!(err, "FAIL  {broken}")?;
    }
    if let Some(divergence) = &replay.divergence {
        diverged(&record, divergence, err)?;
    }
    Ok(code)
}

fn exit_code(replay: &Replay) -> u8 {
    match (&replay.verdict.violation, replay.divergence) {
        (Some(broken), _) if broken.is_liveness() => LIVENESS,
        (Some(_), _) => SAFETY,
        (None, Some(_)) => DIVERGENCE,
        (None, None) => PASS,
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
    violation: Option<Broken<'a>>,
    divergence: Option<Diverged>,
}

#[derive(Serialize)]
struct Broken<'a> {
    oracle: &'static str,
    at_us: u64,
    worker: Option<u32>,
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
    let verdict = &replay.verdict;
    Told {
        record: &record.name,
        exit_code,
        steps: replay.steps,
        untried: replay.untried,
        dropped: replay.dropped,
        segments: replay.segments,
        truncated: record.truncated,
        judged_rules: verdict.judges,
        not_judged: &verdict.skipped,
        because: &verdict.reasons,
        violation: verdict.violation.as_ref().map(|broken| Broken {
            oracle: broken.oracle,
            at_us: broken.at.as_micros(),
            worker: broken.worker,
            what: &broken.what,
        }),
        divergence: replay.divergence.as_ref().map(|found| Diverged {
            line: found.line,
            at_us: found.at.as_micros(),
            worker: found.worker,
            told: words::input(&found.input),
            recorded: answered(&found.recorded),
            core: answered(&found.core),
        }),
    }
}

fn report(record: &Record, replay: &Replay, out: &mut dyn Write) -> io::Result<()> {
    if record.truncated {
        writeln!(out, "note: the last line is cut off (the writer was stopped while it wrote) and left out")?;
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
    let verdict = &replay.verdict;
    writeln!(out, "judged by {} rules", verdict.judges)?;
    if !verdict.skipped.is_empty() {
        writeln!(out, "not judged: {}", verdict.skipped.join(", "))?;
    }
    for reason in &verdict.reasons {
        writeln!(out, "  because {reason}")?;
    }
    if exit_code(replay) == PASS {
        let rules = if verdict.judges > 0 { ", and no rule is broken" } else { "" };
        writeln!(out, "the core gives every recorded answer again{rules}")?;
    }
    Ok(())
}

fn diverged(record: &Record, found: &Divergence, err: &mut dyn Write) -> io::Result<()> {
    let who = found.worker.map_or_else(|| "the hub".to_owned(), |worker| format!("worker {worker}"));
    writeln!(err, "DIVERGES  {}:{} at {} {who}", record.name, found.line, words::time(found.at))?;
    writeln!(err, "      told       {}", words::input(&found.input))?;
    writeln!(err, "      recorded   {}", answered(&found.recorded))?;
    writeln!(err, "      core       {}", answered(&found.core))
}

fn answered(answered: &Answered) -> String {
    match answered {
        Answered::Machine(action) => words::action(action),
        Answered::Hub(to, action) => words::hub_action(*to, action),
        Answered::Nothing => "nothing: no machine runs there".to_owned(),
    }
}
