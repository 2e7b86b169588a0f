//! The machines with a mistake each that the simulator's oracles must catch.

use super::flaw::Flaw;
use super::kind::{Kind, sealed};

macro_rules! mutants {
    ($($name:ident $constant:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Debug, Eq, PartialEq)]
            pub enum $name {}
            impl sealed::Sealed for $name {}
            impl Kind for $name {
                type Flaw = Self;
            }
            impl Flaw for $name {
                const $constant: bool = true;
            }
        )*
    };
}

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
    OldUnauthorizedCounts OLD_UNAUTHORIZED_COUNTS "A good token thrown away.";
    BudgetIgnored BUDGET_IGNORED "A process without a budget.";
    PollsTakeAllLanes POLLS_TAKE_ALL_LANES "A process that is all polls.";
    UnfairTurns UNFAIR_TURNS "A queue served from its end.";
    PollsBeforeDebts POLLS_BEFORE_DEBTS "A poll before what is owed.";
    LinkNotShared LINK_NOT_SHARED "A process that storms a dead server.";
    SharedUnauthorizedUnheard SHARED_UNAUTHORIZED_UNHEARD "A worker that loses its token without word to the others.";
    SlowShutsLink SLOW_SHUTS_LINK "A slow call taken for an outage.";
    LapseRunsTwice LAPSE_RUNS_TWICE "Two copies of a task in one worker.";
    ExtendsLapsed EXTENDS_LAPSED "An extension of a lease that is over.";
    GivesBackLate GIVES_BACK_LATE "A give-back that ends its workflow.";
    LeasesBeforeResults LEASES_BEFORE_RESULTS "A result behind the lease that it would end.";
    ReportsCancelled REPORTS_CANCELLED "An outcome that nobody waits for.";
    RejectedIsDropped REJECTED_IS_DROPPED "A workflow left waiting.";
    PoisonForEver POISON_FOR_EVER "An entry that one result holds for ever.";
    PoisonTooSoon POISON_TOO_SOON "A good result replaced.";
    ForbiddenRenews FORBIDDEN_RENEWS "A token thrown away for each 403.";
    WritesTogether WRITES_TOGETHER "A result that the extension beside it undoes.";
    TakeNextWhenSlow TAKE_NEXT_WHEN_SLOW "A task in an answer that comes too late.";
}
