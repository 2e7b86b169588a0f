//! Reading a record.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use downbeat_core::machine::{HubPolicy, Policy};
use downbeat_core::record::{Step, VERSION};

use super::line::{Header, Line};
use crate::event::{Event, HubStep};
use crate::scenario::Hub;

/// A record, as far as it can be read.
#[derive(Debug)]
pub struct Record {
    /// Where it came from, for messages.
    pub name: String,
    /// Its lines, without the empty ones. The first is a header.
    pub entries: Vec<Entry>,
    /// The last line is cut off: the writer was stopped while it wrote.
    pub truncated: bool,
    /// Who is behind which hub.
    pub hubs: Hubs,
}

/// The hubs of a record; none if no worker has one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hubs {
    /// In the order of their numbers.
    pub list: Vec<Hub>,
    /// There are workers without a hub.
    pub loners: bool,
}

impl Hubs {
    pub(crate) fn from_header(header: &Header) -> Self {
        let workers: u32 = header.workers.iter().map(|group| group.count).sum();
        // The runner writes its hub's state, the simulator its scenario.
        if let Some(hub) = &header.hub {
            return Self::from_policy(header, *hub.policy());
        }
        let list = header.scenario.as_ref().map_or_else(Vec::new, Hub::from_scenario);
        let held: usize = list.iter().map(|hub| hub.members.len()).sum();
        Self { loners: held < workers as usize, list }
    }

    /// One hub with all workers, as a runner has it.
    fn from_policy(header: &Header, policy: HubPolicy) -> Self {
        let workers: u32 = header.workers.iter().map(|group| group.count).sum();
        let one = Hub { number: workers, policy, members: (0..workers).collect() };
        Self { list: vec![one], loners: false }
    }

    /// Returns the hub whose step this is, or `None` for a machine without a hub.
    #[must_use]
    pub fn for_step(&self, step: &Step) -> Option<&Hub> {
        match step.p {
            Some(process) => self.list.get(process as usize),
            None if self.list.len() == 1 && !self.loners => self.list.first(),
            None => None,
        }
    }

    /// Returns the hub that holds a worker.
    #[must_use]
    pub fn for_worker(&self, worker: u32) -> Option<&Hub> {
        self.list.iter().find(|hub| hub.index(worker).is_some())
    }

