//! What a scenario says: workers, tasks, server, network, faults. Plain data; a run is a function of it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{
    BURST_MAX, CALLS_MAX, CALLS_MIN, COPIES_MAX, PERCENT_MAX, RETRIES_MAX, SKEW_MAX, SLOTS_MAX, TABLE_MAX,
    WORKERS_MAX,
};
use super::policy::PolicyChoice;
use super::span::{Span, zero};

/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 1;

/// A whole scenario: everything that a run depends on.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Format version; 1.
    #[schemars(range(min = VERSION, max = VERSION))]
    pub version: u32,
    /// A short name, for reports.
    #[serde(default)]
    pub name: String,
    /// Why this scenario exists, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Feeds everything random in the run: jitter, latencies, losses, durations, outcomes.
    #[serde(default)]
    pub seed: u64,
    /// After this time no fault is in force, whatever the faults say, and everything has to end within stated bounds.
    /// Every fault begins before it.
    pub heal_at: Span,
    /// The run ends here at the latest; what is not finished by then is a violation of liveness. Not before
    /// `heal_at`, and after everything that is planned. Default: three hours after `heal_at`, or as long as
    /// the bounds of liveness need. If everything has ended and it has been quiet for 20 s, it ends earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_at: Option<Span>,
    /// The server's rules.
    #[serde(default)]
    pub server: Server,
    /// The network between workers and server.
    #[serde(default)]
    pub network: Network,
    /// Processes that hold many workers behind one hub: one token, one budget of calls, one way to the
    /// server. A group of workers is in one if it names it as its `process`; the others are in none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Processes>,
    /// Groups of equal workers; at least one, and at most 100,000 workers in all of them together.
    #[schemars(length(min = 1))]
    pub workers: Vec<Workers>,
    /// Streams of equal tasks; at most 50,000,000 tasks in all of them together.
    #[serde(default)]
    pub tasks: Vec<Tasks>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// Equal processes, as `downbeat run` is one: many workers, and what they share.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Processes {
    /// What groups of workers call it; each process has a name of its own.
    #[schemars(length(min = 1))]
    pub name: String,
    /// How many such processes; 1 to 10,000. Each holds all the workers of its groups: at most 10,000.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = COPIES_MAX))]
    pub count: u32,
    /// Calls in flight at once, over all its workers; 2 to 1,024. A quarter of them, at least one, is kept for results,
    /// leases and the token: polls never use them.
    #[serde(default = "sixteen")]
    #[schemars(range(min = CALLS_MIN, max = CALLS_MAX))]
    pub calls: u16,
    /// When the first starts.
    #[serde(default = "zero")]
    pub start_at: Span,
    /// How much later than its predecessor each further one starts.
    #[serde(default = "zero")]
    pub stagger: Span,
    /// When the first is told to drain; never by default. The others follow by `stagger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_at: Option<Span>,
    /// How long after its end a drained process starts anew; never by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_after: Option<Span>,
    /// How fast its clock runs against true time, in parts per million: -100,000 to 100,000.
    #[serde(default)]
    #[schemars(range(min = -SKEW_MAX, max = SKEW_MAX))]
    pub clock_skew_ppm: i64,
}

/// A group of equal workers: each a process of its own, or all of them in one that is named.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// How many; 1 to 100,000. In a process: how many in each of its copies.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = WORKERS_MAX))]
    pub count: u32,
    /// The process that holds them, by its name in `processes`. It starts, stops and restarts them, and has the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The task type they poll for.
    #[serde(default = "default_task")]
    #[schemars(length(min = 1))]
    pub task: String,
    /// The domain they poll in; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub domain: Option<String>,
    /// Tasks run at once by each; 1 to 64.
    #[serde(default = "one_slot")]
    #[schemars(range(min = 1, max = SLOTS_MAX))]
    pub slots: u16,
    /// Entries of each worker's table: as many as slots, or more, up to 1,024. Default: twice the slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = TABLE_MAX))]
    pub table: Option<u16>,
    /// How they behave.
    #[serde(default)]
    pub policy: PolicyChoice,
    /// When the first starts.
    #[serde(default = "zero")]
    pub start_at: Span,
    /// How much later than its predecessor each further one starts.
    #[serde(default = "zero")]
    pub stagger: Span,
    /// When the first is told to drain, not before `start_at`; never by default. The others follow by `stagger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_at: Option<Span>,
    /// How long after its end a worker that drained (or was aborted) starts anew; never by default. It goes with
    /// `drain_at`, or a fault `abort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_after: Option<Span>,
    /// How fast their clocks run against true time, in parts per million: -100,000 to 100,000.
    #[serde(default)]
    #[schemars(range(min = -SKEW_MAX, max = SKEW_MAX))]
    pub clock_skew_ppm: i64,
}

