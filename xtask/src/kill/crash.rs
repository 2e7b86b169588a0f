//! A crash while tasks with a lease of an hour run: how soon they run again, and how long their commands outlive it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{self, Stopwatch};
use crate::drill::{Bed, CommandLog, Leftovers, Runner, fresh_directory, make_directory};
use crate::process::Failure;

const TASK: &str = "drill_crash";
const TASKS: u32 = 4;
const LEASE: u32 = 3_600;
/// The first run of each takes longer than the drill looks on.
const PAUSE_MS: u64 = 120_000;
/// Within which the commands of a killed runner are gone, and the tasks run again after the next start.
const SOON: Duration = Duration::from_secs(5);
/// How long the drill looks on.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

/// What was seen; `None`: not within 15 s.
pub(super) struct Crash {
    /// From the kill until the last process of the runner and its commands was gone, nobody having started a runner.
    gone: Option<Duration>,
    /// From the next start until every task that had run was running again.
    again: Option<Duration>,
    /// What lay in the temporary directory after the next runner's end.
    folders: usize,
}

pub(super) fn run(bed: &Bed, downbeat: &Path) -> Result<Crash, Failure> {
    let directory = fresh_directory("kill/crash")?;
    make_directory(&directory.join("marks"))?;
    let (log, leftovers) = (CommandLog::new(&directory)?, Leftovers::from_directory(&directory));
    bed.register(TASK, 0, LEASE)?;
    (0..TASKS).try_for_each(|_| bed.start(TASK, PAUSE_MS).map(drop))?;
    let mut runner = Runner::from_script(downbeat, &directory, &bed.url, (TASK, TASKS), &log)?;
    if clock::wait_for(PATIENCE, LOOK, || (log.started() >= TASKS).then_some(())).is_none() {
        runner.check()?;
        return Err(Failure::new(format!("{TASKS} tasks did not start within {PATIENCE:?}")));
    }
    runner.kill()?;
    let gone = timed(|| leftovers.processes().is_empty());
    leftovers.end_processes();
    runner.restart()?;
    let again = timed(|| runner.revive().is_ok() && log.started() >= 2 * TASKS);
    runner.check()?;
    runner.stop();
    leftovers.end_processes();
    Ok(Crash { gone, again, folders: leftovers.folders() })
}

/// How long it took until that was so.
fn timed(mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let watch = Stopwatch::start();
    clock::wait_for(PATIENCE, LOOK, || is_so().then(|| watch.elapsed()))
}

impl Crash {
    /// The bounds that were broken, a sentence each.
    pub(super) fn broken(&self) -> Vec<String> {
        let late = |time: Option<Duration>| time.is_none_or(|time| time > SOON);
        let (gone, again, folders) = (said(self.gone), said(self.again), self.folders);
        let mut broken = Vec::new();
        if late(self.gone) {
            broken.push(format!("crash: commands of a killed runner were gone {gone}; {SOON:?} at the most"));
        }
        if late(self.again) {
            broken.push(format!("crash: tasks with a lease of 1 h ran again {again}; {SOON:?} at the most"));
        }
        if folders > 0 {
            broken.push(format!("crash: {folders} temporary folders were left by the killed runner"));
        }
        broken
    }

    pub(super) fn json(&self) -> Value {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        json!({ "processes_gone_s": seconds(self.gone), "runs_again_s": seconds(self.again),
            "leftover_folders": self.folders })
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gone, again, folders) = (said(self.gone), said(self.again), self.folders);
        write!(
            f,
            "crash of a runner, lease 1 h: its commands were gone {gone}; after the restart they ran again {again}; \
             {folders} folders left"
        )
    }
}

fn said(time: Option<Duration>) -> String {
    time.map_or_else(
        || format!("not within {} s", PATIENCE.as_secs()),
        |time| format!("after {:.1} s", time.as_secs_f64()),
    )
}