    fn count(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        if step.p.is_some_and(|process| process >= self.count()) {
            let names = self.list.len();
            return Err(format!("a step of a process that the header does not name: it names {names}"));
        }
        if let Some(hub) = self.for_step(step) {
            let member = |worker: Option<u32>| worker.is_none_or(|worker| hub.index(worker).is_some());
            if !member(step.w) || !member(step.to) {
                return Err("a step of a hub for a worker that it does not have".to_owned());
            }
            // Whose it is is known by now; its index in the hub does not matter.
            let step = Step { w: step.w.map(|_| 0), to: step.to.map(|_| 0), ..*step };
            return if step.hub_input().is_some() && step.hub_action().is_some() {
                Ok(())
            } else {
                Err("no step of a hub: `w` or `for` is missing".to_owned())
            };
        }
        match (step.w, step.to) {
            (Some(worker), None) if self.for_worker(worker).is_some() => {
                Err("no step of a hub: `p` is missing, which says of which process it is".to_owned())
            }
            (Some(_), None) => Ok(()),
            _ => Err("no step of a machine: it has `w` and no `for`".to_owned()),
        }
    }
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
        let mut record = Self { name, entries: Vec::new(), truncated: false, hubs: Hubs::default() };
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
                Ok(line) => {
                    record.entries.push(Entry { number, line });
                    if record.entries.len() == 1 {
                        record.hubs = record.header().map_or_else(Hubs::default, |header| {
                            let policy = old_hub(text.trim_end()).filter(|_| header.hub.is_none());
                            policy.map_or_else(
                                || Hubs::from_header(header),
                                |policy| Hubs::from_policy(header, policy),
                            )
                        });
                    }
                }
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
            Some(version) if !(1..=VERSION).contains(&version) => other_version(version),
            _ => {
                let (column, what) = (error.column(), error.to_string());
                let what = what.split(" at line ").next().unwrap_or_default();
                format!("not a line of a record: {what} (column {column})")
            }
        })?;
        let workers = self.workers();
        match &line {
            Line::Header(header) if !(1..=VERSION).contains(&header.downbeat_record) => {
                Err(other_version(header.downbeat_record))
            }
            Line::Step(step) => {
                let known = |worker: Option<u32>| worker.is_none_or(|worker| worker < workers);
                if !known(step.w) || !known(step.to) {
                    return Err(format!(
                        "a step of a worker that the header does not name: it names {workers}"
                    ));
                }
                self.hubs.check(step).map(|()| line)
            }
            Line::Start { w, .. } if *w >= workers + self.hubs.count() => {
                Err(format!("a worker that the header does not name: it names {workers}"))
            }
            Line::Header(_) | Line::Gap(_) | Line::Start { .. } | Line::Event(_) | Line::Violation { .. } => {
                Ok(line)
            }
        }
    }

    /// Returns the header of the first segment.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.entries
            .first()
            .and_then(|entry| if let Line::Header(header) = &entry.line { Some(&**header) } else { None })
    }

    /// Returns whether the machine's rules have changed since it was written: it can be read, and not
    /// replayed.
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.header().is_some_and(|header| header.downbeat_record < VERSION)
    }

    /// Returns how many workers the header names.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.header().map_or(0, |header| header.workers.iter().map(|group| group.count).sum())
    }

    /// Returns a line as the step of a hub, if it is one.
    #[must_use]
    pub fn hub_step(&self, line: &Line) -> Option<HubStep> {
        let Line::Step(step) = line else { return None };
        let hub = self.hubs.for_step(step)?.number;
        let Step { t: at, w: told, input, to, action, .. } = *step;
        Some(HubStep { at, hub, local: step.local(), told, input, to, action })
    }

    /// Returns each worker's policy and capacity, by number.
    pub fn cast(&self) -> impl Iterator<Item = (Policy, u16)> + '_ {
        let groups = self.header().map_or(&[][..], |header| &header.workers);
        groups
            .iter()
            .flat_map(|group| std::iter::repeat_n((group.policy, group.capacity), group.count as usize))
    }

    /// Returns what happened, with the number of the line that tells it.
    pub fn events(&self) -> impl Iterator<Item = (usize, Event)> + '_ {
        self.entries.iter().flat_map(|entry| self.events_of(entry).map(move |event| (entry.number, event)))
    }

    /// Returns what one line tells: at most two events.
    pub fn events_of(&self, entry: &Entry) -> impl Iterator<Item = Event> + use<> {
        let hub = self.hub_step(&entry.line);
        let other = match &entry.line {
            Line::Step(_) if hub.is_some() => None,
            Line::Step(step) => {
                let Step { t: at, w, input, action, .. } = *step;
                w.map(|worker| Event::Step { at, worker, local: step.local(), input, action })
            }
            Line::Start { t, w, .. } => Some(Event::Started { at: *t, worker: *w }),
            Line::Event(event) => Some(*event),
            Line::Header(_) | Line::Gap(_) | Line::Violation { .. } => None,
        };
        hub.into_iter().flat_map(|step| step.events()).chain(other)
    }
}

/// The policy of the hub of an older record, whose state is another than the hub's of today.
fn old_hub(text: &str) -> Option<HubPolicy> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::from_value(value.get("hub")?.get("policy")?.clone()).ok()
}

fn version(text: &str) -> Option<u32> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value.get("downbeat_record")?.as_u64().and_then(|version| u32::try_from(version).ok())
}

fn other_version(version: u32) -> String {
    format!(
        "the record is of version {version}; this program reads versions 1 to {VERSION} (docs/timelines.md says which reads which)"
    )
}
