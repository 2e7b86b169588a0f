//! `conform`: traces of the Ruby class, call by call.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::output::{FAIL, PASS, USAGE};
use crate::conform;

/// Arguments of `conform`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A file of cases, as tests/vectors/README.md describes them.
    file: PathBuf,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let name = args.file.display();
    let text = match fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => {
            writeln!(err, "downbeat-sim: {name} cannot be read: {error}")?;
            return Ok(USAGE);
        }
    };
    let cases = match conform::parse(&text) {
        Ok(cases) => cases,
        Err(error) => {
            writeln!(err, "downbeat-sim: {name}:{}: not a list of cases: {error}", error.line())?;
            return Ok(USAGE);
        }
    };
    let (mut passed, mut failed) = (0_u32, 0_u32);
    for case in &cases {
        match conform::check(case) {
            Ok(()) => passed += 1,
            Err(divergence) => {
                failed += 1;
                writeln!(out, "FAIL {}: {divergence}", case.name)?;
            }
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 { PASS } else { FAIL })
}
