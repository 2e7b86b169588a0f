//! `cargo xtask ci`: the steps, in order.

mod fast;
mod publish;
mod tools;

use crate::args::Args;
use crate::clock::Stopwatch;
use crate::process::{Failure, cargo, release_binary, run};
use crate::{
    demo, examples, firmware, kill, packages, page, process, purity, python_client, readme, real_server,
    scripts,
};

/// How a step ended that did not fail.
pub(crate) enum Done {
    Passed,
    /// Not run on this machine, for this reason.
    Skipped(String),
}

struct Step {
    name: &'static str,
    checks: &'static str,
    /// What to do when it fails.
    remedy: &'static str,
    run: fn() -> Result<Done, Failure>,
}

const fn step(
    name: &'static str,
    checks: &'static str,
    remedy: &'static str,
    run: fn() -> Result<Done, Failure>,
) -> Step {
    Step { name, checks, remedy, run }
}

/// Cheap steps first; `clippy`, `doc`, `test` and `release` build once each, all others use what those built.
const STEPS: &[Step] = &[
    step("fmt", "the code is formatted", "run `cargo fmt --all`", fmt),
    step("scripts", "shell scripts parse", "`bash -n FILE` shows the line", scripts_parse),
    step("deny", "licences, sources and bans of deny.toml", "see deny.toml and docs/dependencies.md", || {
        let words = ["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
        tools::cargo_tool("deny", &words)
    }),
    step("machete", "no unused dependency", "drop it from that Cargo.toml", || {
        tools::cargo_tool("machete", &[])
    }),
    step("clippy", "lints, warnings denied", "fix what clippy names; never `allow`", || {
        tools::component("clippy", "cargo-clippy")?;
        sh("clippy --locked --workspace --all-targets --all-features -- -D warnings")
    }),
    step("doc", "documentation builds, private items too", "fix the link or the comment named", doc),
    step(
        "test",
        "unit, integration and doc tests of the workspace, tidy included",
        "run that test alone",
        || sh("test --locked --workspace --all-features"),
    ),
    step(
        "packages",
        "no simulator and no mutants in `downbeat`, no HTTP in the simulator's library",
        "`cargo tree -e normal,features -p PACKAGE` shows what pulls it in",
        || passed(packages::check),
    ),
    step(
        "publish",
        "each published package has its metadata, README and licence, and is packed",
        "complete that package's Cargo.toml or files",
        || passed(publish::check),
    ),
    step(
        "features",
        "each published package builds without its features, and with each by itself",
        "run `cargo check -p PACKAGE --no-default-features --features FEATURE`",
        || passed(publish::features),
    ),
    step(
        "purity",
        "core has nothing of std or alloc",
        "find what pulls it in: `cargo tree -p downbeat-core -e features`",
        || passed(purity::check),
    ),
    step("release", "`cargo build --release` builds both binaries", "see the compiler's message", || {
        sh("build --locked --release")
    }),
    step(
        "ruby-traces",
        "the Ruby SDK's timing, to the millisecond",
        "read the case in tests/vectors",
        || passed(ruby_traces),
    ),
    step("mutants", "every known mistake is caught by an oracle", "add the scenario that shows it", || {
        passed(|| simulate(&["mutants"]))
    }),
    step(
        "swarm",
        "a minute of seeds from this commit on, and 20 s of processes with many workers, every rule judged",
        "run the command that the report names, then `downbeat-sim shrink`",
        || passed(swarm),
    ),
    step(
        "readme",
        "the commands of README.md and docs/ are taken",
        "mend the command or the document",
        || passed(readme::check),
    ),
    step(
        "demo",
        "`downbeat demo` completes its tasks",
        "run `cargo run --release -p downbeat-cli -- demo`",
        || passed(demo::check),
    ),
    step(
        "page",
        "the simulator's page is drawn by headless Chromium",
        "open target/page.html; run `cargo xtask ci --only page`",
        page::check,
    ),
    step(
        "python-client",
        "the official Python client against `downbeat-sim serve`",
        "see tools/python-client",
        python_client::check,
    ),
    step(
        "examples",
        "tokio, embassy-style, single-thread and WebAssembly hosts against `downbeat-sim serve`",
        "run `cargo xtask examples`, or the one that failed by hand",
        examples::step,
    ),
    step(
        "kill",
        "150 workflows, 5 kills of the runner, every second or third result refused: none lost, none left over",
        "run `cargo xtask kill --seeds 1`; the runner's log is in target/kill",
        kill::step,
    ),
    step(
        "firmware",
        "the core on a Cortex-M3 under QEMU, each kind of fault on line and server; its sizes",
        "run `cargo xtask firmware`; the console is in target/firmware",
        firmware::step,
    ),
    step(
        "transports",
        "the lean transport takes at most a third of ureq's user-mode CPU per request",
        "run `cargo bench -p downbeat --bench transports`",
        || sh("bench --quiet --locked -p downbeat --bench transports -- --at-least 3"),
    ),
    step(
        "real-server",
        "1,000 workflows of a real Conductor, SQLite and Redis",
        "run `cargo xtask real-server`",
        real_server::step,
    ),
];

/// Runs the steps, those named by `--only`, or the few of `--fast`; ends with `N passed, N failed`.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    args.known(&["--only"], &["--list", "--fast"])?;
    let all = if args.has("--fast") { fast::STEPS } else { STEPS };
    if args.has("--list") {
        for step in all {
            println!("{:<14} {}", step.name, step.checks);
        }
        return Ok(());
    }
    let steps = select(all, &args.all("--only"))?;
    let (mut lines, mut skipped, mut passed) = (Vec::new(), Vec::new(), 0_u32);
    let whole = Stopwatch::start();
    for step in steps {
        println!("\n=== {}: {}", step.name, step.checks);
        let watch = Stopwatch::start();
        let end = (step.run)();
        let word = match &end {
            Ok(Done::Passed) => "passed",
            Ok(Done::Skipped(_)) => "SKIPPED",
            Err(_) => "FAILED",
        };
        lines.push(format!("{word:<8} {:>7.1} s  {}", watch.seconds(), step.name));
        println!("--- {}: {word} after {:.1} s", step.name, watch.seconds());
        match end {
            Ok(Done::Passed) => passed += 1,
            Ok(Done::Skipped(why)) => skipped.push(format!("SKIPPED {}: {why}", step.name)),
            Err(failure) => {
                report(&lines, &skipped, &whole);
                println!("\n{} failed: {failure}\nwhat to do: {}", step.name, step.remedy);
                println!("then: cargo xtask ci --only {}\n\n{passed} passed, 1 failed", step.name);
                return Err(Failure::told());
            }
        }
    }
    report(&lines, &skipped, &whole);
    println!("{passed} passed, 0 failed");
    Ok(())
}

