//! Tasks per second of the library's runner: without a store, with a journal, with a store that is written to late.
//!
//! `cargo bench -p downbeat --bench journal` starts this program a second time as the server, so that the server's CPU
//! does not count, and gives 16 slots a closure that does nothing. Rounds alternate; ratios are of neighbours, and the
//! median counts. The store lies in the target directory, on this machine's disk.
//!
//! `--check` ends with 1 where a bound is broken, `--seconds N` sets the length of a round, `--pairs N` their number;
//! `--no-store` measures the first alone, to compare versions of this program in turns.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and has nobody to answer to"
)]

mod mode;
mod round;
mod server;

use std::process::ExitCode;

use mode::Mode;
use round::Round;
use server::Server;

/// What docs/benchmarks.md promises: tasks per second with a journal for each without a store, and syncs for each task.
const RATIO_MIN: f64 = 0.5;
const SYNCS_MAX: f64 = 0.15;
/// A server that is slower than this would be what is measured.
const SERVER_MIN: f64 = 40_000.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--serve") {
        server::serve();
    }
    let check = arguments.iter().any(|argument| argument == "--check");
    let number = |option: &str, default: u32| {
        let value = arguments.iter().skip_while(|argument| *argument != option).nth(1);
        value.map_or(default, |value| value.parse().unwrap())
    };
    let (pairs, seconds) = (number("--pairs", 5), number("--seconds", 2));

    let server = Server::start();
    let alone = server.requests_per_second();
    println!("the server alone: {alone:.0} requests/s");
    println!("{:<16} {:>8} {:>8} {:>8} {:>11}", "16 slots", "tasks/s", "p50 µs", "p99 µs", "syncs/task");
    let only_first = arguments.iter().any(|argument| argument == "--no-store");
    let modes = if only_first { &Mode::ALL[..1] } else { &Mode::ALL[..] };
    let mut rounds: Vec<Vec<Round>> = Vec::new();
    for _ in 0..pairs {
        let measured = modes.iter().map(|mode| {
            let round = round::run(&server, *mode, seconds);
            println!("{:<16} {round}", mode.name());
            round
        });
        rounds.push(measured.collect());
    }
    println!("\nmedians of {}:", rounds.len());
    for (at, mode) in modes.iter().enumerate() {
        println!("{:<16} {}", mode.name(), Round::median(&rounds, at));
    }
    if only_first || judge(&rounds, alone) || !check { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the ratios, and whether they are within the bounds.
fn judge(rounds: &[Vec<Round>], alone: f64) -> bool {
    let to_first = |at: usize| median(rounds.iter().map(|round| round[at].tasks / round[0].tasks));
    let (finish, off) = (to_first(1), to_first(2));
    println!(
        "ratio of neighbours: journal=finish {finish:.2}, journal=off {off:.2} of the tasks/s without a store"
    );
    let syncs = Round::median(rounds, 1).syncs;
    let told = [
        (alone >= SERVER_MIN, format!("the server alone: {alone:.0} requests/s, at least {SERVER_MIN:.0}")),
        (finish >= RATIO_MIN, format!("journal=finish: ratio {finish:.2}, at least {RATIO_MIN}")),
        (
            // None at all: nothing was made durable.
            syncs.is_some_and(|syncs| syncs > 0.0 && syncs <= SYNCS_MAX),
            match syncs {
                Some(syncs) => format!("journal=finish: {syncs:.3} syncs a task, at most {SYNCS_MAX}"),
                None => "journal=finish: this version does not count syncs".to_owned(),
            },
        ),
    ];
    for (holds, words) in &told {
        println!("{} {words}", if *holds { "holds " } else { "BROKEN" });
    }
    told.iter().all(|(holds, _)| *holds)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
