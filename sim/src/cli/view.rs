//! `view`: a run, converted into something that people look at.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::output::{FAIL, PASS, USAGE};
use super::source::Source;
use crate::view::{self, View};

/// Arguments of `view`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// What to make of it.
    #[arg(long = "as", value_enum, default_value = "text")]
    view: View,
    /// Write to this file rather than to standard output.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let record = match args.source.record() {
        Ok(record) => record,
        Err(message) => {
            writeln!(err, "downbeat-sim: {message}")?;
            return Ok(USAGE);
        }
    };
    if record.truncated {
        writeln!(err, "{}: the last line is cut off and left out", record.name)?;
    }
    let Some(path) = &args.out else {
        view::write(&record, args.view, &mut BufWriter::new(out))?;
        return Ok(PASS);
    };
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        view::write(&record, args.view, &mut file)?;
        file.flush()
    });
    match written {
        Ok(()) => Ok(PASS),
        Err(error) => {
            writeln!(err, "downbeat-sim: {} cannot be written: {error}", path.display())?;
            Ok(FAIL)
        }
    }
}