fn select(all: &'static [Step], only: &[&str]) -> Result<Vec<&'static Step>, Failure> {
    // The name it had before.
    let only: Vec<&str> =
        only.iter().map(|name| if *name == "seed-traces" { "ruby-traces" } else { name }).collect();
    if let Some(unknown) = only.iter().find(|name| !all.iter().any(|step| step.name == **name)) {
        return Err(Failure::new(format!(
            "there is no step `{unknown}`; `cargo xtask ci --list` shows them"
        )));
    }
    Ok(all.iter().filter(|step| only.is_empty() || only.contains(&step.name)).collect())
}

fn report(lines: &[String], skipped: &[String], whole: &Stopwatch) {
    println!("\n=== summary");
    for line in lines {
        println!("{line}");
    }
    println!("{:>16.1} s  in all", whole.seconds());
    for line in skipped {
        println!("\n!!! {line}");
    }
}

fn fmt() -> Result<Done, Failure> {
    tools::component("rustfmt", "rustfmt")?;
    sh("fmt --all --check")
}

fn scripts_parse() -> Result<Done, Failure> {
    passed(scripts::check)
}

/// One cargo command, written as on a command line.
fn sh(line: &str) -> Result<Done, Failure> {
    run(cargo().args(line.split(' '))).map(|()| Done::Passed)
}

fn passed(check: fn() -> Result<(), Failure>) -> Result<Done, Failure> {
    check().map(|()| Done::Passed)
}

fn doc() -> Result<Done, Failure> {
    let mut doc = cargo();
    doc.args(["doc", "--locked", "--workspace", "--all-features", "--no-deps", "--document-private-items"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings")).map(|()| Done::Passed)
}

/// A swarm whose first seed is the commit's.
fn swarm() -> Result<(), Failure> {
    let commit = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit =
        commit.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let start = u64::from_str_radix(commit.get(..12).unwrap_or("0"), 16).unwrap_or(0).to_string();
    simulate(&["swarm", "--for", "60s", "--start", &start])?;
    simulate(&["swarm", "--for", "20s", "--start", &start, "--profile", "processes"])
}

fn simulate(args: &[&str]) -> Result<(), Failure> {
    run(process::command(release_binary("downbeat-sim")?).args(args))
}

fn ruby_traces() -> Result<(), Failure> {
    let simulator = release_binary("downbeat-sim")?;
    run(process::command(simulator).args(["conform", "tests/vectors/ruby-traces.json"]))
}
