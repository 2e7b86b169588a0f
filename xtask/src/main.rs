//! What CI runs, and the checks that need more than `cargo test`.
//!
//! `cargo xtask ci` is the whole of CI, the same here and there; `cargo xtask` lists the other commands.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to people")]

mod args;
mod bench_sim;
mod ci;
mod clock;
mod conductor;
mod demo;
mod drill;
mod examples;
mod findings;
mod firmware;
mod kill;
mod packages;
mod page;
mod process;
mod purity;
mod python_client;
mod readme;
mod real_server;
mod scripts;
mod soak;

use std::process::ExitCode;

use args::Args;
use process::Failure;

const HELP: &str = "\
cargo xtask ci [--only STEP]... [--list]     everything CI runs, in order; stops at the first failure
cargo xtask ci --fast                        what one runs before each commit: under three minutes, once built
cargo xtask purity                           core links without std and without an allocator
cargo xtask readme                           every command of README.md and docs/ is one that the binaries take
cargo xtask examples [--simulator BINARY]    each example against `downbeat-sim serve`
cargo xtask firmware [--real] [--workflows N] [--simulator BINARY] [--update-sizes] [--build] [--parts]
                                             the core on a Cortex-M3 under QEMU, against `downbeat-sim serve` with faults;
                                             `--parts`: what each part of it costs in flash and RAM, without a run
cargo xtask bench-sim                        how fast the simulator is: figures of sim/scenarios/bench, and of a swarm
cargo xtask real-server [--backend sqlite|redis|both] [--workflows N] [--downbeat BINARY] [--panicking BINARY]
                                             1,000 workflows of a real Conductor, brought to their expected ends
cargo xtask kill [--workflows N] [--kills N] [--retries N] [--lease SECONDS] [--seed N] [--seeds N] [--json]
                 [--real [--backend sqlite|redis]] [--downbeat BINARY] [--simulator BINARY]
                                             a runner that is killed again and again loses nothing and repeats little;
                                             `--real`: for a real Conductor
cargo xtask soak [--minutes N] [--poison PERCENT] [--rate N] [--downbeat BINARY] [--simulator BINARY]
                                             load for a quarter of an hour, some results refused for ever: memory stays
cargo xtask findings [NAME]...                what other software does on valid input and few would guess, tried anew
cargo xtask conductor [--backend sqlite|redis] [--port N]
                                             a real Conductor to play with, until Ctrl-C
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = words.split_first() else {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    };
    match dispatch(command, &Args::new(rest)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_told() {
                eprintln!("\nxtask {command}: {failure}");
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, args: &Args<'_>) -> Result<(), Failure> {
    match command {
        "ci" => ci::main(args),
        "purity" => args.none().and_then(|()| purity::check()),
        "readme" => args.none().and_then(|()| readme::check()),
        "bench-sim" => args.none().and_then(|()| bench_sim::main()),
        "real-server" => real_server::main(args),
        "conductor" => conductor::main(args),
        "kill" => kill::main(args),
        "soak" => soak::main(args),
        "examples" => examples::main(args),
        "firmware" => firmware::main(args),
        "findings" => findings::main(args),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(Failure::new(format!("there is no such command; there are:\n{HELP}"))),
    }
}
