//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{check, demo, dev, logs, output, run, store};

/// Runs Conductor task workers: any executable becomes a worker that loses no result.
#[derive(Parser)]
#[command(name = "downbeat", version, after_help = EXAMPLES, max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    logs: logs::Args,
}

const EXAMPLES: &str = "\
Examples:
  downbeat demo
  downbeat dev
  downbeat run --server http://localhost:8080/api --task resize --slots 4 -- python3 resize.py
  downbeat run --config downbeat.toml

Environment:
  CONDUCTOR_SERVER_URL, CONDUCTOR_AUTH_KEY, CONDUCTOR_AUTH_SECRET, CONDUCTOR_TLS_CA_PATH,
  CONDUCTOR_WORKER_<TASK>_<PROPERTY>, CONDUCTOR_WORKER_ALL_<PROPERTY>, RUST_LOG, NO_COLOR,
  SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY

Exit codes:
  0  ended well
  1  failed
  2  the command line or the configuration cannot be used";

#[derive(Subcommand)]
enum Command {
    /// Make commands workers, and run them until SIGTERM or Ctrl-C.
    Run(Box<run::Args>),
    /// Run a development server on loopback, with an example workflow, until Ctrl-C.
    Dev(dev::Args),
    /// See workers at work: development server, workers and a stream of tasks in one process.
    Demo(demo::Args),
    /// Check a configuration file without running anything.
    Check(check::CheckArgs),
    /// Show every setting of a run, and what set it.
    Explain(check::ExplainArgs),
    /// See to the results that the server has not taken: list, show, retry, export or drop them.
    Store(store::Args),
    /// Write a completion script for a shell to standard output.
    #[command(
        after_help = "Example:\n  downbeat completions bash > ~/.local/share/bash-completion/completions/downbeat"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page to standard output.
    #[command(after_help = "Example:\n  downbeat man > downbeat.1")]
    Man,
}

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let Args { command, logs } = Args::parse();
    ExitCode::from(match command {
        Command::Run(args) => run::run(*args, &logs),
        Command::Dev(args) => dev::run(&args, &logs),
        Command::Demo(args) => demo::run(&args, &logs),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => check::explain(&args),
        Command::Store(args) => store::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "downbeat", &mut script);
            output::out(&String::from_utf8_lossy(&script));
            output::DONE
        }
        Command::Man => man(),
    })
}

/// One page: the program and, below it, each of its commands, and theirs.
fn man() -> u8 {
    let mut page = Vec::new();
    let mut command = Args::command();
    command.build();
    let mut written = clap_mangen::Man::new(command.clone()).render(&mut page);
    let below = |sub: &clap::Command| {
        let own = sub.get_subcommands().filter(|own| own.get_name() != "help").cloned();
        std::iter::once(sub.clone()).chain(own).collect::<Vec<_>>()
    };
    for sub in command.get_subcommands().flat_map(below) {
        written = written.and_then(|()| {
            let man = clap_mangen::Man::new(sub);
            man.render_name_section(&mut page)?;
            man.render_synopsis_section(&mut page)?;
            man.render_options_section(&mut page)?;
            man.render_extra_section(&mut page)
        });
    }
    match written {
        Ok(()) => {
            output::out(&String::from_utf8_lossy(&page));
            output::DONE
        }
        Err(error) => {
            output::error(&format!("the manual page could not be written: {error}"));
            output::FAILED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        let mut command = Args::command();
        command.build();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let help = sub.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}: {help}", sub.get_name());
        }
    }
}
