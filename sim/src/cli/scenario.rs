//! `scenario`: what can be done with a scenario file without running it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::output::{FAIL, PASS, USAGE};
use crate::scenario::{self, Profile};

/// Arguments of `scenario`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read a file and name every problem with its line and key.
    Check {
        /// TOML, or JSON if its name ends in .json.
        file: PathBuf,
    },
    /// Print the scenario of a seed.
    Generate {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// How rough it is.
        #[arg(long, value_enum, default_value_t)]
        profile: Profile,
        /// Print JSON rather than TOML.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON schema of scenario files.
    Schema,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match &args.command {
        Command::Check { file } => match scenario::read(file) {
            Ok(_) => {
                writeln!(out, "{}: ok", file.display())?;
                Ok(PASS)
            }
            Err(error) => {
                writeln!(err, "{error}")?;
                Ok(USAGE)
            }
        },
        Command::Generate { seed, profile, json } => {
            let scenario = scenario::generate(*seed, *profile);
            let text = if *json {
                scenario::to_json(&scenario).map_err(|error| error.to_string())
            } else {
                scenario::to_toml(&scenario).map_err(|error| error.to_string())
            };
            match text {
                Ok(text) => {
                    out.write_all(text.as_bytes())?;
                    Ok(PASS)
                }
                Err(error) => {
                    writeln!(err, "downbeat-sim: the scenario cannot be written: {error}")?;
                    Ok(FAIL)
                }
            }
        }
        Command::Schema => {
            out.write_all(scenario::schema().as_bytes())?;
            Ok(PASS)
        }
    }
}
