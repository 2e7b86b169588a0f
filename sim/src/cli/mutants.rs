//! `mutants`: every known mistake must be caught.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::output::{FAIL, PASS, print_json};
use crate::mutants::{self, Caught};
use crate::tampered::{self, TAMPERINGS};

/// Arguments of `mutants`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Print what the oracle said of each.
    #[arg(long, conflicts_with = "json")]
    words: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write the JSON to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Who catches which mistake, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    caught: usize,
    of: usize,
    mutants: Vec<Mistake<'a>>,
    tampered_records: Vec<Tampered>,
}

#[derive(Serialize)]
struct Mistake<'a> {
    mutant: &'a str,
    /// `None`: it survives.
    caught_by: Option<&'a str>,
    what: Option<&'a str>,
    scenario: &'a str,
    tried: usize,
}

#[derive(Serialize)]
struct Tampered {
    tampered: &'static str,
    caught_by: Option<&'static str>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let scenarios = match mutants::scenarios() {
        Ok(scenarios) => scenarios,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(FAIL);
        }
    };
    if !args.json {
        writeln!(out, "{:<26} {:<28} {:<18} tried", "mistake", "caught by", "scenario")?;
    }
    let mut result = Ok(());
    let caught = mutants::hunt_all(&scenarios, |caught| {
        if !args.json && result.is_ok() {
            result = tell(caught, args.words, out);
        }
    });
    result?;
    let records: Vec<Tampered> = TAMPERINGS
        .iter()
        .enumerate()
        .map(|(way, name)| Tampered { tampered: name, caught_by: tampered::caught(way).map(|it| it.oracle) })
        .collect();
    let survivors: Vec<&str> = caught
        .iter()
        .filter(|caught| caught.by.is_none())
        .map(|caught| caught.mutant)
        .chain(records.iter().filter(|record| record.caught_by.is_none()).map(|record| record.tampered))
        .collect();
    let all = caught.len() + records.len();
    let mutants = caught.iter().map(|caught| Mistake {
        mutant: caught.mutant,
        caught_by: caught.by.as_ref().map(|(by, _)| *by),
        what: caught.by.as_ref().map(|(_, what)| what.as_str()),
        scenario: &caught.scenario,
        tried: caught.tried,
    });
    let told = Told {
        caught: all - survivors.len(),
        of: all,
        mutants: mutants.collect(),
        tampered_records: records,
    };
    if let Some(file) = &args.out {
        let written = serde_json::to_vec_pretty(&told).map_err(io::Error::other);
        if let Err(error) = written.and_then(|text| fs::write(file, text)) {
            writeln!(err, "downbeat-sim: {} cannot be written: {error}", file.display())?;
            return Ok(FAIL);
        }
    }
    if args.json {
        print_json(out, &told)?;
    } else {
        for Tampered { tampered, caught_by } in &told.tampered_records {
            let by = caught_by.unwrap_or("SURVIVES");
            writeln!(out, "tampered: {tampered:<18} {by:<28} a tampered record")?;
        }
        writeln!(out, "{} of {all} caught", told.caught)?;
    }
    if survivors.is_empty() {
        return Ok(PASS);
    }
    out.flush()?;
    writeln!(err, "FAIL  nobody catches {}: a scenario is missing", survivors.join(", "))?;
    Ok(FAIL)
}

fn tell(caught: &Caught, words: bool, out: &mut dyn Write) -> io::Result<()> {
    let (by, what) = caught.by.as_ref().map_or(("SURVIVES", ""), |(by, what)| (*by, what.as_str()));
    writeln!(out, "{:<26} {by:<28} {:<18} {}", caught.mutant, caught.scenario, caught.tried)?;
    if words {
        writeln!(out, "    {what}")?;
    }
    out.flush()
}