/// A stream of equal tasks.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// The task type.
    #[serde(default = "default_task")]
    #[schemars(length(min = 1))]
    pub task: String,
    /// The domain that they are scheduled in; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub domain: Option<String>,
    /// When they come.
    pub arrive: Arrival,
    /// How long the user's code takes; at most 30d.
    #[serde(default = "second")]
    pub duration: Spread,
    /// How the code ends, as weights.
    #[serde(default)]
    pub outcomes: Outcomes,
    /// `responseTimeoutSeconds` of the task definition, in whole seconds; at least 1s, at most 30d.
    #[serde(default = "minute")]
    pub response_timeout: Span,
    /// `retryCount`: how often the server tries again. At most 1,000.
    #[serde(default = "three")]
    #[schemars(range(max = RETRIES_MAX))]
    pub retries: u32,
    /// `retryDelaySeconds`, in whole seconds; at most 30d.
    #[serde(default = "second_span")]
    pub retry_delay: Span,
    /// `pollTimeoutSeconds`, in whole seconds: how long from its first scheduling a task may be in its queue.
    /// At least 1s, at most 30d. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_timeout: Option<Span>,
    /// `callbackAfterSeconds` of the tasks that yield, in whole seconds; at most 30d.
    #[serde(default = "ten_seconds")]
    pub callback_after: Span,
}

/// When tasks come.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Arrival {
    /// All at once.
    Burst {
        /// When.
        #[serde(default = "zero")]
        at: Span,
        /// How many: 1 to 1,000,000.
        #[schemars(range(min = 1, max = BURST_MAX))]
        count: u32,
    },
    /// One after each interval.
    Steady {
        /// The interval; above zero.
        every: Span,
        /// The first comes then.
        #[serde(default = "zero")]
        from: Span,
        /// None comes at or after this; after `from`.
        until: Span,
    },
    /// At random, with this mean interval (exponential gaps).
    Poisson {
        /// The mean interval; above zero.
        every: Span,
        /// Not before.
        #[serde(default = "zero")]
        from: Span,
        /// None comes at or after this; after `from`.
        until: Span,
    },
    /// At these times.
    Trace {
        /// The times, in any order: 1 to 1,000,000 of them.
        #[schemars(length(min = 1, max = BURST_MAX))]
        at: Vec<Span>,
    },
}

impl Arrival {
    /// Returns how many tasks come at the most (with Poisson's arrivals: twice the mean, and sixteen).
    #[must_use]
    pub fn count(&self) -> u64 {
        let times = |every: Span, from: Span, until: Span| {
            let length = until.get().saturating_sub(from.get()).as_micros();
            u64::try_from(length / every.get().as_micros().max(1)).unwrap_or(u64::MAX)
        };
        match self {
            Self::Burst { count, .. } => u64::from(*count),
            Self::Trace { at } => u64::try_from(at.len()).unwrap_or(u64::MAX),
            Self::Steady { every, from, until } => times(*every, *from, *until) + 1,
            Self::Poisson { every, from, until } => 2 * times(*every, *from, *until) + 16,
        }
    }
}

/// A random length of time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Spread {
    /// Always the same.
    Fixed {
        /// The length.
        of: Span,
    },
    /// Anything between two bounds, evenly.
    Uniform {
        /// The least.
        min: Span,
        /// The most.
        max: Span,
    },
    /// Mostly short, sometimes long: exponential with this mean, cut at the bound.
    Exponential {
        /// The mean.
        mean: Span,
        /// The most.
        max: Span,
    },
}

/// How the user's code ends, as weights; all zero counts as `completed = 1`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Outcomes {
    /// `COMPLETED`.
    #[serde(default)]
    pub completed: u32,
    /// `FAILED`: the server tries again.
    #[serde(default)]
    pub failed: u32,
    /// `FAILED_WITH_TERMINAL_ERROR`.
    #[serde(default)]
    pub terminal: u32,
    /// `IN_PROGRESS` with a callback.
    #[serde(default)]
    pub yielded: u32,
}

/// The server's rules.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// How a poll waits.
    pub backend: Backend,
    /// Requests it answers in a second at the most, at least 1; more wait in line. None: as many as come.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_per_second: Option<u32>,
    /// It wants a token.
    pub auth: bool,
    /// How long a token is good for; at least 1s.
    pub token_life: Span,
    /// It knows `update-v2`.
    pub update_v2: bool,
    /// What it makes of a lease extension.
    #[serde(skip_serializing_if = "Generation::is_now")]
    pub extends: Generation,
}

/// What a server makes of a lease extension (R-LEASE-4).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// It extends the lease.
    #[default]
    Now,
    /// It answers 500 to one without a status, and extends the lease for one with it.
    DemandsStatus,
    /// It knows no extension: one with a status is a give-back, which hides the task for as long as that says.
    BeforeExtendLease,
}

impl Generation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_now(&self) -> bool {
        *self == Self::Now
    }
}

/// How a poll waits on the server's queue.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Until the first task is there (Redis).
    #[default]
    Redis,
    /// Until `count` tasks are there, or the time is over (SQLite, Postgres).
    Sql,
    /// Not at all (MySQL).
    None,
}

