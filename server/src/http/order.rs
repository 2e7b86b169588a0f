//! Orders of faults, as the control endpoint takes and shows them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conductor::Status;
use super::faults::{ActiveFault, CallKind, Fault, FaultBody, FaultKind};

const WORDS: [(&str, FaultKind); 18] = [
    ("down", FaultKind::Down),
    ("reset", FaultKind::Reset),
    ("slow", FaultKind::Slow),
    ("slow_answer", FaultKind::SlowAnswer),
    ("lost_request", FaultKind::LostRequest),
    ("lost_answer", FaultKind::LostAnswer),
    ("cut", FaultKind::Cut),
    ("html", FaultKind::Html),
    ("garbage", FaultKind::Garbage),
    ("truncated", FaultKind::Truncated),
    ("nothing", FaultKind::Nothing),
    ("empty", FaultKind::Empty),
    ("null", FaultKind::Null),
    ("malformed_task", FaultKind::MalformedTask),
    ("no_id", FaultKind::NoId),
    ("wrong_type", FaultKind::WrongType),
    ("over_deliver", FaultKind::OverDeliver),
    ("duplicate", FaultKind::Duplicate),
];

impl FaultKind {
    /// Returns the word of the control endpoint: `down`, `lost_answer`, or a status such as `503`.
    #[must_use]
    pub fn word(self) -> String {
        let known = WORDS.iter().find(|(_, kind)| *kind == self).map(|(word, _)| (*word).to_owned());
        if let Self::Status(status) = self { status.to_string() } else { known.unwrap_or_default() }
    }

    fn parse(word: &str) -> Option<Self> {
        let known = WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
        known.or_else(|| {
            let status = word.parse::<u16>().ok()?;
            (400..600).contains(&status).then_some(Self::Status(status))
        })
    }
}

impl Fault {
    /// Reads an order as `POST /control/faults` takes it.
    ///
    /// # Errors
    /// It is no JSON, or makes no sense; the text says what is allowed.
    pub fn from_json(order: &str) -> Result<Self, String> {
        serde_json::from_str::<Wire>(order).map_err(|error| error.to_string())?.read()
    }
}

/// A fault as the control endpoint takes and shows it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<CallKind>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(default)]
    with_task: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with_status: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above_bytes: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<FaultBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
}

impl Wire {
    /// The fault that is ordered, or what is wrong with the order.
    pub(super) fn read(self) -> Result<Fault, String> {
        let Some(kind) = FaultKind::parse(&self.kind) else {
            let words = WORDS.map(|(word, _)| word).join(", ");
            return Err(format!(
                "kind \"{}\" is not known; take a status from 400 to 599, or {words}",
                self.kind
            ));
        };
        let bounded = self.for_ms.is_some();
        if matches!(kind, FaultKind::Down) && !bounded {
            return Err("down needs for_ms: nothing could reach the server to end it".to_owned());
        }
        if matches!(kind, FaultKind::Reset) && !bounded && self.count.is_none() {
            return Err("reset needs for_ms or count: nothing could reach the server to end it".to_owned());
        }
        if self.percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return Err("percent must be 1 to 100".to_owned());
        }
        if self.body.is_some() && !matches!(kind, FaultKind::Status(_)) {
            return Err("body goes with a status: take a kind from 400 to 599".to_owned());
        }
        Ok(Fault {
            kind,
            lasts: self.for_ms.map(Duration::from_millis),
            count: self.count,
            percent: self.percent.unwrap_or(100),
            retry_after: self.retry_after_s,
            by: self.by_ms.map_or(Duration::from_secs(1), Duration::from_millis),
            calls: self.calls,
            task: self.task,
            with_task: self.with_task,
            with_status: self.with_status,
            above_bytes: self.above_bytes,
            body: self.body.unwrap_or_default(),
        })
    }
}

impl From<&ActiveFault> for Wire {
    fn from(active: &ActiveFault) -> Self {
        let fault = &active.fault;
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: Some(active.id),
            kind: fault.kind.word(),
            for_ms: fault.lasts.map(millis),
            count: fault.count,
            percent: Some(fault.percent),
            retry_after_s: fault.retry_after,
            by_ms: matches!(fault.kind, FaultKind::Slow | FaultKind::SlowAnswer).then(|| millis(fault.by)),
            calls: fault.calls.clone(),
            task: fault.task.clone(),
            with_task: fault.with_task,
            with_status: fault.with_status,
            above_bytes: fault.above_bytes,
            body: matches!(fault.kind, FaultKind::Status(_)).then_some(fault.body),
            hits: Some(active.hits),
        }
    }
}
