//! One round: workflows, a runner killed at random times, and what became of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::figures::Figures;
use crate::clock::{self, Stopwatch};
use crate::drill::{Bed, CommandLog, Leftovers, Noted, Random, Runner, Running, fresh_directory, noted};
use crate::process::Failure;

/// The size of a round.
pub(super) struct Plan {
    pub(super) downbeat: PathBuf,
    pub(super) workflows: u32,
    pub(super) kills: u32,
    /// The tasks' retryCount.
    pub(super) retries: u32,
    /// Their response timeout, in seconds.
    pub(super) lease: u32,
    /// Whether results are refused until the last kill alone: else a few wait for minutes, 30 s for each refusal.
    pub(super) short: bool,
}

const SLOTS: u32 = 8;
/// Percent of results that are answered 503.
const REFUSED: u32 = 40;
/// How long a command takes, in milliseconds.
const PAUSE_MS: (u64, u64) = (20, 200);
/// A kill comes so many milliseconds after its share of the runs has started.
const DELAY_MS: (u64, u64) = (0, 400);
/// It waits no longer than this for that share.
const STALL: Duration = Duration::from_secs(5);
/// How long all workflows may take to end after the last kill.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);
/// Workflows that warm a server up, and the response timeout of their tasks, in seconds.
const WARM_WORKFLOWS: u32 = 100;
const WARM_LEASE: u32 = 3_600;

/// Runs one round in a directory of its own.
pub(super) fn run(bed: &Bed, plan: &Plan, seed: u32) -> Result<Figures, Failure> {
    let watch = Stopwatch::start();
    let directory = fresh_directory(&format!("kill/seed-{seed}"))?;
    let (log, leftovers) = (CommandLog::new(&directory)?, Leftovers::from_directory(&directory));
    let mut random = Random::new(seed);
    // A server takes a definition once, and has what an earlier round left.
    let task = format!("drill_kill_{seed}");
    bed.register(&task, plan.retries, plan.lease)?;
    let mut start = |_| bed.start(&task, random.between(PAUSE_MS.0, PAUSE_MS.1));
    let workflows = (0..plan.workflows).map(&mut start).collect::<Result<BTreeSet<String>, Failure>>()?;
    if let Some(faults) = &bed.faults {
        faults.order(&json!({ "kind": "503", "percent": REFUSED, "calls": ["update"] }))?;
    }
    let mut runner = Runner::from_script(&plan.downbeat, &directory, &bed.url, (task.as_str(), SLOTS), &log)?;
    let kills = kill_again_and_again(&mut runner, plan, &log, &workflows, &mut random)?;
    let end_faults = || bed.faults.as_ref().map_or(Ok(()), |faults| faults.end().map(drop));
    if plan.short {
        end_faults()?;
    }
    wait_for_ends(bed, &workflows, &mut runner)?;
    end_faults()?;
    runner.stop();
    clock::wait_for(Duration::from_secs(5), LOOK, || leftovers.processes().is_empty().then_some(()));
    let processes = leftovers.processes().len();
    leftovers.end_processes();
    let (runs, mut lost, mut never_came) = (log.runs(), Vec::new(), 0);
    for workflow in workflows {
        let status = bed.status(&workflow)?;
        if status == "COMPLETED" {
            continue;
        }
        let came = match runs.get(&workflow) {
            Some(runs) => bed.deliveries(&workflow)? <= u64::from(*runs),
            None => kills.noted.has(&workflow),
        };
        if came {
            lost.push((workflow, status));
        } else {
            never_came += 1;
        }
    }
    Ok(Figures {
        seed,
        workflows: plan.workflows,
        kills: plan.kills,
        runs,
        running: u32::try_from(kills.met.len()).unwrap_or(u32::MAX),
        lost,
        never_came,
        vain_starts: runner.vain(),
        processes,
        folders: leftovers.folders(),
        seconds: watch.seconds(),
    })
}

/// Has a server that has just started handle workflows whose leases are long: the first poll of one took 3.8 s on a busy
/// machine, so that tasks with a lease of 2 s came when it was over.
pub(super) fn warm_up(bed: &Bed, plan: &Plan) -> Result<(), Failure> {
    let directory = fresh_directory("kill/warm-up")?;
    let (log, task) = (CommandLog::new(&directory)?, "drill_kill_warm_up");
    bed.register(task, plan.retries, WARM_LEASE)?;
    let workflows = (0..WARM_WORKFLOWS).map(|_| bed.start(task, PAUSE_MS.0)).collect::<Result<_, _>>()?;
    let mut runner = Runner::from_script(&plan.downbeat, &directory, &bed.url, (task, SLOTS), &log)?;
    wait_for_ends(bed, &workflows, &mut runner)?;
    runner.stop();
    Ok(())
}

/// What the kills met.
#[derive(Default)]
struct Kills {
    /// Runs that were under way. Those of earlier kills never say that they end.
    met: BTreeSet<Running>,
    /// Workflows that stood in the store.
    noted: Noted,
}

/// Kills the runner and starts it again at once, the kills spread over all runs.
fn kill_again_and_again(
    runner: &mut Runner,
    plan: &Plan,
    log: &CommandLog,
    workflows: &BTreeSet<String>,
    random: &mut Random,
) -> Result<Kills, Failure> {
    let mut kills = Kills::default();
    for kill in 1..=plan.kills {
        let share = u64::from(plan.workflows) * u64::from(kill) / u64::from(plan.kills + 1);
        wait(STALL, runner, || u64::from(log.started()) >= share)?;
        wait(Duration::from_millis(random.between(DELAY_MS.0, DELAY_MS.1)), runner, || false)?;
        kills.met.extend(log.running());
        runner.kill()?;
        let left = noted::read(runner.store());
        runner.restart()?;
        kills.noted.add(&left, workflows);
    }
    Ok(kills)
}

/// Waits for a condition or for a time, and sees to it that the runner is up.
fn wait(limit: Duration, runner: &mut Runner, is_so: impl Fn() -> bool) -> Result<(), Failure> {
    let look = || match runner.revive() {
        Ok(()) => is_so().then_some(Ok(())),
        Err(failure) => Some(Err(failure)),
    };
    clock::wait_for(limit, LOOK, look).unwrap_or(Ok(()))
}

/// Waits until every workflow has ended, or for as long as is sensible: who has not ended by then is lost.
fn wait_for_ends(bed: &Bed, workflows: &BTreeSet<String>, runner: &mut Runner) -> Result<(), Failure> {
    let mut open: Vec<&String> = workflows.iter().collect();
    let ended = clock::wait_for(PATIENCE, Duration::from_millis(200), || {
        if let Err(failure) = runner.revive() {
            return Some(Err(failure));
        }
        while let Some(last) = open.last() {
            match bed.api.has_ended(last) {
                Ok(true) => open.pop(),
                Ok(false) => return None,
                Err(failure) => return Some(Err(failure)),
            };
        }
        Some(Ok(()))
    });
    ended.unwrap_or(Ok(()))
}
