//! The lines of a record.

use std::collections::BTreeMap;

use downbeat_core::machine::{self, Instant, TaskKey};
use downbeat_core::record::{self, Gap, Group, Step};
use serde::{Deserialize, Serialize};

use crate::event::{Effect, Event, HubStep};
use crate::oracle::Violation;
use crate::scenario::{FaultKind, Scenario, machine_seed};

/// The first line of a segment, as it is read.
pub type Header = record::Header<String, Vec<Group<String>>, BoxedHub, Scenario>;

/// A hub as the runner has it.
pub type BoxedHub = machine::Hub<Box<[machine::Member<Slots>]>, Slots>;

type Slots = Box<[machine::Entry]>;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A segment begins.
    Header(Box<Header>),
    /// A step of a machine or of a hub.
    Step(Step),
    /// Steps are missing.
    Gap(Gap),
    /// A worker's process starts, with a machine of its group's policy and of this seed; or, behind its workers, the
    /// hub that holds them.
    Start {
        /// When.
        t: Instant,
        /// Which worker, or hub.
        w: u32,
        /// The seed of its jitter.
        seed: u64,
    },
    /// Anything else that happened: neither a step nor a start.
    Event(Event),
    /// An oracle found a rule broken.
    Violation {
        /// When.
        t: Instant,
        /// Which rule and how.
        broken: BrokenRule,
    },
}

/// Reads a header. The state of a hub of an older version is another than a hub's of today, and is left out.
fn header(text: &str) -> Result<Header, serde_json::Error> {
    let error = match serde_json::from_str(text) {
        Ok(header) => return Ok(header),
        Err(error) => error,
    };
    let Ok(serde_json::Value::Object(mut words)) = serde_json::from_str(text) else { return Err(error) };
    let version = words.get("downbeat_record").and_then(serde_json::Value::as_u64);
    if version != Some(1) || words.remove("hub").is_none() {
        return Err(error);
    }
    serde_json::from_value(serde_json::Value::Object(words)).map_err(|_| error)
}

/// What an oracle said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BrokenRule {
    /// The rule's number and name.
    pub rule: String,
    /// Which worker, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<u32>,
    /// What happened.
    pub what: String,
}

