//! The gates before calls, computed anew from the record: each as the range of times that jitter allows.

use std::time::Duration;

use downbeat_core::machine::{Answer, Backoff, Fault, Instant, Policy, Reply, Why};

/// A time that jitter decides, between two bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// The earliest.
    pub lo: Instant,
    /// The latest.
    pub hi: Instant,
}

impl Range {
    /// The start of time: open.
    pub const OPEN: Self = Self { lo: Instant::ZERO, hi: Instant::ZERO };

    /// Makes a range of one moment.
    #[must_use]
    pub const fn at(at: Instant) -> Self {
        Self { lo: at, hi: at }
    }

    /// Makes the range after a delay that is shortened by up to `jitter` percent.
    #[must_use]
    pub fn shortened(from: Instant, delay: Duration, jitter: u8) -> Self {
        let least = delay.saturating_sub(part(delay, jitter).saturating_add(Duration::from_micros(1)));
        Self { lo: from.saturating_add(least), hi: from.saturating_add(delay) }
    }

    /// Makes the range after what a server asked for, lengthened by up to ten percent.
    #[must_use]
    pub fn asked(from: Instant, asked: Duration) -> Self {
        Self {
            lo: from.saturating_add(asked),
            hi: from.saturating_add(asked.saturating_add(part(asked, 10))),
        }
    }

    /// Returns the later of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { lo: self.lo.max(other.lo), hi: self.hi.max(other.hi) }
    }
}

fn part(delay: Duration, percent: u8) -> Duration {
    delay.saturating_mul(u32::from(percent)) / 100
}

fn backoff(from: Instant, backoff: &Backoff, failures: u32) -> Range {
    Range::shortened(from, backoff.ceiling(failures), backoff.jitter)
}

/// What an answer asked for, within the policy's bound.
pub(super) fn retry_after(now: Instant, reply: &Reply, policy: &Policy) -> Option<Range> {
    let asked = reply.err()?.retry_after?;
    Some(Range::asked(now, asked.min(policy.retry_after_max)))
}

/// How a poll asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PollKind {
    /// For all free entries, at once.
    Short,
    /// For one task; the server waits.
    Long,
    /// For the rest, after a long poll that brought a task.
    FollowUp,
}

/// The gate before polls (S8).
#[derive(Clone, Copy, Debug)]
pub struct PollGate {
    /// When it opens.
    pub opens: Range,
    /// What decides that.
    pub why: Why,
    /// It may as well be a `Retry-After` that decides: which of the two ends later, jitter says.
    pub unsure: bool,
    /// Empty polls in a row.
    pub empties: u32,
    /// Failed polls in a row.
    pub failures: u32,
    /// Polls in a row that were answered with 401.
    unauthorized: u32,
    /// The end of the latest `Retry-After`.
    hold: Range,
    follow_up: bool,
    /// The record leaves open what an answer did to the gate: nothing is said of it until that is clear again.
    pub vague: bool,
    /// The poll in flight was sent after all that is unclear.
    settles: bool,
    /// When the latest poll was sent, if it found nothing while the gate was vague.
    empty_since: Option<Instant>,
}

impl PollGate {
    pub(super) const OPEN: Self = Self {
        opens: Range::OPEN,
        why: Why::Empty,
        unsure: false,
        empties: 0,
        failures: 0,
        unauthorized: 0,
        hold: Range::OPEN,
        follow_up: false,
        vague: false,
        settles: false,
        empty_since: None,
    };

    /// A gate of which everything is known: `counts` are the empty, failed and unauthorized polls in a row.
    pub(super) fn known(
        at: Instant,
        why: Why,
        counts: (u32, u32, u32),
        hold: Instant,
        follow_up: bool,
    ) -> Self {
        let (empties, failures, unauthorized) = counts;
        let (opens, hold) = (Range::at(at), Range::at(hold));
        Self { opens, why, empties, failures, unauthorized, hold, follow_up, ..Self::OPEN }
    }

    /// Returns how a poll sent now asks.
    #[must_use]
    pub fn kind(&self, policy: &Policy) -> PollKind {
        if self.follow_up {
            PollKind::FollowUp
        } else if self.is_quiet(policy) {
            PollKind::Long
        } else {
            PollKind::Short
        }
    }

