//! How the workers of a scenario behave, as far as that differs from what is usual.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;

/// A policy: one of the two presets, with changes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChoice {
    /// What the changes are made to.
    #[serde(default)]
    pub preset: Preset,
    /// `max_calls`: calls in flight at once. At least 1. Default 4, and in a process as many as the process
    /// may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub lanes: Option<u16>,
    /// The longest delay between polls of an empty queue; above zero, at most 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<Span>,
    /// How long the server may hold a poll; 0 to 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_poll: Option<Span>,
    /// How long a call may take at the most; more than the way there and back, at most 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_timeout: Option<Span>,
    /// Report with `update-v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_next: Option<bool>,
    /// Extend leases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extend: Option<bool>,
    /// There is durable storage for results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<bool>,
    /// When a result is written to the store; default `finish`, as the runner has it. Without a store it has no meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
    /// How long after its end a result goes to the store, if the server has not accepted it; above zero, at most 30d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_after: Option<Span>,
    /// How long a call may take that carries a result or brings tasks; as `call_timeout`, at most 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_timeout: Option<Span>,
    /// How often the server is asked whether a running task is still wanted; at most 30d, and `0s` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_interval: Option<Span>,
    /// What becomes of a run whose lease is over: it goes on, or is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_lapse: Option<OnLapse>,
    /// How long a drain waits for running tasks; at most 30d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Span>,
    /// The longest delay after failed polls; at least the first one (250ms), at most 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_cap: Option<Span>,
}

/// When a driver with a store writes a result there.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Journal {
    /// Before the machine knows that the task has ended, so before its first report.
    #[default]
    Finish,
    /// When its first report has failed, before the machine knows of that.
    Failure,
    /// When the machine says so.
    Off,
}

/// What becomes of a run whose lease is over.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLapse {
    /// It goes on.
    #[default]
    Finish,
    /// It is stopped.
    Stop,
}

/// The two sets of rules.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Downbeat's.
    #[default]
    Default,
    /// The Ruby SDK's, with its losses; `seed` in older files.
    #[serde(alias = "seed")]
    RubySdk,
}
