//! When the queue may be asked again, and how: the rules of empty and failed polls.

use super::action::Why;
use super::backoff::{double, lengthen, shorten};
use super::input::{CallError, Fault};
use super::mutant::Mutant;
use super::policy::Policy;
use super::rng::Rng;
use super::time::{Instant, micros};

/// The seed's largest exponent of an empty poll's delay: 1.024 s, whatever the interval.
const SEED_EXPONENT_MAX: u32 = 10;

/// The gate before polls.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Gate {
    pub(crate) at: Instant,
    pub(crate) why: Why,
    pub(crate) empties: u32,
    pub(crate) failures: u32,
    /// Polls in a row that were answered with 401 or 403.
    refusals: u32,
    /// The end of the latest `Retry-After`: nothing opens the gate before it.
    hold: Instant,
    /// A long poll brought a task: the rest of the queue is asked for without a wait.
    follow_up: bool,
}

/// What kind of poll is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub(crate) enum Kind {
    /// For all free places, answered at once.
    Short,
    /// For one task, held by the server.
    Long,
    /// For all free places, after a long poll that brought a task; its emptiness moves no gate.
    FollowUp,
}

impl Gate {
    pub(crate) const OPEN: Self = Self {
        at: Instant::ZERO,
        why: Why::Empty,
        empties: 0,
        failures: 0,
        refusals: 0,
        hold: Instant::ZERO,
        follow_up: false,
    };

    pub(crate) fn kind(&self, policy: &Policy) -> Kind {
        if self.follow_up {
            Kind::FollowUp
        } else if self.is_quiet(policy) {
            Kind::Long
        } else {
            Kind::Short
        }
    }

    /// Tasks came with a poll, or with the answer to an update. `asked` is how many there could have been.
    pub(crate) fn brought(&mut self, now: Instant, kind: Kind, got: u16, asked: u16, policy: &Policy) {
        self.answered();
        self.open(now);
        match kind {
            Kind::Long => self.follow_up = true,
            Kind::FollowUp => self.follow_up = got >= asked,
            Kind::Short if self.is_quiet(policy) => self.follow_up = true,
            Kind::Short => self.empties = 0,
        }
    }

    /// A poll that was sent then found nothing.
    pub(crate) fn empty<M: Mutant>(
        &mut self,
        sent: Instant,
        now: Instant,
        kind: Kind,
        policy: &Policy,
        rng: &mut Rng,
    ) {
        self.answered();
        if kind == Kind::FollowUp {
            self.follow_up = false;
            self.open(now);
            return;
        }
        self.count_empty::<M>(sent, policy, rng);
    }

    /// A poll failed, now.
    pub(crate) fn failed<M: Mutant>(
        &mut self,
        sent: Instant,
        now: Instant,
        error: &CallError,
        policy: &Policy,
        rng: &mut Rng,
    ) {
        if policy.is_seed::<M>() || M::FAILURE_IS_EMPTY {
            self.count_empty::<M>(sent, policy, rng);
            return;
        }
        if error.fault == Fault::Unauthorized {
            // The first says that the token has expired. The next says that no token opens this queue, and each costs
            // all workers of a hub their token.
            let delay = policy.auth.delay::<M>(self.refusals, rng);
            self.refusals = self.refusals.saturating_add(1);
            self.close(now.plus(delay), if delay == 0 { Why::Empty } else { Why::Auth });
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.hold = self.hold.max(retry_after::<M>(now, error, policy, rng));
        self.close(now.plus(policy.failing.delay::<M>(self.failures, rng)), Why::Failing);
    }

    /// The server asked to be left alone in its answer to a call that was a poll too; `ZERO`: it did not.
    pub(crate) fn hold_until(&mut self, until: Instant) {
        self.hold = self.hold.max(until);
        self.close(self.at, self.why);
    }

    /// Whether a failure keeps the gate closed.
    pub(crate) fn is_failing(&self, now: Instant) -> bool {
        self.at > now && self.why != Why::Empty
    }

    /// The seed's rule: a poll that may not be sent counts as an empty one.
    pub(crate) fn skip<M: Mutant>(&mut self, now: Instant, policy: &Policy, rng: &mut Rng) {
        self.count_empty::<M>(now, policy, rng);
    }

    /// Whether the queue has been empty for so long that polls are held by the server.
    fn is_quiet(&self, policy: &Policy) -> bool {
        micros(policy.long_poll) > 0 && milliseconds(self.empties) >= micros(policy.poll_interval)
    }

    fn count_empty<M: Mutant>(&mut self, sent: Instant, policy: &Policy, rng: &mut Rng) {
        self.empties = self.empties.saturating_add(1);
        let exponent = if policy.is_seed::<M>() { self.empties.min(SEED_EXPONENT_MAX) } else { self.empties };
        let delay = milliseconds(exponent).min(micros(policy.poll_interval));
        self.close(sent.plus(shorten(delay, policy.empty_jitter, rng)), Why::Empty);
    }

    fn answered(&mut self) {
        self.failures = 0;
        self.refusals = 0;
    }

    fn open(&mut self, now: Instant) {
        self.close(now, Why::Empty);
    }

    /// Closes the gate until then, or until a `Retry-After` is over.
    fn close(&mut self, until: Instant, why: Why) {
        (self.at, self.why) = if self.hold > until { (self.hold, Why::RetryAfter) } else { (until, why) };
    }
}

/// Until when a failed call's server wants to be left alone: what it asked for, bounded, lengthened by up to 10 %.
/// `ZERO`: it asked for nothing.
pub(crate) fn retry_after<M: Mutant>(
    now: Instant,
    error: &CallError,
    policy: &Policy,
    rng: &mut Rng,
) -> Instant {
    let Some(asked) = error.retry_after.filter(|_| !M::RETRY_AFTER_IGNORED) else { return Instant::ZERO };
    let asked = micros(asked).min(micros(policy.retry_after_max));
    if M::RETRY_AFTER_SHORTENED { now.plus(asked / 2) } else { now.plus(lengthen(asked, 10, rng)) }
}

/// 2^n milliseconds in microseconds, saturating.
fn milliseconds(n: u32) -> u64 {
    double(1_000, n.saturating_add(1))
}
