//! `run`: one scenario under all oracles.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use downbeat_core::machine::Sound;

use serde::Serialize;

use super::failure::{AfterFailure, Failed};
use super::origin::Origin;
use super::output::{FAIL, PASS, USAGE, print_json};
use crate::event::Watcher;
use crate::record::{Record, Recorder};
use crate::report::{self, Failure};
use crate::scenario::Scenario;
use crate::trial::{self, Trial};
use crate::view::{self, View};

/// Arguments of `run`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    origin: Origin,
    #[command(flatten)]
    failure: AfterFailure,
    /// Write the record of the run (JSON Lines).
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write a page that opens offline.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a trace for ui.perfetto.dev.
    #[arg(long, value_name = "FILE")]
    perfetto: Option<PathBuf>,
    /// Write counters.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a line of text for each step.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Judge nothing and compare no clones: to measure the simulator itself.
    #[arg(long, conflicts_with_all = ["record", "html", "perfetto", "csv", "trace", "mutant"])]
    unjudged: bool,
    /// Print what the run took of processor and memory.
    #[arg(long)]
    measure: bool,
    /// Print JSON.
    #[arg(long, conflicts_with_all = ["measure", "unjudged"])]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let scenario = match args.origin.scenario() {
        Ok(scenario) => scenario,
        Err(message) => {
            writeln!(err, "{message}")?;
            return Ok(USAGE);
        }
    };
    if args.unjudged {
        let outcome = trial::run_unjudged::<Sound>(&scenario, &mut []);
        writeln!(out, "{}", report::summary(&scenario, &outcome))?;
        measured(out)?;
        return Ok(PASS);
    }
    let views = [
        (&args.html, View::Html),
        (&args.perfetto, View::Perfetto),
        (&args.csv, View::Csv),
        (&args.trace, View::Text),
    ];
    let wanted = args.record.is_some() || views.iter().any(|(path, _)| path.is_some());
    let mut recorder = wanted.then(|| Recorder::new(Vec::new(), &scenario));
    let mut watchers: Vec<&mut dyn Watcher> = Vec::new();
    if let Some(recorder) = &mut recorder {
        watchers.push(recorder);
    }
    let trial = args.origin.machines().run(&scenario, &mut watchers);
    if let Some(mut recorder) = recorder {
        if let Some(violation) = &trial.violation {
            recorder.violation(violation);
        }
        let bytes = recorder.finish()?;
        if let Err(message) = keep(&bytes, args.record.as_deref(), &views) {
            writeln!(err, "downbeat-sim: {message}")?;
            return Ok(FAIL);
        }
    }
    if !args.json {
        writeln!(out, "{}", report::summary(&scenario, &trial.outcome))?;
    }
    if args.measure {
        measured(out)?;
    }
    end(args, &scenario, &trial, out, err)
}

/// What came of a run, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    scenario: &'a str,
    workers: u64,
    virtual_us: u64,
    steps: u64,
    events: u64,
    passed: bool,
    exit_code: u8,
    failure: Option<Failure>,
}

/// The verdict, with a small scenario and a page if it is a failure.
fn end(
    args: &Args,
    scenario: &Scenario,
    trial: &Trial,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let failed = Failed {
        scenario,
        machines: args.origin.machines(),
        trial,
        run: args.origin.name(),
        rerun: args.origin.rerun(),
        stem: args.origin.stem(),
    };
    let failure = failed.examined(&args.failure, args.html.as_deref());
    if let Some(failure) = &failure {
        out.flush()?;
        writeln!(err, "{failure}")?;
    } else if !args.json {
        writeln!(out, "no rule is broken")?;
    }
    let exit_code = trial.exit_code();
    if args.json {
        let told = Told {
            scenario: &scenario.name,
            workers: scenario.workers.iter().map(|group| u64::from(group.count)).sum(),
            virtual_us: trial.outcome.at.as_micros(),
            steps: trial.outcome.steps,
            events: trial.outcome.events,
            passed: exit_code == PASS,
            exit_code,
            failure,
        };
        print_json(out, &told)?;
    }
    Ok(exit_code)
}

/// Says what the run took.
fn measured(out: &mut dyn Write) -> io::Result<()> {
    if let Some(time) = report::processor_time() {
        writeln!(out, "processor time {:.2} s", time.as_secs_f64())?;
    }
    writeln!(out, "peak memory {}", report::peak_memory())
}

/// Writes the record and its views.
fn keep(bytes: &[u8], record: Option<&Path>, views: &[(&Option<PathBuf>, View)]) -> Result<(), String> {
    let cannot =
        |path: &Path, error: &dyn std::fmt::Display| format!("{} cannot be written: {error}", path.display());
    if let Some(path) = record {
        std::fs::write(path, bytes).map_err(|error| cannot(path, &error))?;
    }
    for (path, view) in views {
        let Some(path) = path else { continue };
        let record = Record::from_lines("the run".to_owned(), bytes).map_err(|error| error.to_string())?;
        let file = File::create(path).map_err(|error| cannot(path, &error))?;
        let mut file = BufWriter::new(file);
        let written = view::write(&record, *view, &mut file).and_then(|()| file.flush());
        written.map_err(|error| cannot(path, &error))?;
    }
    Ok(())
}
