//! The tasks of the type `measure`: typed in, typed out, and some of them slow.

use core::time::Duration;

use downbeat_core::machine::{Clock, EntryId, Instant};
use downbeat_core::ports::{Assignment, End, Executor, Progress, Unfit};
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::board::BoardClock;

/// The task type that this worker polls.
pub const TASK_TYPE: &str = "measure";
/// Tasks that run at once.
pub const SLOTS: usize = 2;
/// The longest text with escapes in an input.
const TEXT_MAX: usize = 24;

/// What a task asks for.
#[derive(Debug, Deserialize)]
struct Order {
    /// Named in the result; may hold escapes.
    sensor: String<TEXT_MAX>,
    samples: Vec<i32, 16>,
    /// How long the measurement takes.
    #[serde(default)]
    hold_ms: u32,
    /// The first so many tries fail.
    #[serde(default)]
    fails: u32,
}

/// What it gets.
#[derive(Debug, Serialize)]
struct Reading<'a> {
    sensor: &'a str,
    count: usize,
    min: i32,
    max: i32,
    sum: i64,
}

/// A task that runs.
struct Job {
    order: Order,
    until: Instant,
    fails: bool,
}

/// The executor: a job for each entry.
pub struct Measurements {
    jobs: [Option<Job>; SLOTS],
    /// Tasks begun.
    pub begun: u32,
}

impl Measurements {
    pub const fn new() -> Self {
        Self { jobs: [const { None }; SLOTS], begun: 0 }
    }

    fn job(&mut self, entry: EntryId) -> Option<&mut Option<Job>> {
        self.jobs.get_mut(usize::from(entry.index()))
    }
}

impl Executor for Measurements {
    fn start(&mut self, entry: EntryId, task: &Assignment<'_>) -> Result<(), Unfit> {
        let mut scratch = [0; TEXT_MAX];
        let Ok((order, _)) = serde_json_core::from_slice_escaped::<Order>(task.input, &mut scratch) else {
            return Err(Unfit { reason: "the input must be {sensor: text, samples: up to 16 integers}" });
        };
        let until = BoardClock.now().saturating_add(Duration::from_millis(u64::from(order.hold_ms)));
        let fails = task.retry_count < order.fails;
        self.begun = self.begun.saturating_add(1);
        if let Some(place) = self.job(entry) {
            *place = Some(Job { order, until, fails });
        }
        Ok(())
    }

    fn step(&mut self, entry: EntryId, output: &mut [u8]) -> Progress {
        let failed = |reason| Progress::Done { end: End::Failed { reason }, output: 0 };
        let Some(place) = self.job(entry) else { return failed("no such entry") };
        let Some(Job { order, until, fails }) = place.take() else { return failed("no such job") };
        if BoardClock.now() < until {
            *place = Some(Job { order, until, fails });
            return Progress::Pending { wake: until };
        }
        if fails {
            return failed("the sensor did not answer");
        }
        let Some((min, max)) = order.samples.iter().min().zip(order.samples.iter().max()) else {
            return Progress::Done { end: End::Terminal { reason: "there are no samples" }, output: 0 };
        };
        let sum = order.samples.iter().map(|sample| i64::from(*sample)).sum();
        let (count, sensor) = (order.samples.len(), &order.sensor);
        let reading = Reading { sensor, count, min: *min, max: *max, sum };
        match serde_json_core::to_slice(&reading, output) {
            Ok(output) => Progress::Done { end: End::Completed, output },
            Err(_) => Progress::Done { end: End::Terminal { reason: "the output is too long" }, output: 0 },
        }
    }

    fn cancel(&mut self, entry: EntryId) {
        if let Some(place) = self.job(entry) {
            *place = None;
        }
    }
}
