//! The record of a run, as JSON Lines: what a driver told a machine or a hub, and what was answered.
//!
//! A record is a sequence of segments, each of which can be read by itself. A segment begins with a
//! [`Header`]; a [`Step`] follows for each call of `step`, in order. Where steps are missing stands a
//! [`Gap`]. The simulator adds lines of its own, which docs/timelines.md describes. No line holds an input,
//! an output, a token or a reason of a failure: the machine has none of them.
//!
//! ```text
//! {"downbeat_record":2,"program":"downbeat 0.1.0","segment":0,"seed":7,"workers":[{"name":"greet", …}],"hub":{…}}
//! {"t":0,"in":"tick","for":0,"do":{"poll":{"call":1,"count":1,"wait":0}}}
//! {"t":4100,"w":0,"in":{"replied":{"call":1,"reply":{"Ok":"done"}}},"do":{"wait":{"until":4200,"why":"empty"}}}
//! ```
//!
//! Times and lengths are whole microseconds; an entry is `[index, generation]`, a task's key a UUID.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::machine::{Action, Control, EntryId, HubAction, HubInput, Input, Instant, Policy, TaskKey};

/// The version of the format that this crate writes. It grows when an old reader would misread a new record, or when the
/// machine answers otherwise than it did. Version 2 has questions, lapses, refused results and their reasons.
pub const VERSION: u32 = 2;

/// The first line of a segment.
///
/// `T` is a text, `G` a list of [`Group`]s, `H` a [`Hub`](crate::machine::Hub), `S` a scenario: owned where a record
/// is read, borrowed where it is written.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Header<T, G, H, S> {
    /// The format's version; that this key comes first tells a segment's start from other lines.
    pub downbeat_record: u32,
    /// Who writes, with its version: `downbeat 0.1.0`.
    pub program: T,
    /// The commit that the program is built from; empty if it does not know.
    pub commit: T,
    /// The number of the segment, from 0.
    pub segment: u32,
    /// The seed of the hub's jitter, or of the scenario.
    pub seed: u64,
    /// When `t` was zero, in milliseconds since 1970; absent for virtual time.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub epoch_ms: Option<u64>,
    /// The workers, by number: groups of equal ones, in order.
    pub workers: G,
    /// The hub's state before the first step of this segment. Its workers are those of `workers`, in order.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub hub: Option<H>,
    /// The scenario, if the record is of a simulation.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub scenario: Option<S>,
}

/// A group of equal workers.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Group<T> {
    /// The task type.
    pub name: T,
    /// How many workers.
    pub count: u32,
    /// Entries in the table of each.
    pub capacity: u16,
    /// The policy of each.
    pub policy: Policy,
}

/// One step, of a machine without a hub or of a hub.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, on the clock of the run.
    pub t: Instant,
    /// The process whose hub made the step, if the record is of several; absent for the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<u32>,
    /// Which worker was told something; absent for the hub itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<u32>,
    /// The worker's own clock, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l: Option<Instant>,
    /// What it was told.
    #[serde(rename = "in")]
    pub input: Input,
    /// For which worker a hub's answer is; absent for the hub itself, and always if there is none.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// What it answered.
    #[serde(rename = "do")]
    pub action: Action,
}

/// Steps are missing here: the writer could not keep up. What follows can be replayed from the next segment on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// When, on the clock of the run.
    pub t: Instant,
    /// How many steps.
    pub gap: u64,
}

impl Step {
    /// Makes a step of a machine without a hub.
    #[must_use]
    pub fn from_machine(t: Instant, worker: u32, local: Instant, input: Input, action: Action) -> Self {
        Self { t, p: None, w: Some(worker), l: (local != t).then_some(local), input, to: None, action }
    }

    /// Makes a step of a hub.
    #[must_use]
    pub fn from_hub(t: Instant, input: HubInput, action: HubAction) -> Self {
        let (w, input) = match input {
            HubInput::Tick => (None, Input::Tick),
            HubInput::Worker { worker, input } => (Some(u32::from(worker)), input),
            HubInput::Refreshed { call, reply } => (None, Input::Replied { call, reply }),
            HubInput::Control(control) => (None, Input::Control(control)),
        };
        let (to, action) = match action {
            HubAction::Worker { worker, action } => (Some(u32::from(worker)), action),
            HubAction::Refresh { call } => (None, Action::Refresh { call }),
            HubAction::Wait { until, why } => (None, Action::Wait { until, why }),
            HubAction::Stopped => (None, Action::Stopped),
        };
        Self { t, p: None, w, l: None, input, to, action }
    }

    /// Returns the time on the clock of the machine.
    #[must_use]
    pub fn local(&self) -> Instant {
        self.l.unwrap_or(self.t)
    }

    /// Returns what the hub was told, or `None` if no hub can be told that.
    #[must_use]
    pub fn hub_input(&self) -> Option<HubInput> {
        match (self.w, self.input) {
            (Some(worker), input) => {
                u16::try_from(worker).ok().map(|worker| HubInput::Worker { worker, input })
            }
            (None, Input::Tick) => Some(HubInput::Tick),
            (None, Input::Replied { call, reply }) => Some(HubInput::Refreshed { call, reply }),
            (None, Input::Control(control)) => Some(HubInput::Control(control)),
            (
                None,
                Input::Leased { .. } | Input::Recovered { .. } | Input::Finished { .. } | Input::Token(_),
            ) => None,
        }
    }

    /// Returns what the hub answered, or `None` if no hub answers that.
    #[must_use]
    pub fn hub_action(&self) -> Option<HubAction> {
        if let Some(worker) = self.to {
            let worker = u16::try_from(worker).ok()?;
            return Some(HubAction::Worker { worker, action: self.action });
        }
        match self.action {
            Action::Refresh { call } => Some(HubAction::Refresh { call }),
            Action::Wait { until, why } => Some(HubAction::Wait { until, why }),
            Action::Stopped => Some(HubAction::Stopped),
            Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Extend { .. }
            | Action::Ask { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. } => None,
        }
    }

    /// Returns whether the step tells of a decision from outside, such as a drain.
    #[must_use]
    pub fn control(&self) -> Option<Control> {
        if let Input::Control(control) = self.input { Some(control) } else { None }
    }
}

/// A hub or a scenario that a header lacks is no error, whatever its type.
fn none<T>() -> Option<T> {
    None
}

// -------------------------------------------------------------------- how the machine's words are written

impl From<EntryId> for (u16, u16) {
    fn from(entry: EntryId) -> Self {
        (entry.index(), entry.generation())
    }
}

impl From<(u16, u16)> for EntryId {
    fn from((index, generation): (u16, u16)) -> Self {
        Self::new(index, generation)
    }
}

impl Serialize for TaskKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Uuid;

        impl de::Visitor<'_> for Uuid {
            type Value = TaskKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TaskKey, E> {
                TaskKey::from_uuid(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Uuid)
    }
}

/// A length of time as whole microseconds; a longer one than 584,000 years counts as that.
pub(crate) mod span {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(crate::machine::micros(*span))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// A length of time that may be absent.
pub(crate) mod maybe_span {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(crate::machine::micros).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}

/// Four lengths of time.
pub(crate) mod spans {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(spans: &[Duration; 4], serializer: S) -> Result<S::Ok, S::Error> {
        spans.map(crate::machine::micros).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[Duration; 4], D::Error> {
        Ok(<[u64; 4]>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}
