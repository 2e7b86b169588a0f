//! Every number that a person may set, with its default and its bounds.

use core::fmt;
use core::time::Duration;

use super::action::Action;
use super::backoff::Backoff;
use super::kind::Kind;
use super::time::micros;

/// The longest long poll that the server allows (R-POLL-2: more is a 400).
pub const LONG_POLL_MAX: Duration = Duration::from_secs(5);

/// The longest delay after failed authorisation.
const AUTH_MAX: Duration = Duration::from_secs(60);
/// With a journal a result is handed to the store so many times later: until then its lease is extended.
const JOURNALED_PATIENCE: u64 = 4;

/// How one worker behaves. [`Policy::default`] is Downbeat's, [`Policy::ruby_sdk`] is the Ruby class it grew out of.
///
/// Fields may be changed freely; [`Policy::check`], which every constructor calls, names the first that is out of
/// bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Policy {
    /// Which rules govern polling and giving up.
    pub rules: Rules,
    /// Tasks run at once; 1 up to the table's capacity. Default 1.
    pub concurrency: u16,
    /// Calls in flight at once; at least 1. With 1, a long poll never outlives the next obligation. Default 4.
    pub max_calls: u16,
    /// The longest delay between two polls of an empty queue; more than zero. Default 100 ms.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub poll_interval: Duration,
    /// How long the server may hold a poll once the queue has been empty for a while; 0 (no long polls) to 5 s.
    /// Default 1 s.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub long_poll: Duration,
    /// How long the driver waits for a call at the most, beyond `wait` for a poll; more than zero. It decides
    /// whether a yield may be repeated (S4). Default 10 s.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub call_timeout: Duration,
    /// How long the driver waits for calls that carry a result or bring tasks: reports of results, and polls
    /// beyond their `wait`. More than zero. Longer than `call_timeout`, because a task in an answer that
    /// nobody reads is out until its lease ends. Default 30 s.
    #[cfg_attr(
        feature = "record",
        serde(with = "crate::record::span", default = "defaults::report_timeout")
    )]
    pub report_timeout: Duration,
    /// Delays after failed polls, and between tries to reach an unreachable server. Default 250 ms to 5 s.
    pub failing: Backoff,
    /// Delays after failed authorisation, of token and calls alike. Default 2 s to 60 s.
    pub auth: Backoff,
    /// Delays of polls to an empty queue are shortened by up to this many percent; 0 to 50. Default 0.
    pub empty_jitter: u8,
    /// Delays before the 1st, 2nd, 3rd, 4th report of an outcome; the last repeats. Default 0, 10, 20, 30 s.
    #[cfg_attr(feature = "record", serde(with = "crate::record::spans"))]
    pub update: [Duration; 4],
    /// The longest `Retry-After` that is obeyed; a longer one counts as this. Default 5 min.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub retry_after_max: Duration,
    /// Report with `update-v2` if an entry is free and the poll gate is open. Default true.
    pub take_next: bool,
    /// Extend leases at 80 % of their length until the outcome is accepted. Default true.
    pub extend: bool,
    /// There is durable storage: a result that failed four times is handed to it (`Spill`). Default false.
    pub store: bool,
    /// With a store: the driver has each result there already when it tells of it, or once its first report has failed. Then a
    /// result keeps its entry, in which its lease is extended, until four times `store_after`. Default false.
    #[cfg_attr(feature = "record", serde(default))]
    pub journaled: bool,
    /// With a store, the machine hands over to it a result that the server has not accepted so long after its
    /// end, also while the server cannot be reached. The time is three times as long if the server answers
    /// and refuses this very result, four times with a journal. More than zero. Default 75 s.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span", default = "defaults::store_after"))]
    pub store_after: Duration,
    /// How often the server is asked for the state of a task that runs (`Ask`), so that one whose workflow
    /// was terminated is stopped; shortened by up to 10 %. More than zero, or `None` for never. Default 10 s.
    #[cfg_attr(
        feature = "record",
        serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
    )]
    pub ask_interval: Option<Duration>,
    /// What becomes of a run whose lease is over. Default [`OnLapse::Finish`].
    #[cfg_attr(feature = "record", serde(default))]
    pub on_lapse: OnLapse,
    /// The server wants a token. Default false.
    pub authenticated: bool,
    /// How long a token is good for if the server does not say; it is renewed at 80 %. Default 45 min.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub token_life: Duration,
    /// How long a drain waits for running tasks before they are recalled, or `None` for ever. Default 25 s.
    #[cfg_attr(
        feature = "record",
        serde(with = "crate::record::maybe_span", default, skip_serializing_if = "Option::is_none")
    )]
    pub drain_timeout: Option<Duration>,
    /// How long after the recall the worker aborts by itself. Default 4 s.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub recall_timeout: Duration,
}

