//! `step`: a debugger for a run. It reads commands from standard input.

use std::io::{self, IsTerminal, Write};

use downbeat_core::machine::Instant;

use super::output::{PASS, USAGE};
use super::source::Source;
use crate::scenario::Span;
use crate::step::Stepper;

/// Arguments of `step`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Begin after this line of the record.
    #[arg(long, value_name = "EVENT", conflicts_with = "at")]
    to: Option<usize>,
    /// Begin at this time: 16.059s, 2m.
    #[arg(long, value_name = "TIME")]
    at: Option<Span>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let record = match args.source.record() {
        Ok(record) => record,
        Err(message) => {
            writeln!(err, "downbeat-sim: {message}")?;
            return Ok(USAGE);
        }
    };
    let mut stepper = Stepper::new(&record);
    if let Some(number) = args.to {
        stepper.go_to(number);
    }
    if let Some(at) = args.at {
        stepper.go_to_time(Instant::ZERO.saturating_add(at.get()));
    }
    let input = io::stdin();
    let echo = !input.is_terminal();
    stepper.talk(&mut input.lock(), out, echo)?;
    Ok(PASS)
}
