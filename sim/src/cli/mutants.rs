//! `mutants`: every known mistake must be caught.

use std::io::{self, Write};

use super::{FAIL, PASS};
use crate::canary::{self, DOCTORINGS};
use crate::mutants;

/// Arguments of `mutants`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Print what the oracle said of each.
    #[arg(long)]
    words: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let scenarios = match mutants::scenarios() {
        Ok(scenarios) => scenarios,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(FAIL);
        }
    };
    writeln!(out, "{:<26} {:<28} {:<18} tried", "mistake", "caught by", "scenario")?;
    let mut result = Ok(());
    let caught = mutants::hunt_all(&scenarios, |caught| {
        let (by, what) = caught.by.as_ref().map_or(("SURVIVES", ""), |(by, what)| (*by, what.as_str()));
        let line = writeln!(out, "{:<26} {by:<28} {:<18} {}", caught.mutant, caught.scenario, caught.tried);
        let words = if args.words { writeln!(out, "    {what}") } else { Ok(()) };
        result = std::mem::replace(&mut result, Ok(())).and(line).and(words).and_then(|()| out.flush());
    });
    result?;
    let mut survivors: Vec<&str> =
        caught.iter().filter(|caught| caught.by.is_none()).map(|caught| caught.mutant).collect();
    for (way, name) in DOCTORINGS.iter().enumerate() {
        match canary::sing(way) {
            Some(violation) => {
                writeln!(out, "canary: {name:<18} {:<28} a doctored record", violation.oracle)?
            }
            None => survivors.push(name),
        }
    }
    let (all, left) = (caught.len() + DOCTORINGS.len(), survivors.len());
    writeln!(out, "{} of {all} caught", all - left)?;
    if survivors.is_empty() {
        return Ok(PASS);
    }
    writeln!(err, "FAIL  nobody catches {}: a scenario is missing", survivors.join(", "))?;
    Ok(FAIL)
}
