//! `swarm`: many seeds.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::failure::{AfterFailure, Failed};
use super::output::{PASS, PROBE, now, print_json};
use super::values::{self, Mistaken};
use crate::probe::SEEDS_NEEDED;
use crate::report::{self, Failure};
use crate::scenario::{Profile, Span, generate};
use crate::swarm::{self, Found, Plan};

/// Arguments of `swarm`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// How many seeds; with `--for`, at the most so many.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    start: u64,
    /// Threads.
    #[arg(short, long, value_name = "J", default_value = "1", value_parser = values::jobs, allow_negative_numbers = true)]
    jobs: usize,
    /// Stop after so much time: `60s`.
    #[arg(long = "for", value_name = "TIME", value_parser = values::time)]
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
    /// Fail (13) if a probe was never hit, however few the seeds; by default that takes 2,000, and no
    /// --profile.
    #[arg(long)]
    judge_probes: bool,
    #[command(flatten)]
    mistaken: Mistaken,
    #[command(flatten)]
    failure: AfterFailure,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let seeds = args.seeds.unwrap_or_else(|| if args.time.is_some() { u64::MAX } else { 1_000 });
    let plan = Plan {
        start: args.start,
        seeds,
        jobs: args.jobs,
        profile: args.profile,
        machines: args.mistaken.machines(),
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
    let told = Told::new(args, &found, watch.elapsed());
    if !args.json {
        tell(&told, out)?;
        if args.probes {
            for (name, rare, hits) in found.probes.hits() {
                writeln!(out, "{hits:>12}  {name}{}", if rare { " (rare)" } else { "" })?;
            }
        }
    }
    out.flush()?;
    end(args, &plan, &found, told, out, err)
}

/// What a swarm did, as JSON.
#[derive(Serialize)]
struct Told {
    seeds: u64,
    start: u64,
    failed: u64,
    steps: u64,
    virtual_hours: u64,
    worker_hours: u64,
    seconds: f64,
    processor_seconds: Option<f64>,
    fingerprint: String,
    probes: Vec<Probe>,
    probes_judged: bool,
    probes_missing: Vec<&'static str>,
    failures: Vec<Failure>,
    #[serde(skip)]
    worker_ms: u64,
}

#[derive(Serialize)]
struct Probe {
    name: &'static str,
    rare: bool,
    hits: u64,
}

impl Told {
    fn new(args: &Args, found: &Found, took: Duration) -> Self {
        let probes = found.probes.hits().map(|(name, rare, hits)| Probe { name, rare, hits });
        Self {
            seeds: found.seeds,
            start: args.start,
            failed: found.failing.len() as u64,
            steps: found.steps,
            virtual_hours: found.virtual_ms / 3_600_000,
            worker_hours: found.worker_ms / 3_600_000,
            seconds: took.as_secs_f64(),
            processor_seconds: report::processor_time().map(|time| time.as_secs_f64()),
            fingerprint: format!("{:016x}", found.fingerprint),
            probes: probes.collect(),
            probes_judged: args.judge_probes || (found.seeds >= SEEDS_NEEDED && args.profile.is_none()),
            probes_missing: found.probes.missing(),
            failures: Vec::new(),
            worker_ms: found.worker_ms,
        }
    }
}

/// Reports what failed, the first seed last; the first of each rule is made small and drawn.
fn end(
    args: &Args,
    plan: &Plan,
    found: &Found,
    mut told: Told,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut rules = BTreeSet::new();
    for failing in &found.failing {
        let scenario = generate(failing.seed, failing.profile);
        let mistake = plan.machines.mistake().map(|name| format!(" --mutant {name}")).unwrap_or_default();
        let failed = Failed {
            scenario: &scenario,
            machines: plan.machines,
            trial: &failing.trial,
            run: format!("seed {}", failing.seed),
            rerun: format!("--seed {} --profile {}{mistake}", failing.seed, failing.profile.name()),
            stem: failing.seed.to_string(),
        };
        let rule = failing.trial.violation.as_ref().map(|violation| violation.oracle);
        let first = rule.is_some_and(|rule| rules.insert(rule));
        told.failures.extend(if first {
            failed.examined(&args.failure, None)
        } else {
            failed.told().map(Failure::brief)
        });
    }
    let code = if let Some(first) = found.failing.first() {
        writeln!(err, "{} of {} seeds failed", found.failing.len(), found.seeds)?;
        for failure in told.failures.iter().rev() {
            writeln!(err, "{failure}")?;
        }
        first.trial.exit_code()
    } else if told.probes_judged && !told.probes_missing.is_empty() {
        writeln!(err, "FAIL  probes never hit: {}", told.probes_missing.join(", "))?;
        PROBE
    } else {
        if !told.probes_judged && !args.json {
            writeln!(out, "probes are not judged: that takes {SEEDS_NEEDED} seeds, and no --profile")?;
        }
        PASS
    };
    if args.json {
        print_json(out, &told)?;
    }
    Ok(code)
}

fn tell(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    let rate = |seconds: f64| told.worker_ms as f64 / 8.0 / 3_600_000.0 * 60.0 / seconds.max(0.001);
    writeln!(
        out,
        "{} seeds passed, {} failed; {} steps, {} virtual hours, {} worker hours in {:.1} s",
        told.seeds - told.failed,
        told.failed,
        told.steps,
        told.virtual_hours,
        told.worker_hours,
        told.seconds
    )?;
    let wall = rate(told.seconds);
    writeln!(out, "{wall:.0} virtual hours of an eight-worker fleet in a minute, all oracles on")?;
    if let Some(seconds) = told.processor_seconds {
        let rate = rate(seconds);
        writeln!(out, "{rate:.0} virtual hours of an eight-worker fleet in a minute of processor time")?;
    }
    writeln!(out, "fingerprint {}", told.fingerprint)
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
