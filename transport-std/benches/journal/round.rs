//! One round: a runner that works for some seconds.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use downbeat::{Context, Metrics, RawValue, Runner, StdClock, Worker};
use downbeat_core::machine::Clock as _;

use crate::mode::Mode;
use crate::server::Server;
use crate::{median, server};

const SLOTS: u16 = 16;
/// Results before the round is measured.
const WARM: u64 = 2_000;

/// What a round came to.
pub(crate) struct Round {
    /// Results that the server took, for each second.
    pub(crate) tasks: f64,
    /// From the request that brought a task to its result, in microseconds, as the server sees it.
    p50: f64,
    p99: f64,
    /// Syncs of the store for each task; `None`: not counted.
    pub(crate) syncs: Option<f64>,
}

/// Runs one, in a store of its own.
pub(crate) fn run(server: &Server, mode: Mode, seconds: u32) -> Round {
    let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-journal");
    drop(std::fs::remove_dir_all(&store));
    let worker = Worker::new(server::TASK, |input: Box<RawValue>, _: &Context| Ok(input)).slots(SLOTS);
    let mut runner = mode.apply(Runner::builder(server.url()), &store).worker(worker);
    let metrics = runner.metrics();
    let running = runner.start().unwrap();
    let handle = running.handle();
    while handle.summary().completed < WARM {
        rest(Duration::from_millis(10));
    }
    server.latencies();
    let clock = StdClock::new();
    rest(Duration::from_secs(u64::from(seconds)));
    let (elapsed, figures) = (clock.now(), server.latencies());
    handle.drain();
    let summary = running.join();
    assert_eq!(summary.given_up, 0, "this server takes every result");
    drop(std::fs::remove_dir_all(&store));
    Round {
        tasks: figures.count as f64 * 1e6 / elapsed.as_micros() as f64,
        p50: figures.p50,
        p99: figures.p99,
        syncs: syncs(&metrics).map(|syncs| syncs / summary.completed as f64),
    }
}

impl Round {
    /// The medians of one mode.
    pub(crate) fn median(rounds: &[Vec<Self>], mode: usize) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(|round| figure(&round[mode])));
        let counted = rounds.iter().all(|round| round[mode].syncs.is_some());
        Self {
            tasks: of(|round| round.tasks),
            p50: of(|round| round.p50),
            p99: of(|round| round.p99),
            syncs: counted.then(|| of(|round| round.syncs.unwrap_or_default())),
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let syncs = self.syncs.map_or_else(|| "-".to_owned(), |syncs| format!("{syncs:.3}"));
        write!(f, "{:>8.0} {:>8.0} {:>8.0} {syncs:>11}", self.tasks, self.p50, self.p99)
    }
}

/// How often the store was made durable; `None` without a store, and for a version that does not count it.
fn syncs(metrics: &Metrics) -> Option<f64> {
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with("downbeat_store_syncs_total"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "what is measured is how much is done in a time")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}
