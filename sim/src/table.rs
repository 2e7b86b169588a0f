//! What each policy does to a server in trouble: scenarios run once under Downbeat's rules and once under the Ruby SDK's,
//! and counted.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{Action, EntryId, Instant, Loss, Sound, TaskKey};
use serde::Serialize;

use crate::event::{Effect, Event, Report, Watcher};
use crate::scenario::{LoadError, PolicyChoice, Preset, Scenario, parse};
use crate::trial;

/// One line of the table.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// `downbeat` or `ruby-sdk`.
    pub policy: &'static str,
    /// The most calls in one second while the fault was on (or in the whole run, if there was none).
    pub peak_calls_per_second: u64,
    /// All calls while the fault was on, per second, times ten.
    pub mean_calls_per_ten_seconds: u64,
    /// Results that no report and no store kept.
    pub results_lost: usize,
    /// Tasks whose code ran again because their lease had lapsed, or because they were delivered twice.
    pub run_twice: usize,
    /// How long after the fault's end the server next saw a call, in milliseconds.
    pub first_call_ms: Option<u64>,
    /// How long after the fault's end no more tasks were open than before it, in milliseconds.
    pub recovered_ms: Option<u64>,
}

const SCENARIOS: [(&str, &str); 5] = [
    ("server-down-90s", include_str!("../scenarios/server-down-90s.toml")),
    ("rate-limit", include_str!("../scenarios/rate-limit.toml")),
    ("lossy-link", include_str!("../scenarios/lossy-link.toml")),
    ("long-tasks", include_str!("../scenarios/long-tasks.toml")),
    ("thundering-herd", include_str!("../scenarios/thundering-herd.toml")),
];

/// Runs every scenario of the table under both policies.
///
/// # Errors
/// A scenario of the library is broken.
pub fn rows() -> Result<Vec<Row>, LoadError> {
    let mut rows = Vec::new();
    for (name, text) in SCENARIOS {
        let scenario = parse(name, text, false)?;
        rows.push(row(&scenario, "downbeat"));
        rows.push(row(&as_ruby_sdk(&scenario), "ruby-sdk"));
    }
    Ok(rows)
}

/// Returns the same fleet by the rules of the Ruby class: each slot is a worker with one lane of its own.
#[must_use]
pub fn as_ruby_sdk(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    let copies: Vec<u32> = scenario
        .workers
        .iter()
        .map(|group| scenario.process_of(group).map_or(1, |process| process.count))
        .collect();
    scenario.processes.clear();
    for (group, copies) in scenario.workers.iter_mut().zip(copies) {
        group.process = None;
        group.count *= copies * u32::from(group.slots);
        group.slots = 1;
        group.table = None;
        group.policy = PolicyChoice { preset: Preset::RubySdk, ..PolicyChoice::default() };
    }
    for fault in &mut scenario.faults {
        // Workers are numbered anew; a fault of some becomes one of the first as many slots.
        if let (Some(workers), Some(slots)) =
            (&mut fault.workers, scenario.workers.first().map(|group| group.count))
        {
            let few = u32::try_from(workers.len()).unwrap_or(u32::MAX);
            *workers = (0..few.saturating_mul(3).min(slots)).collect();
        }
    }
    scenario
}

fn row(scenario: &Scenario, policy: &'static str) -> Row {
    let begins = scenario.faults.iter().map(|fault| fault.at.get()).min().unwrap_or_default();
    let ends = scenario.faults.iter().map(|fault| fault.at.get() + fault.lasts.get()).max();
    let ends = ends.unwrap_or_else(|| scenario.heal_at.get());
    let mut tally = Tally::new(Instant::ZERO.saturating_add(begins), Instant::ZERO.saturating_add(ends));
    let _ = trial::run_unjudged::<Sound>(scenario, &mut [&mut tally]);
    let seconds = (ends - begins).as_secs().max(1);
    Row {
        scenario: scenario.name.clone(),
        policy,
        peak_calls_per_second: tally.calls.values().copied().max().unwrap_or(0),
        mean_calls_per_ten_seconds: tally.calls.values().sum::<u64>() * 10 / seconds,
        results_lost: tally.given_up.difference(&tally.reported).count(),
        run_twice: tally.twice,
        first_call_ms: tally.first_call.map(|at| millis(tally.ends, at)),
        recovered_ms: tally.recovered.map(|at| millis(tally.ends, at)),
    }
}

fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

