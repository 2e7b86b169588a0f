//! Reading a record.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use downbeat_core::machine::Policy;
use downbeat_core::record::VERSION;

use super::line::{Header, Line, Liner, events_of};
use super::write::header;
use crate::event::Event;
use crate::mutants::Machines;
use crate::scenario::Scenario;
use crate::world::Watcher;

/// A record, as far as it can be read.
#[derive(Debug)]
pub struct Record {
    /// Where it came from, for messages.
    pub name: String,
    /// Its lines, without the empty ones. The first is a header.
    pub entries: Vec<Entry>,
    /// The last line is cut off: the writer was stopped while it wrote.
    pub truncated: bool,
}

/// A line and its number.
#[derive(Debug)]
pub struct Entry {
    /// From 1.
    pub number: usize,
    /// The line.
    pub line: Line,
}

/// A record that cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The file cannot be opened or read.
    Io {
        /// Which file.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// A line is not one of a record.
    Line {
        /// Which file.
        name: String,
        /// Which line, from 1.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { name, error } => write!(f, "{name} cannot be read: {error}"),
            Self::Line { name, number, what } => write!(f, "{name}:{number}: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads a file.
///
/// # Errors
/// The file cannot be read, or one of its lines is none of a record. A last line that is cut off is no error.
pub fn read(path: &Path) -> Result<Record, ReadError> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Record::from_lines(name, BufReader::new(file)),
        Err(error) => Err(ReadError::Io { name, error }),
    }
}

impl Record {
    /// Reads lines.
    ///
    /// # Errors
    /// As [`read`].
    pub fn from_lines(name: String, mut input: impl BufRead) -> Result<Self, ReadError> {
        let mut record = Self { name, entries: Vec::new(), truncated: false };
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let read = input.read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| ReadError::Io { name: record.name.clone(), error })?;
            if read == 0 {
                break;
            }
            let whole = bytes.ends_with(b"\n");
            let text = String::from_utf8_lossy(&bytes);
            if text.trim().is_empty() {
                continue;
            }
            match record.check(text.trim_end()) {
                Ok(line) => record.entries.push(Entry { number, line }),
                Err(_) if !whole && !record.entries.is_empty() => record.truncated = true,
                Err(what) => return Err(ReadError::Line { name: record.name, number, what }),
            }
        }
        if record.entries.is_empty() {
            let what = "the record is empty: its first line must be a header".to_owned();
            return Err(ReadError::Line { name: record.name, number: 1, what });
        }
        Ok(record)
    }

    fn check(&self, text: &str) -> Result<Line, String> {
        if self.entries.is_empty() && !text.contains("\"downbeat_record\"") {
            return Err("not a record: its first line has no key `downbeat_record`".to_owned());
        }
        let line = Line::parse(text).map_err(|error| match version(text) {
            Some(version) if version != VERSION => other_version(version),
            _ => {
                let (column, what) = (error.column(), error.to_string());
                let what = what.split(" at line ").next().unwrap_or_default();
                format!("not a line of a record: {what} (column {column})")
            }
        })?;
        let workers = self.workers();
        match &line {
            Line::Header(header) if header.downbeat_record != VERSION => {
                Err(other_version(header.downbeat_record))
            }
            Line::Step(step) => {
                let known = |worker: Option<u32>| worker.is_none_or(|worker| worker < workers);
                if !known(step.w) || !known(step.to) {
                    return Err(format!(
                        "a step of a worker that the header does not name: it names {workers}"
                    ));
                }
                if self.has_hub() {
                    let sound = step.hub_input().is_some() && step.hub_action().is_some();
                    return if sound {
                        Ok(line)
                    } else {
                        Err("no step of a hub: `w` or `for` is missing".to_owned())
                    };
                }
                if step.w.is_none() || step.to.is_some() {
                    return Err("no step of a machine: it has `w` and no `for`".to_owned());
                }
                Ok(line)
            }
            Line::Start { w, .. } if *w >= workers => {
                Err(format!("a worker that the header does not name: it names {workers}"))
            }
            Line::Header(_) | Line::Gap(_) | Line::Start { .. } | Line::Event(_) | Line::Violation { .. } => {
                Ok(line)
            }
        }
    }

    /// The header of the first segment.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.entries
            .first()
            .and_then(|entry| if let Line::Header(header) = &entry.line { Some(&**header) } else { None })
    }

    fn has_hub(&self) -> bool {
        self.header().is_some_and(|header| header.hub.is_some())
    }

    /// How many workers the header names.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.header().map_or(0, |header| header.workers.iter().map(|group| group.count).sum())
    }

    /// The number of the hub among the workers of the events, where there is one: it follows the last worker.
    #[must_use]
    pub fn hub(&self) -> Option<u32> {
        self.has_hub().then(|| self.workers())
    }

    /// Each worker's policy and capacity, by number.
    pub fn cast(&self) -> impl Iterator<Item = (Policy, u16)> + '_ {
        let groups = self.header().map_or(&[][..], |header| &header.workers);
        groups
            .iter()
            .flat_map(|group| std::iter::repeat_n((group.policy, group.capacity), group.count as usize))
    }

    /// What happened, with the number of the line that tells it.
    pub fn events(&self) -> impl Iterator<Item = (usize, Event)> + '_ {
        self.entries.iter().flat_map(|entry| self.events_of(entry).map(move |event| (entry.number, event)))
    }

    /// What one line tells: at most two events.
    pub fn events_of(&self, entry: &Entry) -> impl Iterator<Item = Event> + use<> {
        let (step, other) = match &entry.line {
            Line::Step(step) => (Some(events_of(step, self.hub())), None),
            Line::Start { t, w, .. } => (None, Some(Event::Started { at: *t, worker: *w })),
            Line::Event(event) => (None, Some(*event)),
            Line::Header(_) | Line::Gap(_) | Line::Violation { .. } => (None, None),
        };
        step.into_iter().flatten().chain(other)
    }

    /// The record of a run of a scenario, without a file between. All oracles judge it; the first broken rule ends it.
    #[must_use]
    pub fn of_run(scenario: &Scenario) -> Self {
        Self::of_run_with(Machines::SOUND, scenario)
    }

    /// As [`Record::of_run`], with machines of this kind.
    #[must_use]
    pub fn of_run_with(machines: Machines, scenario: &Scenario) -> Self {
        struct Keeper {
            entries: Vec<Entry>,
            liner: Liner,
        }

        impl Watcher for Keeper {
            fn on(&mut self, event: &Event) -> bool {
                let line = self.liner.line(event);
                self.entries.push(Entry { number: self.entries.len() + 1, line });
                true
            }
        }

        let first = Entry { number: 1, line: Line::Header(Box::new(header(scenario))) };
        let mut keeper = Keeper { entries: vec![first], liner: Liner::new(scenario) };
        let trial = machines.run(scenario, &mut [&mut keeper]);
        if let Some(violation) = &trial.violation {
            let line = Line::violation(violation);
            keeper.entries.push(Entry { number: keeper.entries.len() + 1, line });
        }
        Self { name: scenario.name.clone(), entries: keeper.entries, truncated: false }
    }
}

fn version(text: &str) -> Option<u32> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value.get("downbeat_record")?.as_u64().and_then(|version| u32::try_from(version).ok())
}

fn other_version(version: u32) -> String {
    format!(
        "the record is of version {version}; this program reads version {VERSION} (docs/timelines.md says which reads which)"
    )
}