    /// How a poll asks that the server may hold for so long. What is held is long; what is not may be anything.
    pub(super) fn sent_kind(&self, policy: &Policy, wait: Duration) -> PollKind {
        match self.kind(policy) {
            PollKind::Short | PollKind::Long | PollKind::FollowUp if !wait.is_zero() => PollKind::Long,
            PollKind::Long if self.vague => PollKind::Short,
            kind @ (PollKind::Short | PollKind::Long | PollKind::FollowUp) => kind,
        }
    }

    pub(super) fn is_quiet(&self, policy: &Policy) -> bool {
        !policy.long_poll.is_zero() && empty_delay(self.empties) >= policy.poll_interval
    }

    /// A poll, or the poll inside a report, brought tasks.
    pub(super) fn brought(&mut self, now: Instant, kind: PollKind, got: u16, asked: u16, policy: &Policy) {
        self.answered();
        self.clear_by_answer(kind, true, policy);
        self.close(Range::at(now), Why::Empty);
        match kind {
            PollKind::Long => self.follow_up = true,
            PollKind::FollowUp => self.follow_up = got >= asked,
            PollKind::Short if self.is_quiet(policy) => self.follow_up = true,
            PollKind::Short => self.empties = 0,
        }
    }

    pub(super) fn empty(&mut self, sent: Instant, now: Instant, kind: PollKind, policy: &Policy) {
        self.answered();
        self.clear_by_answer(kind, false, policy);
        self.empty_since = (self.vague && self.settles).then_some(sent);
        if kind == PollKind::FollowUp {
            self.follow_up = false;
            return self.close(Range::at(now), Why::Empty);
        }
        self.empties = self.empties.saturating_add(1);
        let delay = empty_delay(self.empties).min(policy.poll_interval);
        self.close(Range::shortened(sent, delay, policy.empty_jitter), Why::Empty);
    }

    pub(super) fn failed(&mut self, now: Instant, reply: &Reply, policy: &Policy) {
        if matches!(reply, Err(error) if matches!(error.fault, Fault::Unauthorized | Fault::Forbidden)) {
            let delay = backoff(now, &policy.auth, self.unauthorized);
            let why = if self.unauthorized == 0 { Why::Empty } else { Why::Auth };
            self.unauthorized = self.unauthorized.saturating_add(1);
            return self.close(delay, why);
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(asked) = retry_after(now, reply, policy) {
            self.hold = self.hold.max(asked);
        }
        self.close(backoff(now, &policy.failing, self.failures), Why::Failing);
    }

    /// The answer to a report that was a poll too.
    pub(super) fn report_failed(&mut self, now: Instant, reply: &Reply, policy: &Policy) {
        if let Some(asked) = retry_after(now, reply, policy) {
            self.hold = self.hold.max(asked);
            self.close(self.opens, self.why);
        }
    }

    /// What an answer did to the gate cannot be told.
    pub(super) fn make_vague(&mut self) {
        self.vague = true;
        self.settles = false;
        self.empty_since = None;
    }

    /// Whether a failure keeps it closed: then a report that was a poll too says nothing of it. `None`: perhaps.
    pub(super) fn is_failing(&self, now: Instant) -> Option<bool> {
        if self.vague {
            None
        } else if self.opens.hi <= now || (self.why == Why::Empty && !self.unsure) {
            Some(false)
        } else {
            (self.opens.lo > now && !self.unsure).then_some(true)
        }
    }

    /// A wait tells when the gate opens, and for what it is closed.
    pub(super) fn told(&mut self, until: Instant, why: Why, policy: &Policy) {
        if self.vague {
            return self.clear_by_wait(until, why, policy);
        }
        if self.opens.lo <= until && until <= self.opens.hi {
            self.opens = Range::at(until);
            (self.why, self.unsure) = (why, false);
            if why == Why::RetryAfter {
                self.hold = self.opens;
            }
        }
    }

    /// The answer to a poll after which nothing of what was unclear matters any more.
    fn clear_by_answer(&mut self, kind: PollKind, brought: bool, policy: &Policy) {
        if !(self.vague && self.settles) {
            return;
        }
        let short = policy.long_poll.is_zero() && brought;
        // A long poll is sent only if the delays have reached the interval: how many empty polls there were
        // is no matter then.
        let long = kind == PollKind::Long;
        if long {
            let whole = |n: &u32| empty_delay(*n) >= policy.poll_interval;
            self.empties = (0..64).find(whole).unwrap_or(64).max(self.empties);
            self.follow_up = false;
        }
        self.vague &= !(short || long);
    }

    /// After an empty poll the wait says how many there were, if no jitter hides it.
    fn clear_by_wait(&mut self, until: Instant, why: Why, policy: &Policy) {
        let exact = policy.empty_jitter == 0 && policy.long_poll.is_zero() && why == Why::Empty;
        let Some(sent) = self.empty_since.filter(|_| exact) else { return };
        let delay = until.saturating_duration_since(sent);
        let fits = |n: &u32| empty_delay(*n).min(policy.poll_interval) == delay;
        if let Some(empties) = (1..64).find(fits) {
            *self = Self { empties, opens: Range::at(until), why, ..Self::OPEN };
        }
    }

    /// A poll that is not part of a report was sent.
    pub(super) fn polled(&mut self) {
        self.passed();
        self.settles = true;
    }

    /// A poll was sent, so that the latest `Retry-After` is over, wherever in its range it ended.
    pub(super) fn passed(&mut self) {
        self.hold = Range::OPEN;
    }

    fn answered(&mut self) {
        self.failures = 0;
        self.unauthorized = 0;
    }

    fn close(&mut self, opens: Range, why: Why) {
        self.why = if self.hold.lo > opens.hi { Why::RetryAfter } else { why };
        self.unsure = self.why == Why::Empty && self.hold.hi > opens.lo;
        self.opens = opens.max(self.hold);
    }
}

/// 2^n ms, without a bound.
fn empty_delay(n: u32) -> Duration {
    Duration::from_millis(1_u64.checked_shl(n).unwrap_or(u64::MAX / 1_000))
}

/// The gate before all calls while the server cannot be reached (S20).
#[derive(Clone, Copy, Debug)]
pub struct LinkGate {
    /// Failures of transport in a row; 0 if reachable.
    pub failures: u32,
    /// When the next call may be sent.
    pub opens: Range,
    /// The one call that tries, by a number that tells it from all others of the process.
    pub probe: Option<u64>,
    /// When the latest failure was told.
    pub since: Instant,
    /// When a call was answered last, or `ZERO` for never.
    pub answered: Instant,
}

/// A server that has answered some call within this time is there: another call that it leaves without an answer is slow.
const THERE: Duration = Duration::from_secs(10);

impl LinkGate {
    pub(super) const OPEN: Self =
        Self { failures: 0, opens: Range::OPEN, probe: None, since: Instant::ZERO, answered: Instant::ZERO };

