//! `shrink`: a failing scenario made small.

use std::io::{self, Write};
use std::path::PathBuf;

use super::origin::Origin;
use super::output::{FAIL, PASS, USAGE};
use super::values;
use crate::scenario::{Scenario, to_json, to_toml};
use crate::shrink::{self, broken};

/// Arguments of `shrink`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    origin: Origin,
    /// Where the small scenario goes: TOML, or JSON if the name ends in .json.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How many runs it may take.
    #[arg(long, value_name = "N", default_value = "2000", value_parser = values::count)]
    runs: u64,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let scenario = match args.origin.scenario() {
        Ok(scenario) => scenario,
        Err(message) => {
            writeln!(err, "{message}")?;
            return Ok(USAGE);
        }
    };
    let broken = |scenario: &Scenario| broken(args.origin.machines(), scenario);
    let Some(shrunk) = shrink::shrink(&scenario, &broken, &|runs| u64::from(runs) < args.runs) else {
        writeln!(out, "{}: no rule is broken, so there is nothing to shrink", args.origin.name())?;
        return Ok(PASS);
    };
    let json = args.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let text = if json {
        to_json(&shrunk.scenario).map_err(|error| error.to_string())
    } else {
        to_toml(&shrunk.scenario).map_err(|error| error.to_string())
    };
    let written = text.and_then(|text| std::fs::write(&args.out, text).map_err(|error| error.to_string()));
    if let Err(error) = written {
        writeln!(err, "downbeat-sim: {} cannot be written: {error}", args.out.display())?;
        return Ok(FAIL);
    }
    writeln!(
        out,
        "{}: {} faults, {} tasks, {} workers to {} faults, {} tasks, {} workers in {} runs; {}",
        shrunk.oracle,
        scenario.faults.len(),
        tasks(&scenario),
        workers(&scenario),
        shrunk.scenario.faults.len(),
        tasks(&shrunk.scenario),
        workers(&shrunk.scenario),
        shrunk.runs,
        args.out.display()
    )?;
    Ok(PASS)
}

fn tasks(scenario: &Scenario) -> u64 {
    scenario.tasks.iter().map(|tasks| tasks.arrive.count()).sum()
}

fn workers(scenario: &Scenario) -> u32 {
    scenario.workers.iter().map(|group| group.count).sum()
}
