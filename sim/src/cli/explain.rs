//! `explain`: the story of one task, or of one entry.

use std::io::{self, Write};

use super::output::{PASS, USAGE};
use super::source::Source;
use crate::explain::{Whose, explain};

/// Arguments of `explain`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The task: its id, the first digits of it, or #3 for the third that the run tells of.
    #[arg(long, value_name = "ID", required_unless_present = "entry", conflicts_with = "entry")]
    task: Option<String>,
    /// An entry instead of a task: 2.0 is entry 0 of worker 2.
    #[arg(long, alias = "slot", value_name = "W.E", value_parser = entry)]
    entry: Option<(u32, u16)>,
}

fn entry(text: &str) -> Result<(u32, u16), String> {
    let wrong = || format!("`{text}` is not WORKER.ENTRY, such as 2.0");
    let (worker, entry) = text.split_once('.').ok_or_else(wrong)?;
    Ok((worker.parse().map_err(|_| wrong())?, entry.parse().map_err(|_| wrong())?))
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let whose = match (&args.task, args.entry) {
        (_, Some((worker, entry))) => Whose::Entry(worker, entry),
        (task, None) => Whose::Task(task.clone().unwrap_or_default()),
    };
    let record = args.source.record();
    let story = record.and_then(|record| explain(&record, &whose).map_err(|error| error.to_string()));
    match story {
        Ok(story) => {
            write!(out, "{story}")?;
            Ok(PASS)
        }
        Err(message) => {
            writeln!(err, "downbeat-sim: {message}")?;
            Ok(USAGE)
        }
    }
}