/// Counts what happens in a run.
#[derive(Debug)]
struct Tally {
    begins: Instant,
    ends: Instant,
    /// Calls in each second of the fault.
    calls: BTreeMap<u64, u64>,
    first_call: Option<Instant>,
    recovered: Option<Instant>,
    open: BTreeSet<TaskKey>,
    open_before: usize,
    entries: BTreeMap<(u32, EntryId), TaskKey>,
    ran: BTreeSet<TaskKey>,
    again: BTreeSet<TaskKey>,
    twice: usize,
    given_up: BTreeSet<TaskKey>,
    reported: BTreeSet<TaskKey>,
}

impl Tally {
    fn new(begins: Instant, ends: Instant) -> Self {
        Self {
            begins,
            ends,
            calls: BTreeMap::new(),
            first_call: None,
            recovered: None,
            open: BTreeSet::new(),
            open_before: 0,
            entries: BTreeMap::new(),
            ran: BTreeSet::new(),
            again: BTreeSet::new(),
            twice: 0,
            given_up: BTreeSet::new(),
            reported: BTreeSet::new(),
        }
    }

    fn call(&mut self, at: Instant) {
        if at >= self.begins && at < self.ends {
            *self.calls.entry(at.as_millis() / 1_000).or_default() += 1;
        } else if at >= self.ends {
            self.first_call.get_or_insert(at);
        }
    }

    fn step(&mut self, at: Instant, worker: u32, action: Action) {
        match action {
            Action::Poll { .. }
            | Action::Update { .. }
            | Action::Extend { .. }
            | Action::Ask { .. }
            | Action::Refresh { .. }
            | Action::GiveBack { .. } => self.call(at),
            Action::Run { entry, key } | Action::Adopt { entry, key } => {
                self.entries.insert((worker, entry), key);
                let second = self.again.remove(&key);
                self.twice += usize::from(second);
                self.ran.insert(key);
            }
            Action::Discard { entry, why: Loss::GaveUp | Loss::Aborted } => {
                if let Some(key) = self.entries.remove(&(worker, entry)) {
                    self.given_up.insert(key);
                }
            }
            Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => {}
        }
    }

    fn server(&mut self, at: Instant, effect: Effect) {
        match effect {
            Effect::Scheduled { key, retry_of, .. } => {
                self.open.insert(key);
                // The retry of a lapsed task that had been run: its code is going to run again.
                if retry_of.is_some_and(|of| self.ran.contains(&of) && !self.reported.contains(&of)) {
                    self.again.insert(key);
                }
                if at < self.begins {
                    self.open_before = self.open_before.max(self.open.len());
                }
            }
            Effect::Reported { key, report, applied: true, .. } if report != Report::Yield => {
                self.reported.insert(key);
                self.open.remove(&key);
            }
            Effect::Lapsed { key, .. } | Effect::Cancelled { key, .. } => {
                self.open.remove(&key);
            }
            Effect::Delivered { .. }
            | Effect::Extended { .. }
            | Effect::Reported { .. }
            | Effect::TokenIssued { .. }
            | Effect::Unauthorized { .. } => {}
        }
        if at >= self.ends && self.open.len() <= self.open_before {
            self.recovered.get_or_insert(at);
        }
    }
}

impl Watcher for Tally {
    fn on(&mut self, event: &Event) -> bool {
        match *event {
            Event::Step { at, worker, action, .. } => self.step(at, worker, action),
            Event::Server { at, effect } => self.server(at, effect),
            Event::Started { .. }
            | Event::Crashed { .. }
            | Event::Stored { .. }
            | Event::Kept { .. }
            | Event::Buried { .. }
            | Event::Fault { .. }
            | Event::Healed { .. } => {}
        }
        true
    }
}

/// The heads of the columns.
const HEADS: [&str; 8] = [
    "scenario",
    "policy",
    "peak calls/s",
    "mean calls/s",
    "results lost",
    "run twice",
    "first call after",
    "recovered after",
];

fn cells(row: &Row) -> [String; 8] {
    let seconds = |millis: Option<u64>| {
        millis.map_or_else(
            || "never".to_owned(),
            |millis| format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        )
    };
    let mean = row.mean_calls_per_ten_seconds;
    [
        row.scenario.clone(),
        row.policy.to_owned(),
        row.peak_calls_per_second.to_string(),
        format!("{}.{}", mean / 10, mean % 10),
        row.results_lost.to_string(),
        row.run_twice.to_string(),
        seconds(row.first_call_ms),
        seconds(row.recovered_ms),
    ]
}

/// Returns the table for a terminal.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .enumerate()
            .map(|(at, cell)| {
                let width = lines.iter().filter_map(|line| line.get(at)).map(String::len).max().unwrap_or(0);
                if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            })
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Returns the table for a document.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEADS.map(str::to_owned));
    text.push_str("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for row in rows {
        text.push_str(&line(&cells(row)));
    }
    text
}