/// What the token and the link go by: a worker's policy, or its hub's.
pub(crate) trait AuthPolicy {
    /// Delays after failed authorisation.
    fn auth(&self) -> &Backoff;
    /// Delays between tries to reach an unreachable server.
    fn failing(&self) -> &Backoff;
    /// How long a token is good for if the server does not say.
    fn token_life(&self) -> Duration;
    /// The longest `Retry-After` that is obeyed.
    fn retry_after_max(&self) -> Duration;
}

impl AuthPolicy for Policy {
    fn auth(&self) -> &Backoff {
        &self.auth
    }

    fn failing(&self) -> &Backoff {
        &self.failing
    }

    fn token_life(&self) -> Duration {
        self.token_life
    }

    fn retry_after_max(&self) -> Duration {
        self.retry_after_max
    }
}

/// What becomes of a run whose lease is over by the worker's own clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum OnLapse {
    /// It goes on, and its outcome is reported. If the server's retry of the task comes to this worker meanwhile, the run goes
    /// on for that (`Adopt`): there is one copy of it in this worker.
    #[default]
    Finish,
    /// It is stopped at once, and its outcome discarded: nobody else's retry runs beside it for longer than it takes to stop.
    Stop,
}

/// What a policy of an older record, which lacks the field, has there.
#[cfg(feature = "record")]
mod defaults {
    use core::time::Duration;

    use super::Policy;

    pub(super) fn report_timeout() -> Duration {
        Policy::DEFAULT.report_timeout
    }

    pub(super) fn store_after() -> Duration {
        Policy::DEFAULT.store_after
    }
}

/// Which rules govern polling and giving up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Rules {
    /// Downbeat's: docs/invariants.md holds.
    Downbeat,
    /// The Ruby class's, quirks included: one task is held until it is reported or four tries failed, failures and
    /// skipped polls count as empty ones, no lease is extended, no token refreshed. `concurrency` must be 1.
    #[cfg_attr(feature = "record", serde(alias = "seed"))]
    RubySdk,
}

