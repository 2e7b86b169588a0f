//! `swarm`: many seeds.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{PASS, PROBE};
use crate::probe::SEEDS_NEEDED;
use crate::report;
use crate::scenario::{Profile, Span};
use crate::swarm::{self, Found, Plan};

/// Arguments of `swarm`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// How many seeds; with `--for`, at the most so many.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    start: u64,
    /// Threads.
    #[arg(short, long, value_name = "J", default_value_t = 1)]
    jobs: usize,
    /// Stop after so much time: `60s`.
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,
    /// The same profile for every seed; by default each draws one.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Print how often each probe was hit.
    #[arg(long)]
    probes: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let seeds = args.seeds.unwrap_or_else(|| if args.time.is_some() { u64::MAX } else { 1_000 });
    let plan = Plan {
        start: args.start,
        seeds,
        jobs: args.jobs,
        profile: args.profile,
        keep_going: args.keep_going,
    };
    let limit = args.time.map(Span::get);
    let bar = progress_bar(args, seeds);
    let watch = now();
    let found = swarm::run(&plan, &|failing| {
        bar.inc(1);
        if failing > 0 {
            bar.set_message(format!("{failing} FAILED"));
        }
        limit.is_none_or(|limit| watch.elapsed() < limit)
    });
    bar.finish_and_clear();
    tell(&found, watch.elapsed(), out)?;
    if args.probes {
        for (name, rare, hits) in found.probes.hits() {
            writeln!(out, "{hits:>12}  {name}{}", if rare { " (rare)" } else { "" })?;
        }
    }
    end(&found, args, out, err)
}

fn end(found: &Found, args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    for failing in found.failing.iter().rev() {
        let again = format!("--seed {} --profile {}", failing.seed, failing.profile.name());
        report::failure(err, &format!("seed {}", failing.seed), &again, &failing.trial, None)?;
    }
    if let Some(first) = found.failing.first() {
        writeln!(err, "{} of {} seeds failed", found.failing.len(), found.seeds)?;
        return Ok(first.trial.exit_code());
    }
    let missing = found.probes.missing();
    if found.seeds < SEEDS_NEEDED || args.profile.is_some() {
        writeln!(out, "probes are not judged: that takes {SEEDS_NEEDED} seeds, and no --profile")?;
    } else if !missing.is_empty() {
        writeln!(err, "FAIL  probes never hit: {}", missing.join(", "))?;
        return Ok(PROBE);
    }
    Ok(PASS)
}

fn tell(found: &Found, took: Duration, out: &mut dyn Write) -> io::Result<()> {
    let hours = |millis: u64| millis / 3_600_000;
    let millis = took.as_millis().max(1);
    let rate = |millis: u128| u128::from(found.worker_ms) / 8 * 60_000 / millis.max(1) / 3_600_000;
    writeln!(
        out,
        "{} seeds passed, {} failed; {} steps, {} virtual hours, {} worker hours in {}.{} s",
        found.seeds - found.failing.len() as u64,
        found.failing.len(),
        found.steps,
        hours(found.virtual_ms),
        hours(found.worker_ms),
        millis / 1_000,
        millis % 1_000 / 100
    )?;
    let wall = rate(millis);
    writeln!(out, "{wall} virtual hours of an eight-worker fleet in a minute, all oracles on")?;
    if let Some(time) = report::processor_time() {
        let rate = rate(time.as_millis());
        writeln!(out, "{rate} virtual hours of an eight-worker fleet in a minute of processor time")?;
    }
    writeln!(out, "fingerprint {:016x}", found.fingerprint)
}

fn progress_bar(args: &Args, seeds: u64) -> ProgressBar {
    let bar = if args.seeds.is_some() || args.time.is_none() {
        ProgressBar::new(seeds)
    } else {
        ProgressBar::new_spinner()
    };
    let style =
        ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} seeds {per_sec} {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

#[expect(clippy::disallowed_methods, reason = "a bound on wall time, and its report, need the wall's clock")]
fn now() -> Instant {
    Instant::now()
}