/// A line of the simulator's own, as it is written.
#[derive(Deserialize, Serialize)]
struct Note {
    t: Instant,
    #[serde(flatten)]
    what: LineBody,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum LineBody {
    Start { w: u32, seed: u64 },
    Crash { w: u32 },
    Stored { w: u32, key: TaskKey },
    Kept { w: u32, key: TaskKey },
    Buried { w: u32, key: TaskKey },
    Server(Effect),
    Fault { index: u32, kind: FaultKind, begins: bool },
    Healed {},
    Violation(BrokenRule),
}

impl Line {
    /// Reads one line.
    ///
    /// # Errors
    /// It is not a line of a record; the error names the column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.contains("\"downbeat_record\"") {
            return header(text).map(|header| Self::Header(Box::new(header)));
        }
        if text.contains("\"do\"") {
            return serde_json::from_str(text).map(Self::Step);
        }
        if text.contains("\"gap\"") {
            return serde_json::from_str(text).map(Self::Gap);
        }
        let Note { t, what } = serde_json::from_str(text)?;
        let at = t;
        Ok(match what {
            LineBody::Start { w, seed } => Self::Start { t, w, seed },
            LineBody::Crash { w } => Self::Event(Event::Crashed { at, worker: w }),
            LineBody::Stored { w, key } => Self::Event(Event::Stored { at, worker: w, key }),
            LineBody::Kept { w, key } => Self::Event(Event::Kept { at, worker: w, key }),
            LineBody::Buried { w, key } => Self::Event(Event::Buried { at, worker: w, key }),
            LineBody::Server(effect) => Self::Event(Event::Server { at, effect }),
            LineBody::Fault { index, kind, begins } => Self::Event(Event::Fault { at, index, kind, begins }),
            LineBody::Healed {} => Self::Event(Event::Healed { at }),
            LineBody::Violation(broken) => Self::Violation { t, broken },
        })
    }

    /// Makes the line that tells of a broken rule.
    #[must_use]
    pub fn violation(found: &Violation) -> Self {
        let (rule, what) = (found.oracle.to_owned(), found.what.clone());
        Self::Violation { t: found.at, broken: BrokenRule { rule, w: found.worker, what } }
    }

    /// Writes the line, without its end.
    ///
    /// # Errors
    /// Never for the lines that this program makes.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let note = |t: &Instant, what| serde_json::to_string(&Note { t: *t, what });
        match self {
            Self::Header(header) => serde_json::to_string(header),
            Self::Step(step) => serde_json::to_string(step),
            Self::Gap(gap) => serde_json::to_string(gap),
            Self::Start { t, w, seed } => note(t, LineBody::Start { w: *w, seed: *seed }),
            Self::Violation { t, broken } => note(t, LineBody::Violation(broken.clone())),
            Self::Event(event) => match *event {
                Event::Step { at, worker, local, input, action } => {
                    serde_json::to_string(&Step::from_machine(at, worker, local, input, action))
                }
                // A start without its seed cannot be replayed; `Recorder` writes it with the seed.
                Event::Started { at, worker } => note(&at, LineBody::Start { w: worker, seed: 0 }),
                Event::Crashed { at, worker } => note(&at, LineBody::Crash { w: worker }),
                Event::Stored { at, worker, key } => note(&at, LineBody::Stored { w: worker, key }),
                Event::Kept { at, worker, key } => note(&at, LineBody::Kept { w: worker, key }),
                Event::Buried { at, worker, key } => note(&at, LineBody::Buried { w: worker, key }),
                Event::Server { at, effect } => note(&at, LineBody::Server(effect)),
                Event::Fault { at, index, kind, begins } => {
                    note(&at, LineBody::Fault { index, kind, begins })
                }
                Event::Healed { at } => note(&at, LineBody::Healed {}),
            },
        }
    }

    /// Returns when it was written, or `None` for a header.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        match self {
            Self::Header(_) => None,
            Self::Step(step) => Some(step.t),
            Self::Gap(gap) => Some(gap.t),
            Self::Start { t, .. } | Self::Violation { t, .. } => Some(*t),
            Self::Event(event) => Some(event.at()),
        }
    }
}

/// Makes lines of the events of a simulated run.
pub(crate) struct Liner {
    seed: u64,
    /// How often each worker has started.
    lives: BTreeMap<u32, u32>,
    /// The number of the first hub.
    first: u32,
    /// Whether a step of a hub has to say whose it is. It has not if there is one hub and no worker without
    /// it.
    names_hubs: bool,
}

impl Liner {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let first = u32::try_from(scenario.worker_count()).unwrap_or(u32::MAX);
        let hubs: u32 = scenario.processes.iter().map(|process| process.count).sum();
        let alone = scenario.workers.iter().any(|group| group.process.is_none());
        Self { seed: scenario.seed, lives: BTreeMap::new(), first, names_hubs: hubs > 1 || alone }
    }

    /// The line of a hub's step, in the form of the runner's.
    pub(crate) fn hub_line(&self, step: &HubStep) -> Line {
        let HubStep { at: t, local, told: w, input, to, action, hub } = *step;
        let p = self.names_hubs.then(|| hub.saturating_sub(self.first));
        Line::Step(Step { t, p, w, l: (local != t).then_some(local), input, to, action })
    }

    pub(crate) fn line(&mut self, event: &Event) -> Line {
        match *event {
            Event::Step { at, worker, local, input, action } => {
                Line::Step(Step::from_machine(at, worker, local, input, action))
            }
            Event::Started { at, worker } => {
                let life = self.lives.entry(worker).or_default();
                *life += 1;
                Line::Start { t: at, w: worker, seed: machine_seed(self.seed, worker, *life - 1) }
            }
            Event::Crashed { .. }
            | Event::Stored { .. }
            | Event::Kept { .. }
            | Event::Buried { .. }
            | Event::Server { .. }
            | Event::Fault { .. }
            | Event::Healed { .. } => Line::Event(*event),
        }
    }
}
