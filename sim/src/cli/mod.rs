//! The command line of `downbeat-sim`: one file per subcommand.

mod check;
mod conform;
mod explain;
mod failure;
mod mutants;
mod origin;
mod output;
mod replay;
mod run;
mod scenario;
#[cfg(feature = "serve")]
mod serve;
mod shrink;
mod source;
mod step;
mod swarm;
mod table;
mod values;
mod view;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::FAIL;

/// Model server and simulator of Downbeat, the worker runtime for Conductor.
#[derive(Parser)]
#[command(version, name = "downbeat-sim", after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  downbeat-sim serve --listen 127.0.0.1:8080
  downbeat-sim run --seed 4711 --html run.html
  downbeat-sim swarm --for 60s
  downbeat-sim shrink --seed 4711 --out small.json
  downbeat-sim mutants
  downbeat-sim conform tests/vectors/ruby-traces.json
  downbeat-sim scenario check my-fleet.toml
  downbeat-sim scenario generate --seed 7 --profile stormy > storm.toml

Exit codes: 0 passed, 1 a check failed, 2 usage or a file that cannot be used, 10 a rule of safety is broken,
11 a rule of liveness, 12 not deterministic, 13 a probe was never hit.";

#[derive(Subcommand)]
enum Command {
    /// Run one scenario under all oracles.
    #[command(
        after_help = "Examples:\n  downbeat-sim run --seed 4711 --html run.html\n  downbeat-sim run --scenario my-fleet.toml --trace run.txt --csv run.csv\n  downbeat-sim run --seed 4 --profile radioactive --mutant GivesUp\n\nA failing run leaves a small scenario and a page in target/sim; docs/simulator.md explains its report."
    )]
    Run(run::Args),
    /// Run many seeds, until one breaks a rule.
    #[command(
        after_help = "Examples:\n  downbeat-sim swarm --seeds 10000 --start 1 -j 2\n  downbeat-sim swarm --for 60s --probes\n  downbeat-sim swarm --seeds 500 --mutant GivesUp --keep-going --json"
    )]
    Swarm(swarm::Args),
    /// Make a failing scenario small: the same rule broken, by fewer faults, tasks and workers.
    #[command(
        after_help = "Examples:\n  downbeat-sim shrink --seed 4711 --out small.json\n  downbeat-sim shrink --scenario my-fleet.toml --out small.toml"
    )]
    Shrink(shrink::Args),
    /// Run one scenario twice and compare.
    #[command(after_help = "Examples:\n  downbeat-sim check --seed 4711")]
    Check(check::Args),
    /// What Downbeat's rules and the Ruby SDK's do to a server in trouble, as a table.
    #[command(after_help = "Examples:\n  downbeat-sim table")]
    Table(table::Args),
    /// Let the oracles catch every known mistake.
    #[command(
        after_help = "Examples:\n  downbeat-sim mutants\n  downbeat-sim mutants --json --out mutants.json"
    )]
    Mutants(mutants::Args),
    /// Run traces of the original Ruby class through the machine; prints `N passed, N failed`.
    #[command(after_help = "Examples:\n  downbeat-sim conform tests/vectors/ruby-traces.json")]
    Conform(conform::Args),
    /// Tell the core a record's inputs again: does it give the same answers, and is a rule broken?
    #[command(after_help = "Examples:\n  downbeat-sim replay run.jsonl")]
    Replay(replay::Args),
    /// Tell the story of one task, or of one entry, in sentences.
    #[command(
        after_help = "Examples:\n  downbeat-sim explain --scenario my-fleet.toml --task '#3'\n  downbeat-sim explain --record run.jsonl --task 3b7b1f6e"
    )]
    Explain(explain::Args),
    /// Step through a run: forwards, backwards, to a condition, with a look into every machine.
    #[command(
        after_help = "Examples:\n  downbeat-sim step --scenario my-fleet.toml --at 60s\n  downbeat-sim step --seed 4711 < commands.txt"
    )]
    Step(step::Args),
    /// Convert a run into text, a trace, a page or a table.
    #[command(
        after_help = "Examples:\n  downbeat-sim view --record run.jsonl --as html --out run.html\n  downbeat-sim view --seed 4711 --as text | less"
    )]
    View(view::Args),
    /// Check, generate or describe scenario files.
    #[command(
        after_help = "Examples:\n  downbeat-sim scenario check my-fleet.toml\n  downbeat-sim scenario generate --seed 7 --profile stormy > storm.toml"
    )]
    Scenario(scenario::Args),
    /// Serve the model server over HTTP: a development server, with faults to order at /control.
    #[command(after_help = "Examples:\n  downbeat-sim serve --listen 127.0.0.1:8080")]
    #[cfg(feature = "serve")]
    Serve(serve::Args),
}

/// Parses the command line and runs what it says.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    let mut err = io::stderr().lock();
    let code = match args.command {
        Command::Run(args) => run::run(&args, &mut out, &mut err),
        Command::Swarm(args) => swarm::run(&args, &mut out, &mut err),
        Command::Shrink(args) => shrink::run(&args, &mut out, &mut err),
        Command::Check(args) => check::run(&args, &mut out, &mut err),
        Command::Table(args) => table::run(&args, &mut out, &mut err),
        Command::Mutants(args) => mutants::run(&args, &mut out, &mut err),
        Command::Conform(args) => conform::run(&args, &mut out, &mut err),
        Command::Replay(args) => replay::run(&args, &mut out, &mut err),
        Command::Explain(args) => explain::run(&args, &mut out, &mut err),
        Command::Step(args) => step::run(&args, &mut out, &mut err),
        Command::View(args) => view::run(&args, &mut out, &mut err),
        Command::Scenario(args) => scenario::run(&args, &mut out, &mut err),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, &mut out, &mut err),
    };
    match code.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // Whoever read the output has gone; that is not our failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it; the exit code says it all the same.
            let _ = writeln!(err, "downbeat-sim: standard output cannot be written: {error}");
            ExitCode::from(FAIL)
        }
    }
}
