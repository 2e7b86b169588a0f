//! `cargo xtask kill`: a runner that is killed again and again loses nothing, and repeats only what was running.

mod crash;
mod figures;
mod round;

use serde_json::json;

use crate::args::Args;
use crate::ci::Done;
use crate::conductor::Backend;
use crate::drill::Bed;
use crate::process::{Failure, named_or_release, release_binary};
use crash::Crash;
use figures::Figures;
use round::Plan;

/// Workflows and kills of a round against the model, and against a real server, whose calls take longer.
const MODEL: (u32, u32) = (1_500, 40);
const REAL: (u32, u32) = (500, 20);
/// And of CI's.
const SHORT: (u32, u32) = (150, 5);
/// Response timeout of the tasks, in seconds.
const LEASE: u32 = 2;

/// The command with its options.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    let options = ["--workflows", "--kills", "--seed", "--seeds", "--retries", "--lease", "--backend"];
    let binaries = ["--downbeat", "--simulator"];
    args.known(&[&options[..], &binaries].concat(), &["--real", "--json"])?;
    let (workflows, kills) = if args.has("--real") { REAL } else { MODEL };
    let plan = Plan {
        downbeat: named_or_release(args.value("--downbeat"), "downbeat")?,
        workflows: args.number("--workflows", workflows)?,
        kills: args.number("--kills", kills)?,
        retries: args.number("--retries", 0)?,
        lease: args.number("--lease", LEASE)?,
        short: false,
    };
    let bed = if args.has("--real") {
        Bed::real(Backend::parse(args.value("--backend").unwrap_or("sqlite"))?)?
    } else {
        Bed::model(&named_or_release(args.value("--simulator"), "downbeat-sim")?)?
    };
    let first = args.number("--seed", 1)?;
    let seeds = first..first.saturating_add(args.number("--seeds", 5)?);
    run(&bed, &plan, seeds, args.has("--json"))
}

/// The step of CI: short, without retries.
pub(crate) fn step() -> Result<Done, Failure> {
    let (workflows, kills) = SHORT;
    let downbeat = release_binary("downbeat")?;
    let bed = Bed::model(&release_binary("downbeat-sim")?)?;
    let plan = Plan { downbeat, workflows, kills, retries: 0, lease: LEASE, short: true };
    run(&bed, &plan, 1..2, false).map(|()| Done::Passed)
}

/// One round for each seed, then the crash with a long lease. Fails with every bound that was broken.
fn run(bed: &Bed, plan: &Plan, seeds: std::ops::Range<u32>, as_json: bool) -> Result<(), Failure> {
    let Plan { workflows, kills, retries, lease, .. } = plan;
    if !as_json {
        println!("{}: {workflows} workflows, {kills} kills, retryCount {retries}, lease {lease} s", bed.name);
        println!("{}", Figures::HEAD);
    }
    if bed.faults.is_none() {
        round::warm_up(bed, plan)?;
    }
    let mut rounds = Vec::new();
    for seed in seeds {
        let figures = round::run(bed, plan, seed)?;
        if !as_json {
            println!("{figures}");
        }
        rounds.push(figures);
    }
    let crash = crash::run(bed, &plan.downbeat)?;
    let mut broken: Vec<String> = rounds.iter().flat_map(Figures::broken).collect();
    broken.extend(crash.broken());
    if as_json {
        let rounds: Vec<_> = rounds.iter().map(Figures::json).collect();
        println!(
            "{:#}",
            json!({ "server": bed.name, "rounds": rounds, "crash": Crash::json(&crash), "broken": broken })
        );
    } else {
        println!("{crash}");
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(broken.join("\n"))) }
}
