//! When the queue may be asked again, and how: the rules of empty and failed polls.

use core::time::Duration;

use super::action::Why;
use super::backoff::{double, lengthen, shorten};
use super::cx::Cx;
use super::flaw::Flaw;
use super::input::{CallError, Fault};
use super::kind::Kind;
use super::policy::{AuthPolicy, Policy};
use super::time::{Instant, micros};

/// The Ruby SDK's largest exponent of an empty poll's delay: 1.024 s, whatever the interval.
const RUBY_EXPONENT_MAX: u32 = 10;

/// The gate before polls.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Gate {
    pub(crate) at: Instant,
    pub(crate) why: Why,
    pub(crate) empties: u32,
    pub(crate) failures: u32,
    /// Polls in a row that were answered with 401 or 403.
    #[cfg_attr(feature = "record", serde(rename = "refusals"))]
    unauthorized: u32,
    /// The end of the latest `Retry-After`: nothing opens the gate before it.
    hold: Instant,
    /// A long poll brought a task: the rest of the queue is asked for without a wait.
    follow_up: bool,
}

/// What kind of poll is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub(crate) enum PollKind {
    /// For all free entries, answered at once.
    Short,
    /// For one task, held by the server.
    Long,
    /// For all free entries, after a long poll that brought a task; its emptiness moves no gate.
    FollowUp,
}

impl Gate {
    pub(crate) const OPEN: Self = Self {
        at: Instant::ZERO,
        why: Why::Empty,
        empties: 0,
        failures: 0,
        unauthorized: 0,
        hold: Instant::ZERO,
        follow_up: false,
    };

    pub(crate) fn kind(&self, policy: &Policy) -> PollKind {
        if self.follow_up {
            PollKind::FollowUp
        } else if self.is_quiet(policy) {
            PollKind::Long
        } else {
            PollKind::Short
        }
    }

    /// Tasks came with a poll, or with the answer to an update. `asked` is how many there could have been.
    pub(crate) fn brought(&mut self, now: Instant, kind: PollKind, got: u16, asked: u16, policy: &Policy) {
        self.answered();
        self.open(now);
        match kind {
            PollKind::Long => self.follow_up = true,
            PollKind::FollowUp => self.follow_up = got >= asked,
            PollKind::Short if self.is_quiet(policy) => self.follow_up = true,
            PollKind::Short => self.empties = 0,
        }
    }

    /// A poll that was sent then found nothing.
    pub(crate) fn empty<M: Kind>(&mut self, cx: &mut Cx<'_, M>, sent: Instant, kind: PollKind) {
        self.answered();
        if kind == PollKind::FollowUp {
            self.follow_up = false;
            self.open(cx.now);
            return;
        }
        self.count_empty(cx, sent);
    }

    /// A poll failed, now.
    pub(crate) fn failed<M: Kind>(&mut self, cx: &mut Cx<'_, M>, sent: Instant, error: &CallError) {
        let policy = cx.policy;
        if policy.is_ruby::<M>() || M::Flaw::FAILURE_IS_EMPTY {
            self.count_empty(cx, sent);
            return;
        }
        if matches!(error.fault, Fault::Unauthorized | Fault::Forbidden) {
            // The first says that the token has expired. The next says that no token opens this queue, and each costs
            // all workers of a hub their token.
            let until = cx.after(&policy.auth, self.unauthorized);
            self.unauthorized = self.unauthorized.saturating_add(1);
            self.close(until, if until == cx.now { Why::Empty } else { Why::Auth });
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.hold = self.hold.max(retry_after(cx, error));
        self.close(cx.after(&policy.failing, self.failures), Why::Failing);
    }

    /// How long the server asked to be left alone in its answer to a call that was a poll too; `ZERO` if it
    /// did not.
    pub(crate) fn hold_until(&mut self, until: Instant) {
        self.hold = self.hold.max(until);
        self.close(self.at, self.why);
    }

    /// Whether a failure keeps the gate closed.
    pub(crate) fn is_failing(&self, now: Instant) -> bool {
        self.at > now && self.why != Why::Empty
    }

    /// The Ruby SDK's rule: a poll that may not be sent counts as an empty one.
    pub(crate) fn skip<M: Kind>(&mut self, cx: &mut Cx<'_, M>) {
        self.count_empty(cx, cx.now);
    }

    /// Whether the queue has been empty for so long that polls are held by the server.
    fn is_quiet(&self, policy: &Policy) -> bool {
        micros(policy.long_poll) > 0 && milliseconds(self.empties) >= micros(policy.poll_interval)
    }

    fn count_empty<M: Kind>(&mut self, cx: &mut Cx<'_, M>, sent: Instant) {
        let policy = cx.policy;
        self.empties = self.empties.saturating_add(1);
        let exponent = if policy.is_ruby::<M>() { self.empties.min(RUBY_EXPONENT_MAX) } else { self.empties };
        let delay = milliseconds(exponent).min(micros(policy.poll_interval));
        self.close(sent.saturating_add_micros(shorten(delay, policy.empty_jitter, cx.rng)), Why::Empty);
    }

    fn answered(&mut self) {
        self.failures = 0;
        self.unauthorized = 0;
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
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn retry_after<M: Kind>(cx: &mut Cx<'_, M>, error: &CallError) -> Instant {
    let Some(asked) = error.retry_after.filter(|_| !M::Flaw::RETRY_AFTER_IGNORED) else {
        return Instant::ZERO;
    };
    if M::Flaw::RETRY_AFTER_SHORTENED {
        return cx.now.saturating_add_micros(micros(asked).min(micros(cx.policy.retry_after_max)) / 2);
    }
    hold(cx, asked)
}

/// Until when a server that asked for so long is left alone.
pub(crate) fn hold<M: Kind, P: AuthPolicy>(cx: &mut Cx<'_, M, P>, asked: Duration) -> Instant {
    let asked = micros(asked).min(micros(cx.policy.retry_after_max()));
    cx.now.saturating_add_micros(lengthen(asked, 10, cx.rng))
}

/// 2^n milliseconds in microseconds, saturating.
fn milliseconds(n: u32) -> u64 {
    double(1_000, n.saturating_add(1))
}