    pub(super) fn sent(&mut self, call: u64) {
        if self.failures > 0 && self.probe.is_none() {
            self.probe = Some(call);
        }
    }

    pub(super) fn replied(&mut self, now: Instant, call: u64, reply: &Reply, policy: &Policy) {
        let fault = reply.as_ref().err().map(|error| error.fault);
        if !matches!(fault, Some(Fault::NotSent | Fault::Unknown | Fault::Slow)) {
            *self = Self { answered: now, ..Self::OPEN };
            return;
        }
        let there = self.answered > Instant::ZERO && self.answered.saturating_add(THERE) > now;
        if fault == Some(Fault::Slow) && self.failures == 0 && there {
            return;
        }
        if self.failures == 0 || self.probe == Some(call) {
            self.failures = self.failures.saturating_add(1);
            self.opens = backoff(now, &policy.failing, self.failures);
            self.probe = None;
            self.since = now;
        }
    }
}

/// The token, and the gate after 401s (S9).
#[derive(Clone, Copy, Debug)]
pub struct TokenGate {
    /// Nobody wants one.
    pub unwanted: bool,
    /// There is a key to ask with.
    keyed: bool,
    /// There is one.
    pub fresh: bool,
    /// It was accepted once.
    proven: bool,
    /// It was renewed for a 403, and no other is for that.
    forbidden: bool,
    /// Which one it is.
    pub generation: u32,
    /// When it is renewed.
    pub renew_at: Instant,
    /// A refresh is in flight.
    pub refreshing: bool,
    /// Failures in a row.
    pub failures: u32,
    /// When the next try may be made.
    pub opens: Range,
    /// The record leaves open whether some 401s counted as one failure or as two.
    vague: bool,
}

impl TokenGate {
    pub(super) const fn new(wanted: bool) -> Self {
        Self {
            unwanted: !wanted,
            keyed: wanted,
            fresh: false,
            proven: false,
            forbidden: false,
            generation: 0,
            renew_at: Instant::FAR_FUTURE,
            refreshing: false,
            failures: 0,
            opens: Range::OPEN,
            vague: false,
        }
    }

