//! The outcome of a held task, and what each answer to its report makes of it.

use std::time::Duration;

use downbeat_core::machine::{CallError, Fault, Instant, Instead, Outcome, Policy, Rules};

use super::gates::{Range, retry_after};
use super::model::HeldTask;

/// After so many refusals of a result by a well server, a report that the task failed takes its place.
pub(super) const REFUSALS: u16 = 6;
/// The next try of a result comes so soon if others are accepted: if one was within the second of these.
const OTHERS_PAUSE: Duration = Duration::from_secs(5);
pub(super) const OTHERS: Duration = Duration::from_secs(10);

impl HeldTask {
    /// The server will never accept the latest report: the next says that the task failed, unless that was it.
    pub(super) fn reject(&mut self, too_large: bool, store_by: Instant) {
        if self.instead.is_some() {
            self.rejected = true;
            return;
        }
        self.instead = Some(if too_large { Instead::TooLarge } else { Instead::Rejected });
        self.outcome = Some(Outcome::Final);
        self.store_by = self.store_by.min(store_by);
        self.attempt = self.attempt.saturating_add(1);
    }

    /// A report failed that is repeated.
    pub(super) fn fail(
        &mut self,
        sent: Instant,
        latest: Instant,
        error: CallError,
        (failing, others): (Option<bool>, bool),
        policy: &Policy,
    ) {
        if matches!(error.fault, Fault::Unknown | Fault::Slow | Fault::Server | Fault::Internal) {
            self.unsure_since = self.unsure_since.or(Some(sent));
        }
        self.attempt = self.attempt.saturating_add(1);
        let soon = !self.is_final() && self.unsure_since.is_none() && policy.rules != Rules::RubySdk;
        self.report = if soon {
            let delay = policy.failing.ceiling(u32::from(self.attempt));
            Range::shortened(latest, delay, policy.failing.jitter)
        } else {
            Range::at(latest.saturating_add(update_delay(policy, self.attempt)))
        };
        if let Some(asked) = retry_after(latest, &Err(error), policy) {
            self.report = self.report.max(asked);
        }
        let of_this = matches!(error.fault, Fault::Internal | Fault::Forbidden) && self.is_final();
        let stays = policy.journaled || !policy.store;
        let hurries = others && error.retry_after.is_none() && self.is_final() && (stays || of_this);
        if hurries && policy.rules != Rules::RubySdk {
            let soon = latest.saturating_add(OTHERS_PAUSE);
            self.report = Range { lo: self.report.lo.min(soon), hi: self.report.hi.min(soon) };
        }
        if !of_this || policy.rules == Rules::RubySdk || failing == Some(true) {
            return;
        }
        let sure = failing == Some(false);
        // It goes to the store later, from the first refusal that counts on. Which that is may not be known.
        if self.refused.0 == 0 && !self.store_waits && !policy.journaled {
            self.store_by = self.store_by.saturating_add(policy.store_after * 2);
            self.store_waits = true;
        }
        self.refused = (self.refused.0 + u16::from(sure), self.refused.1 + 1);
        if self.instead == Some(Instead::Refused) {
            self.instead = None;
        } else if self.instead.is_none() && self.refused.0 >= REFUSALS && sure {
            self.poisoned = true;
            self.report = Range::at(latest);
        } else if self.instead.is_none() && self.refused.1 >= REFUSALS {
            self.report.lo = latest;
        }
    }

    /// A report is sent, which says this in the outcome's place.
    pub(super) fn say(&mut self, instead: Option<Instead>, store_by: Instant) {
        if instead == Some(Instead::PollTimeout) && self.instead.is_none() {
            self.outcome = Some(Outcome::Final);
            self.store_by = self.store_by.min(store_by);
            self.unsure_since = None;
            self.unauthorized = 0;
        }
        self.instead = instead;
        self.poisoned = false;
    }
}

/// How long after its end a result goes to the store: with a journal its lease is kept meanwhile.
pub(super) fn stored_after(policy: &Policy) -> Duration {
    policy.store_after * if policy.journaled { 4 } else { 1 }
}

/// The delay before a report after so many failed ones; the last repeats.
pub(super) fn update_delay(policy: &Policy, attempt: u16) -> Duration {
    let last = policy.update.last().copied().unwrap_or_default();
    policy.update.get(usize::from(attempt)).copied().unwrap_or(last)
}
