//! Known mistakes, one constant each, so that the simulator can prove that its oracles see them.
//!
//! A mutant is a type parameter of the machine, and the trait is sealed: production code can name [`Sound`] alone,
//! and every `if M::…` is decided when the code is compiled. The mistaken types exist under the feature `mutants`,
//! which only the simulator turns on.

pub(crate) mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can name it is what seals the trait")]
    pub trait Sealed {}
}

/// A way to be wrong. Each constant is one mistake of docs/invariants.md, off unless the type turns it on.
pub trait Mutant: sealed::Sealed + Clone + PartialEq + core::fmt::Debug {
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
    /// Places promised to calls in flight are promised again.
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
    /// Answers depend on something outside the machine.
    const STATE_OUTSIDE: bool = false;
    /// A 401 to a call with an older token costs the present one.
    const OLD_REFUSAL_COUNTS: bool = false;
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
    const SHARED_REFUSAL_UNHEARD: bool = false;

    /// Not a mistake but a choice: the seed's rules are there. What [`Lean`](super::Lean) leaves out, a policy cannot
    /// ask for.
    const SEED: bool = true;
    /// Likewise: the machine can work under a hub.
    const HUB: bool = true;
    /// Likewise: there may be a store.
    const STORE: bool = true;
    /// Likewise: the table is indexed. Without indexes it is looked through, which suits a few entries.
    const INDEXED: bool = true;
}

/// A number that is another one each time: what no machine may look at.
#[cfg(feature = "mutants")]
pub(crate) fn outside() -> u64 {
    static ASKED: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(1);
    u64::from(ASKED.fetch_add(1, core::sync::atomic::Ordering::Relaxed))
}

/// Nothing is outside where there are no mutants.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn outside() -> u64 {
    0
}

/// The machine as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum Sound {}

impl sealed::Sealed for Sound {}
impl Mutant for Sound {}

#[cfg(feature = "mutants")]
macro_rules! mutants {
    ($($name:ident $constant:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Debug, Eq, PartialEq)]
            pub enum $name {}
            impl sealed::Sealed for $name {}
            impl Mutant for $name {
                const $constant: bool = true;
            }
        )*
    };
}

#[cfg(feature = "mutants")]
mutants! {
    CapBeforeJitter CAP_BEFORE_JITTER "Jitter after the cap.";
    ConstantSeed CONSTANT_SEED "The same jitter everywhere.";
    ExponentUnclamped EXPONENT_UNCLAMPED "An exponent without a bound.";
    FailureIsEmpty FAILURE_IS_EMPTY "A failed poll taken for an empty one.";
    RetryAfterIgnored RETRY_AFTER_IGNORED "A deaf client.";
    RetryAfterShortened RETRY_AFTER_SHORTENED "An impatient client.";
    TakeNextIgnoresGate TAKE_NEXT_IGNORES_GATE "A poll in disguise inside the gate.";
    TakeNextIgnoresPause TAKE_NEXT_IGNORES_PAUSE "A poll in disguise while paused.";
    TakeNextIgnoresDrain TAKE_NEXT_IGNORES_DRAIN "A poll in disguise while draining.";
    DrainDropsLateTask DRAIN_DROPS_LATE_TASK "A late task dropped.";
    GivesUp GIVES_UP "A result lost after four tries.";
    YieldNeverSent YIELD_NEVER_SENT "A yield kept to itself.";
    YieldRetriedForEver YIELD_RETRIED_FOR_EVER "A yield that takes a task from its next holder.";
    LeaseFromReceipt LEASE_FROM_RECEIPT "A lease thought longer than it is.";
    HeartbeatStopsAtFinish HEARTBEAT_STOPS_AT_FINISH "A lease that lapses while the result waits.";
    NoReservation NO_RESERVATION "More asked for than there is room for.";
    StaleGenerationAccepted STALE_GENERATION_ACCEPTED "An old handle believed.";
    WallClock WALL_CLOCK "Time that goes backwards.";
    PausedSpins PAUSED_SPINS "A pause that costs power.";
    DeadlineOfBlocked DEADLINE_OF_BLOCKED "A wait that ends too early.";
    UnauthorizedUsesAttempt UNAUTHORIZED_USES_ATTEMPT "A 401 counted as a failed report.";
    TwoRefreshes TWO_REFRESHES "Two refreshes in flight.";
    StateOutside STATE_OUTSIDE "An answer that no replay gives again.";
    OldRefusalCounts OLD_REFUSAL_COUNTS "A good token thrown away.";
    BudgetIgnored BUDGET_IGNORED "A process without a budget.";
    PollsTakeAllLanes POLLS_TAKE_ALL_LANES "A process that is all polls.";
    UnfairTurns UNFAIR_TURNS "A queue served from its end.";
    PollsBeforeDebts POLLS_BEFORE_DEBTS "A poll before what is owed.";
    LinkNotShared LINK_NOT_SHARED "A process that storms a dead server.";
    SharedRefusalUnheard SHARED_REFUSAL_UNHEARD "A worker that loses its token alone.";
}