    /// A token of which these things are known.
    pub(super) const fn known(keyed: bool, fresh: bool, proven: bool, forbidden: bool) -> Self {
        Self { keyed, fresh, proven, forbidden, ..Self::new(keyed) }
    }

    /// A wait tells when the gate opens.
    pub(super) fn told(&mut self, until: Instant) {
        if self.unwanted && self.failures > 0 && self.opens.lo <= until && until <= self.opens.hi {
            self.opens = Range::at(until);
        }
    }

    /// Returns whether calls other than a refresh may be sent, as far as it goes.
    #[must_use]
    pub fn allows(&self, now: Instant) -> bool {
        if self.unwanted { self.failures == 0 || self.opens.lo <= now } else { self.fresh }
    }

    /// Returns whether they surely may.
    #[must_use]
    pub fn surely_allows(&self, now: Instant) -> bool {
        if self.unwanted { self.failures == 0 || self.opens.hi <= now } else { self.fresh }
    }

    /// A token is asked for: one that has grown old says nothing of the next.
    pub(super) fn asked(&mut self) {
        self.refreshing = true;
        self.forbidden &= !self.fresh;
    }

    pub(super) fn refreshed(&mut self, now: Instant, reply: &Reply, policy: &Policy) {
        self.refreshing = false;
        match reply {
            Ok(Answer::Token { valid_for }) => {
                let life = valid_for.unwrap_or(policy.token_life);
                self.fresh = true;
                self.proven = false;
                self.generation += 1;
                self.renew_at = now.saturating_add(four_fifths(life).max(policy.auth.base));
                self.opens = Range::at(now);
            }
            Ok(Answer::NoAuth) => {
                self.unwanted = true;
                self.fresh = false;
                self.renew_at = Instant::FAR_FUTURE;
                self.opens = Range::at(now);
            }
            Ok(Answer::Done | Answer::Ended | Answer::TimedOut) | Err(_) => {
                self.fail(now, policy);
                if let Some(asked) = retry_after(now, reply, policy) {
                    self.opens = self.opens.max(asked);
                }
            }
        }
    }

    pub(super) fn replied(&mut self, now: Instant, generation: u32, reply: &Reply, policy: &Policy) {
        match reply {
            Err(error) if error.fault == Fault::Unauthorized => self.unauthorized(now, generation, policy),
            Err(error) if error.fault == Fault::Forbidden => self.forbid(now, generation, policy),
            Err(error)
                if matches!(
                    error.fault,
                    Fault::NotSent
                        | Fault::Unknown
                        | Fault::Slow
                        | Fault::Server
                        | Fault::Internal
                        | Fault::Throttled
                ) => {}
            _ if generation == self.generation => {
                self.failures = 0;
                self.vague = false;
                self.proven = true;
            }
            _ => {}
        }
    }

    /// A 403 costs one token, and no other until that has grown old.
    fn forbid(&mut self, now: Instant, generation: u32, policy: &Policy) {
        let mine = self.keyed || !self.unwanted;
        if !mine || self.forbidden || (!self.unwanted && !self.fresh) {
            return;
        }
        if self.unwanted || generation == self.generation {
            self.forbidden = true;
            self.unauthorized(now, generation, policy);
        }
    }

    fn unauthorized(&mut self, now: Instant, generation: u32, policy: &Policy) {
        if self.unwanted {
            if self.failures == 0 || now >= self.opens.hi {
                self.fail(now, policy);
            } else if now >= self.opens.lo {
                self.vague = true;
                self.fail(now, policy);
            }
            self.unwanted = !self.keyed;
        } else if generation == self.generation && self.fresh {
            self.fresh = false;
            if self.proven {
                self.opens = Range::at(now);
            } else {
                self.fail(now, policy);
            }
        }
    }

    fn fail(&mut self, now: Instant, policy: &Policy) {
        self.failures = self.failures.saturating_add(1);
        self.opens = if self.vague {
            Range { lo: Instant::ZERO, hi: now.saturating_add(policy.auth.cap) }
        } else {
            backoff(now, &policy.auth, self.failures)
        };
    }
}

/// 80 % of a length.
pub(super) fn four_fifths(length: Duration) -> Duration {
    length.saturating_sub(length / 5)
}
