//! `table`: policies against scenarios.

use std::io::{self, Write};

use super::output::{FAIL, PASS, print_json};
use crate::table;

/// Arguments of `table`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Print JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print a Markdown table.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let rows = match table::rows() {
        Ok(rows) => rows,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(FAIL);
        }
    };
    if args.json {
        print_json(out, &rows)?;
    } else if args.markdown {
        out.write_all(table::markdown(&rows).as_bytes())?;
    } else {
        out.write_all(table::text(&rows).as_bytes())?;
    }
    Ok(PASS)
}
