//! Known mistakes, one constant each, so that the simulator can prove that its oracles see them.
//!
//! Every `if M::Flaw::…` is decided when the code is compiled: a machine of production is [`Flawless`], and has no trace
//! of them. The types that make a mistake are in `mutant`, which only the simulator's feature brings.

/// A way to be wrong. Each constant is one mistake of docs/invariants.md, off unless the type turns it on.
pub trait Flaw {
    /// Jitter lengthens a delay after it was capped (backon).
    const CAP_BEFORE_JITTER: bool = false;
    /// Every machine draws the same jitter.
    const CONSTANT_SEED: bool = false;
    /// The exponent of a backoff is not clamped: after 64 failures the delay is nothing.
    const EXPONENT_UNCLAMPED: bool = false;
    /// A failed poll counts as an empty one (Ruby).
    const FAILURE_IS_EMPTY: bool = false;
    /// `Retry-After` is ignored.
    const RETRY_AFTER_IGNORED: bool = false;
    /// `Retry-After` is halved.
    const RETRY_AFTER_SHORTENED: bool = false;
    /// `update-v2` is used while the poll gate is closed.
    const TAKE_NEXT_IGNORES_GATE: bool = false;
    /// `update-v2` is used while paused.
    const TAKE_NEXT_IGNORES_PAUSE: bool = false;
    /// `update-v2` is used while draining.
    const TAKE_NEXT_IGNORES_DRAIN: bool = false;
    /// A task that arrives while draining is dropped (Python).
    const DRAIN_DROPS_LATE_TASK: bool = false;
    /// A result is given up after four tries (Ruby).
    const GIVES_UP: bool = false;
    /// A yield is never sent (Ruby).
    const YIELD_NEVER_SENT: bool = false;
    /// A yield is repeated whatever may have happened since.
    const YIELD_RETRIED_FOR_EVER: bool = false;
    /// The lease is counted from the answer, not from the poll.
    const LEASE_FROM_RECEIPT: bool = false;
    /// The lease is no longer extended once the code has finished (Python).
    const HEARTBEAT_STOPS_AT_FINISH: bool = false;
    /// Entries promised to calls in flight are promised again.
    const NO_RESERVATION: bool = false;
    /// A handle of an earlier task is taken for the present one.
    const STALE_GENERATION_ACCEPTED: bool = false;
    /// Time may go backwards.
    const WALL_CLOCK: bool = false;
    /// A paused worker keeps waking.
    const PAUSED_SPINS: bool = false;
    /// A wait ends for an obligation that cannot be met yet.
    const DEADLINE_OF_BLOCKED: bool = false;
    /// A 401 uses up an attempt of a report.
    const UNAUTHORIZED_USES_ATTEMPT: bool = false;
    /// Every 401 starts a refresh, also while one is in flight.
    const TWO_REFRESHES: bool = false;
    /// The answers depend on something outside the machine.
    const STATE_OUTSIDE: bool = false;
    /// A 401 to a call with an older token costs the present one.
    const OLD_UNAUTHORIZED_COUNTS: bool = false;
    /// A hub's workers send as many calls as each may.
    const BUDGET_IGNORED: bool = false;
    /// Polls use all calls of a hub, so that leases wait for them.
    const POLLS_TAKE_ALL_LANES: bool = false;
    /// The latest to want a poll is the first to have it.
    const UNFAIR_TURNS: bool = false;
    /// In a hub, one worker's poll goes before another's due lease or result.
    const POLLS_BEFORE_DEBTS: bool = false;
    /// Each worker of a hub finds out for itself that the server cannot be reached.
    const LINK_NOT_SHARED: bool = false;
    /// A 401 to a give-back is kept from the hub.
    const SHARED_UNAUTHORIZED_UNHEARD: bool = false;

    /// A call that the server takes its time for shuts the link, though others are answered.
    const SLOW_SHUTS_LINK: bool = false;
    /// A retry of a task that runs here runs beside it.
    const LAPSE_RUNS_TWICE: bool = false;
    /// A lease that is over is extended on.
    const EXTENDS_LAPSED: bool = false;
    /// A task is given back, or yields, when that ends its workflow.
    const GIVES_BACK_LATE: bool = false;
    /// Leases of finished tasks are extended before those tasks are reported.
    const LEASES_BEFORE_RESULTS: bool = false;
    /// The outcome of a task that the server has ended is reported.
    const REPORTS_CANCELLED: bool = false;
    /// A result that the server rejects is dropped, and its task left running.
    const REJECTED_IS_DROPPED: bool = false;
    /// A result that the server never takes is tried for ever.
    const POISON_FOR_EVER: bool = false;
    /// A result is replaced because the server is in trouble.
    const POISON_TOO_SOON: bool = false;
    /// Each 403 costs a token.
    const FORBIDDEN_RENEWS: bool = false;
    /// A report and an extension of the same task are in flight together.
    const WRITES_TOGETHER: bool = false;
    /// `update-v2` is used if the server answers late.
    const TAKE_NEXT_WHEN_SLOW: bool = false;
}

/// No mistake at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Flawless {}

impl Flaw for Flawless {}

/// A number that is another one each time: what no machine may look at.
#[cfg(feature = "mutants")]
pub(crate) fn outside() -> u64 {
    static ASKED: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(1);
    u64::from(ASKED.fetch_add(1, core::sync::atomic::Ordering::Relaxed))
}

/// Nothing is outside if there are no mutants.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn outside() -> u64 {
    0
}
