//! `cargo xtask soak`: under load for a quarter of an hour, some results refused for ever, the runner does not grow.

mod load;
mod sample;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::args::Args;
use crate::clock::{self, Stopwatch};
use crate::drill::{Bed, Runner, fresh_directory};
use crate::process::{Context, Failure, named_or_release};
use load::{HEALTHY, Load, POISON};
use sample::{Sample, Samples};

/// Minutes, percent of tasks whose results are refused, workflows a second.
const MINUTES: u32 = 15;
const POISONED: u32 = 5;
const RATE: u32 = 50;
/// Slots of each of the two workers.
const SLOTS: u32 = 16;
/// Response timeout of the tasks, in seconds.
const LEASE: u32 = 30;
/// Memory is measured from here on, or from a fifth of a shorter soak on.
const WARM: Duration = Duration::from_secs(180);
/// By how much it may grow from there to the end.
const GROWTH_MAX: f64 = 1.10;
/// Between two lines of the table, or a tenth of a shorter soak.
const LINE: Duration = Duration::from_secs(30);
/// How long the healthy workflows may take to end after the last was started.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command with its options.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    args.known(&["--minutes", "--poison", "--rate", "--downbeat", "--simulator"], &[])?;
    let whole = Duration::from_secs(60 * u64::from(args.number("--minutes", MINUTES)?));
    let (poison, rate) = (args.number("--poison", POISONED)?, args.number("--rate", RATE)?);
    let downbeat = named_or_release(args.value("--downbeat"), "downbeat")?;
    let bed = Bed::model(&named_or_release(args.value("--simulator"), "downbeat-sim")?)?;
    println!("{}: {rate} workflows a second for {whole:?}, results of {poison} % refused for ever", bed.name);
    bed.register(HEALTHY, 0, LEASE)?;
    bed.register(POISON, 0, LEASE)?;
    refuse_for_ever(&bed)?;
    let directory = fresh_directory("soak")?;
    let mut runner = start(&downbeat, &directory, &bed.url)?;
    let mut load = Load::new(rate, poison);
    let samples = work(&bed, &mut runner, &mut load, whole)?;
    let ended = wait_for_healthy(&bed, &load);
    println!("{}", load.told(&bed)?);
    runner.check()?;
    let code = runner.stop();
    println!("the runner ended with {}", code.map_or_else(|| "no code".to_owned(), |code| code.to_string()));
    ended?;
    grown(&samples, whole)
}

/// Answers 500 to what the poisoned tasks bring, and takes the report of their failure, where this server can tell them
/// apart.
fn refuse_for_ever(bed: &Bed) -> Result<(), Failure> {
    let Some(faults) = &bed.faults else { return Err(Failure::new("this server has no faults to order")) };
    let of_type = json!({ "kind": "500", "calls": ["update"], "task": POISON });
    let mut poison = of_type.clone();
    poison["with_status"] = json!("COMPLETED");
    if faults.order(&poison).is_err() {
        println!("this `serve` cannot refuse completed results alone: every result of {POISON} is refused");
        faults.order(&of_type)?;
    }
    Ok(())
}

/// A runner with a worker for each type, whose tasks give back their input.
fn start(downbeat: &Path, directory: &Path, url: &str) -> Result<Runner, Failure> {
    let mut text = format!("[server]\nurl = {url:?}\n");
    for task in [HEALTHY, POISON] {
        text.push_str(&format!("\n[[worker]]\ntask = {task:?}\ncommand = [\"cat\"]\nslots = {SLOTS}\n"));
    }
    let config = directory.join("downbeat.toml");
    std::fs::write(&config, text).context(|| format!("writing {}", config.display()))?;
    Runner::start(downbeat, directory, &["--config", &config.display().to_string()])
}

/// Starts workflows second by second, and looks at the runner as often.
fn work(bed: &Bed, runner: &mut Runner, load: &mut Load, whole: Duration) -> Result<Samples, Failure> {
    println!("{}", Sample::HEAD);
    let (watch, mut samples) = (Stopwatch::start(), Samples::new(LINE.min(whole / 10)));
    let mut second = 0;
    while watch.elapsed() < whole {
        second += 1;
        load.second(bed)?;
        runner.check()?;
        if let Some(line) = samples.look(Duration::from_secs(second), runner.id(), runner.store())? {
            println!("{line}");
        }
        let left = Duration::from_secs(second).saturating_sub(watch.elapsed());
        clock::wait_for(left, left, || None::<()>);
    }
    Ok(samples)
}

/// The healthy are not disturbed: each is COMPLETED soon after the load ends.
fn wait_for_healthy(bed: &Bed, load: &Load) -> Result<(), Failure> {
    let mut open = u64::MAX;
    let done = clock::wait_for(PATIENCE, Duration::from_millis(500), || {
        open = load.healthy().saturating_sub(load::completed(bed).ok()?);
        (open == 0).then_some(())
    });
    done.ok_or_else(|| {
        Failure::new(format!(
            "{open} of {} healthy workflows were not COMPLETED {PATIENCE:?} after the load had ended",
            load.healthy()
        ))
    })
}

/// Fails where memory has grown.
fn grown(samples: &Samples, whole: Duration) -> Result<(), Failure> {
    let warm = WARM.min(whole / 5);
    let (Some(first), Some(last)) = (samples.first_after(warm), samples.last()) else {
        return Err(Failure::new("there are no figures"));
    };
    let growth = last.resident_kib / first.resident_kib.max(1.0);
    println!(
        "resident memory: {:.0} KiB after {:.0} s, {:.0} KiB in the end: {growth:.3} times as much",
        first.resident_kib, first.seconds, last.resident_kib
    );
    if growth <= GROWTH_MAX {
        return Ok(());
    }
    Err(Failure::new(format!("memory grew {growth:.3} times after {warm:?}; {GROWTH_MAX} at the most")))
}
