//! Counters for each second of a run, as comma-separated values.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use downbeat_core::machine::{Action, CallId, Fault, Input, TaskKey};

use crate::event::{Effect, Event, Report};
use crate::record::Record;

/// The columns, in order. Those up to `lapsed` count what happened in that second; the rest stands at its end.
const COLUMNS: [&str; 26] = [
    "second",
    "calls",
    "polls",
    "empty_polls",
    "updates",
    "extends",
    "asks",
    "refreshes",
    "give_backs",
    "failed_calls",
    "unreachable",
    "runs_started",
    "runs_ended",
    "accepted",
    "stored",
    "journaled",
    "dead_letters",
    "discarded",
    "scheduled",
    "lapsed",
    "cancelled",
    "lapses_known",
    "adopted",
    "running",
    "held",
    "open_tasks",
];

#[derive(Default)]
struct Tally {
    counts: BTreeMap<&'static str, u64>,
    polls: BTreeMap<(u32, CallId), u32>,
    /// Reports in flight: the entry, and whether they go to the server.
    reports: BTreeMap<(u32, CallId), (u16, bool)>,
    entries: BTreeMap<(u32, u16), bool>,
    open: BTreeSet<TaskKey>,
}

/// Writes one line for each second from 0 to the end.
pub(super) fn write(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))?;
    let mut tally = Tally::default();
    let mut second = 0;
    for (_, event) in record.events() {
        let now = event.at().as_micros() / 1_000_000;
        while second < now {
            tally.flush(second, out)?;
            second += 1;
        }
        tally.on(&event);
    }
    tally.flush(second, out)
}

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn flush(&mut self, second: u64, out: &mut dyn Write) -> io::Result<()> {
        let running = self.entries.values().filter(|running| **running).count() as u64;
        let now = [
            ("second", second),
            ("running", running),
            ("held", self.entries.len() as u64),
            ("open_tasks", self.open.len() as u64),
        ];
        self.counts.extend(now);
        let value = |column: &&str| self.counts.get(*column).copied().unwrap_or(0).to_string();
        let line: Vec<String> = COLUMNS.iter().map(value).collect();
        self.counts.clear();
        writeln!(out, "{}", line.join(","))
    }

    fn on(&mut self, event: &Event) {
        match event {
            Event::Step { worker, input, action, .. } => {
                self.input(*worker, input);
                self.action(*worker, action);
            }
            Event::Started { worker, .. } | Event::Crashed { worker, .. } => {
                self.entries.retain(|(of, _), _| of != worker);
            }
            Event::Stored { .. } => self.count("stored"),
            Event::Kept { .. } => self.count("journaled"),
            Event::Buried { .. } => self.count("dead_letters"),
            Event::Server { effect, .. } => self.effect(effect),
            Event::Fault { .. } | Event::Healed { .. } => {}
        }
    }

    fn input(&mut self, worker: u32, input: &Input) {
        match input {
            Input::Leased { call, .. } => {
                if let Some(brought) = self.polls.get_mut(&(worker, *call)) {
                    *brought += 1;
                }
            }
            Input::Replied { call, reply } => {
                let brought = self.polls.remove(&(worker, *call));
                let report = self.reports.remove(&(worker, *call));
                if let (Some((index, _)), Ok(_)) = (report, reply) {
                    self.entries.remove(&(worker, index));
                }
                match reply {
                    Ok(_) if brought == Some(0) => self.count("empty_polls"),
                    Ok(_) if report.is_some_and(|(_, to_server)| to_server) => self.count("accepted"),
                    Ok(_) => {}
                    Err(error) => {
                        self.count("failed_calls");
                        if matches!(error.fault, Fault::NotSent | Fault::Unknown | Fault::Slow) {
                            self.count("unreachable");
                        }
                    }
                }
            }
            Input::Finished { entry, .. } => {
                if let Some(running) = self.entries.get_mut(&(worker, entry.index())) {
                    *running = false;
                }
                self.count("runs_ended");
            }
            Input::Tick | Input::Recovered { .. } | Input::Token(_) | Input::Control(_) => {}
        }
    }

    fn action(&mut self, worker: u32, action: &Action) {
        match action {
            Action::Run { entry, .. } => {
                self.entries.insert((worker, entry.index()), true);
                self.count("runs_started");
            }
            Action::Discard { entry, .. } => {
                self.entries.remove(&(worker, entry.index()));
                self.count("discarded");
            }
            Action::Poll { call, .. } => {
                self.polls.insert((worker, *call), 0);
                self.sent("polls");
            }
            Action::Update { call, entry, .. } => {
                self.reports.insert((worker, *call), (entry.index(), true));
                self.sent("updates");
            }
            Action::Spill { call, entry, .. } => {
                self.reports.insert((worker, *call), (entry.index(), false));
            }
            Action::Extend { .. } => self.sent("extends"),
            Action::Refresh { .. } => self.sent("refreshes"),
            Action::GiveBack { .. } => self.sent("give_backs"),
            Action::Ask { .. } => self.sent("asks"),
            Action::Lapsed { .. } => self.count("lapses_known"),
            Action::Adopt { .. } => self.count("adopted"),
            Action::Ignore { .. } | Action::Recall { .. } | Action::Wait { .. } | Action::Stopped => {}
        }
    }

    fn sent(&mut self, what: &'static str) {
        self.count("calls");
        self.count(what);
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Scheduled { key, .. } => {
                self.open.insert(*key);
                self.count("scheduled");
            }
            Effect::Lapsed { key, .. } => {
                self.open.remove(key);
                self.count("lapsed");
            }
            Effect::Reported { key, report, applied: true, .. } if *report != Report::Yield => {
                self.open.remove(key);
            }
            Effect::Cancelled { key, .. } => {
                self.open.remove(key);
                self.count("cancelled");
            }
            Effect::Reported { .. }
            | Effect::Delivered { .. }
            | Effect::Extended { .. }
            | Effect::TokenIssued { .. }
            | Effect::Unauthorized { .. } => {}
        }
    }
}