impl Policy {
    /// Downbeat's policy; see the fields for each value.
    pub const DEFAULT: Self = Self {
        rules: Rules::Downbeat,
        concurrency: 1,
        max_calls: 4,
        poll_interval: Duration::from_millis(100),
        long_poll: Duration::from_secs(1),
        call_timeout: Duration::from_secs(10),
        report_timeout: Duration::from_secs(30),
        failing: Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(5), jitter: 50 },
        auth: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(60), jitter: 50 },
        empty_jitter: 0,
        update: [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(20), Duration::from_secs(30)],
        retry_after_max: Duration::from_secs(300),
        take_next: true,
        extend: true,
        store: false,
        journaled: false,
        store_after: Duration::from_secs(75),
        ask_interval: Some(Duration::from_secs(10)),
        on_lapse: OnLapse::Finish,
        authenticated: false,
        token_life: Duration::from_secs(45 * 60),
        drain_timeout: Some(Duration::from_secs(25)),
        recall_timeout: Duration::from_secs(4),
    };

    /// Makes a policy with the timing of Conductor's Ruby class `RactorTaskRunner`, reproduced to the
    /// millisecond (`tests/vectors/ruby-traces.json`).
    #[must_use]
    pub const fn ruby_sdk() -> Self {
        Self {
            rules: Rules::RubySdk,
            concurrency: 1,
            max_calls: 1,
            long_poll: Duration::ZERO,
            // It knows one limit.
            report_timeout: Self::DEFAULT.call_timeout,
            auth: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(60), jitter: 0 },
            take_next: false,
            extend: false,
            ask_interval: None,
            drain_timeout: None,
            ..Self::DEFAULT
        }
    }

    /// Returns how long a driver waits for the call that an action makes; zero for an action that makes none.
    ///
    /// `yields`: what an `Update` reports is a yield. Calls that carry a result or bring tasks have `report_timeout`, a poll
    /// its `wait` besides; the others have `call_timeout`, as a yield has, whose repeat must not come late (S4).
    #[must_use]
    pub fn time_limit(&self, action: &Action, yields: bool) -> Duration {
        if action.call().is_none() {
            return Duration::ZERO;
        }
        if let Action::Poll { wait, .. } = action {
            return self.report_timeout.saturating_add(*wait);
        }
        let carries_result = matches!(action, Action::Update { instead, .. } if !yields || instead.is_some());
        if carries_result { self.report_timeout } else { self.call_timeout }
    }

    /// How long after its end a result is handed to the store.
    pub(crate) fn stored_after(&self) -> u64 {
        micros(self.store_after).saturating_mul(if self.journaled { JOURNALED_PATIENCE } else { 1 })
    }

    /// Whether the Ruby SDK's rules govern; a machine that leaves them out decides that when it is compiled.
    pub(crate) fn is_ruby<M: Kind>(&self) -> bool {
        M::RUBY && self.rules == Rules::RubySdk
    }

    /// Finds the first field that is out of bounds for a table of `capacity` entries.
    ///
    /// # Errors
    /// Names the field and what is allowed.
    pub fn check(&self, capacity: usize) -> Result<(), PolicyError> {
        let void = |delay: &Duration| micros(*delay) == 0;
        let wrong = if capacity < 1 || capacity >= usize::from(u16::MAX) {
            &PolicyError { field: "capacity", allowed: "1 to 65,534 entries" }
        } else if self.concurrency < 1 || usize::from(self.concurrency) > capacity {
            &PolicyError { field: "concurrency", allowed: "1 up to the table's capacity" }
        } else if self.rules == Rules::RubySdk && self.concurrency != 1 {
            &PolicyError { field: "concurrency", allowed: "1 under the Ruby SDK's rules" }
        } else if self.max_calls < 1 {
            &PolicyError { field: "max_calls", allowed: "at least 1" }
        } else if void(&self.poll_interval) {
            &PolicyError { field: "poll_interval", allowed: "at least 1 µs" }
        } else if self.long_poll > LONG_POLL_MAX {
            &PolicyError { field: "long_poll", allowed: "0 to 5 s" }
        } else if void(&self.call_timeout) {
            &PolicyError { field: "call_timeout", allowed: "at least 1 µs" }
        } else if void(&self.report_timeout) {
            &PolicyError { field: "report_timeout", allowed: "at least 1 µs" }
        } else if void(&self.store_after) {
            &PolicyError { field: "store_after", allowed: "at least 1 µs" }
        } else if self.ask_interval.as_ref().is_some_and(void) {
            &PolicyError { field: "ask_interval", allowed: "at least 1 µs, or none" }
        } else if !self.failing.is_sound() {
            &PolicyError { field: "failing", allowed: "0 < base <= cap, jitter 0 to 50 %" }
        } else if !self.auth.is_sound() {
            &PolicyError { field: "auth", allowed: "0 < base <= cap, jitter 0 to 50 %" }
        } else if self.auth.cap > AUTH_MAX {
            &PolicyError { field: "auth", allowed: "a cap of at most 60 s" }
        } else if self.empty_jitter > 50 {
            &PolicyError { field: "empty_jitter", allowed: "0 to 50 %" }
        } else if self.update.iter().skip(1).any(void) {
            &PolicyError { field: "update", allowed: "delays after the first above zero" }
        } else if void(&self.token_life) {
            &PolicyError { field: "token_life", allowed: "at least 1 µs" }
        } else {
            return Ok(());
        };
        // Each a constant: a small machine loads its address.
        Err(*wrong)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A policy that cannot be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PolicyError {
    /// The field of [`Policy`].
    pub field: &'static str,
    /// What is allowed there.
    pub allowed: &'static str,
}

impl PolicyError {
    pub(crate) const fn new(field: &'static str, allowed: &'static str) -> Self {
        Self { field, allowed }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy field `{}` is out of bounds: it takes {}", self.field, self.allowed)
    }
}

impl core::error::Error for PolicyError {}