/// The network between workers and server.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// How long a message takes, each way; at most 1h. Messages overtake each other if this is spread.
    pub latency: Spread,
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// From when; before `heal_at`.
    pub at: Span,
    /// For how long; above zero. It ends at `heal_at` at the latest.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// How many of the calls (or tasks, or ticks) concerned are hit, in percent: 1 to 100.
    #[serde(default = "all")]
    #[schemars(range(min = 1, max = PERCENT_MAX))]
    pub percent: u8,
    /// Which workers, by number over all groups, each once; all by default. `crash`, `partition`, `clock_jump`, `clock_back` and
    /// `store_full` of a worker in a process are of the whole process; `abort` starts it anew when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub workers: Option<Vec<u32>>,
    /// Which calls, each once; all by default. For faults that hit single calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub calls: Option<Vec<CallClass>>,
    /// `Retry-After` of `throttle` (429) or `error503`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
    /// How much, above zero: the added latency of `slow`, each way, and of `slow_answer`, back, the jump of
    /// `clock_jump`, the step of `clock_back`, the delay of `finish_twice`, the time until a process that was
    /// killed starts anew. Needed with these six, and with no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Span>,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Connections are refused: no call has effect, and the worker knows.
    Down,
    /// Calls vanish before they have effect; the worker learns nothing until its timeout.
    LostRequest,
    /// Calls have their effect, and their answers vanish.
    LostAnswer,
    /// The connection is cut while the answer is under way: effect, and a failure at once.
    Cut,
    /// The server answers 500, without effect.
    Error500,
    /// A proxy answers 503, without effect, perhaps with `Retry-After`.
    Error503,
    /// The server answers 429, without effect, perhaps with `Retry-After`.
    Throttle,
    /// The server answers 401, as if the token had expired.
    Unauthorized,
    /// Only the token issuer is down.
    TokenDown,
    /// All tokens issued so far stop being good, once, when the fault begins.
    RevokeTokens,
    /// Nothing passes between these workers and the server, either way, and nobody is told.
    Partition,
    /// The server answers 400: it will never take this request.
    Reject,
    /// Messages take longer by `by`, each way.
    Slow,
    /// A poll brings more tasks than asked for.
    OverDeliver,
    /// A task that is out is delivered a second time.
    Duplicate,
    /// Results of some tasks are answered 500, each time (`percent` of the tasks). A report that the task failed is taken
    /// instead, but for a quarter of them.
    Poison,
    /// Results of some tasks are answered 413, each time (`percent` of the tasks): they are too large.
    TooLarge,
    /// Results of some tasks are answered 422, each time (`percent` of the tasks).
    Unprocessable,
    /// Results of some tasks are answered 403, each time (`percent` of the tasks), whatever the token.
    Forbidden,
    /// The workflows of `percent` of the tasks that are out are terminated, once, when the fault begins.
    Cancel,
    /// They are restarted: the tasks are gone, and others take their places.
    Restart,
    /// Calls have their effect at once, and their answers come later by `by`.
    SlowAnswer,
    /// A late answer: the worker's timeout passes, it is told `Unknown`, and the answer comes after that.
    LateAnswer,
    /// The workers' clocks jump forward by `by`, once.
    ClockJump,
    /// Some inputs come with a clock that shows `by` less than it should.
    ClockBack,
    /// The driver tells of the end of a task a second time, `by` later.
    FinishTwice,
    /// Aborted by an operator when the fault begins; the processes start anew when it ends.
    Abort,
    /// Paused by an operator: `Pause` when it begins, `Resume` when it ends.
    Pause,
    /// The processes die without a drain when the fault begins, and start anew when it ends.
    Crash,
    /// The processes die at `percent` of the steps that lead a result to the server: before it is written to the journal,
    /// after that, after its report was sent, after that was accepted. Each starts anew `by` later.
    Kill,
    /// The durable store of results is full.
    StoreFull,
}

/// Classes of calls.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallClass {
    /// Polls.
    Poll,
    /// Results and give-backs.
    Update,
    /// Lease extensions.
    Extend,
    /// Token refreshes.
    Token,
    /// Questions about running tasks.
    Ask,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            backend: Backend::Redis,
            capacity_per_second: None,
            auth: false,
            token_life: Span::new(Duration::from_secs(45 * 60)),
            update_v2: true,
            extends: Generation::Now,
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        let millis = |ms| Span::new(Duration::from_millis(ms));
        Self { latency: Spread::Uniform { min: millis(1), max: millis(10) } }
    }
}

impl Default for Outcomes {
    fn default() -> Self {
        Self { completed: 1, failed: 0, terminal: 0, yielded: 0 }
    }
}

fn one() -> u32 {
    1
}

fn sixteen() -> u16 {
    16
}

fn one_slot() -> u16 {
    1
}

fn three() -> u32 {
    3
}

fn all() -> u8 {
    100
}

fn default_task() -> String {
    "work".to_owned()
}

fn second_span() -> Span {
    Span::new(Duration::from_secs(1))
}

fn second() -> Spread {
    Spread::Fixed { of: second_span() }
}

fn minute() -> Span {
    Span::new(Duration::from_secs(60))
}

fn ten_seconds() -> Span {
    Span::new(Duration::from_secs(10))
}
