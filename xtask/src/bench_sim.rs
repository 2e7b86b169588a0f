//! `cargo xtask bench-sim`: how fast the simulator is.

use crate::clock::Stopwatch;
use crate::process::{Context, Failure, cargo, command, release_binary, root, run};

/// Files of sim/scenarios/bench, in the order of their workers.
const SCENARIOS: [&str; 3] = ["hundred-workers", "thousand-workers", "ten-thousand-workers"];

pub(crate) fn main() -> Result<(), Failure> {
    run(cargo().args(["build", "--locked", "--release", "-p", "downbeat-sim"]))?;
    let simulator = release_binary("downbeat-sim")?;
    println!("{:<22} {:>8} {:>12} {:>12} {:>14}", "scenario", "seconds", "events", "µs/event", "peak memory");
    for name in SCENARIOS {
        let file = root().join(format!("sim/scenarios/bench/{name}.toml"));
        let watch = Stopwatch::start();
        let output = command(&simulator).args(["run", "--unjudged", "--scenario"]).arg(&file).output();
        let seconds = watch.seconds();
        let output = output.context(|| format!("running {name}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(events) = number_before(&text, " events") else {
            return Err(Failure::new(format!("{name}: {}", String::from_utf8_lossy(&output.stderr))));
        };
        let memory = text.lines().find_map(|line| line.strip_prefix("peak memory ")).unwrap_or("unknown");
        println!("{name:<22} {seconds:>8.2} {events:>12} {:>12.3} {memory:>14}", seconds * 1e6 / events);
    }
    run(command(&simulator).args(["swarm", "--for", "20s", "--start", "7000000"]))
}

/// The number that stands before a word.
fn number_before(text: &str, word: &str) -> Option<f64> {
    let before = text.split(word).next()?;
    before.rsplit(' ').next()?.parse().ok()
}
