//! The token: whether there is one, when it is renewed, and how long to wait after a 401.

use core::num::NonZero;

use super::cx::Cx;
use super::flaw::Flaw;
use super::gate::hold;
use super::input::{Answer, Fault, Reply, TokenNews};
use super::kind::Kind;
use super::policy::AuthPolicy;
use super::time::{Instant, divide, divisor, micros};

/// The life of a token, or of none, with the gate that authorisation failures close (rule S9).
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Auth {
    owner: Owner,
    /// There is a key to ask with, whatever the server said last.
    keyed: bool,
    fresh: bool,
    /// A call was accepted with the present token, so that a 401 means that it has expired since.
    proven: bool,
    generation: u16,
    /// When a fresh token is renewed, or `FAR_FUTURE` for never.
    renew_at: Instant,
    refresh: Option<u32>,
    failures: u32,
    /// The token was renewed for a 403, which the next one may get too: no other is thrown away for that.
    forbidden: bool,
    /// The gate: nothing that needs authorisation (and no refresh) before this.
    at: Instant,
}

/// Who gets the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
enum Owner {
    /// The server wants none.
    Nobody,
    /// This machine.
    Machine,
    /// A hub; it sends news.
    Hub,
}

impl Auth {
    pub(crate) const fn new(authenticated: bool) -> Self {
        Self {
            owner: if authenticated { Owner::Machine } else { Owner::Nobody },
            keyed: authenticated,
            fresh: false,
            proven: false,
            generation: 0,
            renew_at: Instant::FAR_FUTURE,
            refresh: None,
            failures: 0,
            forbidden: false,
            at: Instant::ZERO,
        }
    }

    /// Leaves the token to a hub; none is there until its news.
    pub(crate) fn hand_to_hub(&mut self) {
        self.owner = Owner::Hub;
        self.keyed = false;
        self.fresh = false;
    }

    pub(crate) const fn generation(&self) -> u16 {
        self.generation
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) const fn refreshing(&self) -> bool {
        self.refresh.is_some()
    }

    /// Whether a token is wanted and not there.
    pub(crate) const fn is_missing(&self) -> bool {
        !matches!(self.owner, Owner::Nobody) && !self.fresh
    }

    /// Whether calls may be sent now, as far as authorisation goes.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        !self.is_missing() && self.gate() <= now
    }

    /// When calls may be sent, as far as authorisation goes and a token is there if one is wanted.
    pub(crate) fn gate(&self) -> Instant {
        if self.owner == Owner::Nobody && self.failures > 0 { self.at } else { Instant::ZERO }
    }

    /// When a refresh is due, or `FAR_FUTURE` if none is wanted or one is in flight.
    pub(crate) fn refresh_at<M: Kind>(&self) -> Instant {
        let in_flight = self.refresh.is_some() && !M::Flaw::TWO_REFRESHES;
        if self.owner != Owner::Machine || in_flight {
            return Instant::FAR_FUTURE;
        }
        if self.fresh { self.renew_at.max(self.at) } else { self.at }
    }

    pub(crate) fn refresh_sent(&mut self, serial: u32) {
        self.refresh = Some(serial);
        // A token that has grown old says nothing of the next one.
        self.forbidden &= !self.fresh;
    }

    /// A refresh ended; whether the call was the one in flight.
    pub(crate) fn refreshed<M: Kind, P: AuthPolicy>(
        &mut self,
        cx: &mut Cx<'_, M, P>,
        serial: u32,
        reply: &Reply,
    ) -> bool {
        let (now, policy) = (cx.now, cx.policy);
        if self.refresh != Some(serial) {
            return false;
        }
        self.refresh = None;
        match reply {
            Ok(Answer::Token { valid_for }) => {
                let life = valid_for.unwrap_or_else(|| policy.token_life());
                self.fresh = true;
                self.proven = false;
                self.generation = self.generation.wrapping_add(1);
                // A token that is over at once must not have its issuer asked without a pause.
                let soonest = micros(policy.auth().base);
                self.renew_at = now.saturating_add_micros(four_fifths(micros(life)).max(soonest));
                self.at = now;
            }
            Ok(Answer::NoAuth) => {
                self.owner = Owner::Nobody;
                self.fresh = false;
                self.renew_at = Instant::FAR_FUTURE;
                self.at = now;
            }
            Ok(Answer::Done | Answer::Ended | Answer::TimedOut) => self.fail(cx),
            Err(error) => {
                self.fail(cx);
                self.at = self.at.max(hold(cx, error.retry_after.unwrap_or_default()));
            }
        }
        true
    }

    /// A call other than a refresh ended, that was sent with the token of this generation.
    pub(crate) fn replied<M: Kind, P: AuthPolicy>(
        &mut self,
        cx: &mut Cx<'_, M, P>,
        generation: u16,
        reply: &Reply,
    ) {
        match reply {
            Err(error) if error.fault == Fault::Unauthorized => self.unauthorized(cx, generation),
            Err(error) if error.fault == Fault::Forbidden => {
                self.forbidden(cx, generation);
            }
            // Nobody knows whether these reached anybody who looks at tokens.
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
                self.proven = true;
            }
            _ => {}
        }
    }

    /// What a hub says.
    pub(crate) fn news(&mut self, news: TokenNews) {
        if self.owner != Owner::Hub {
            return;
        }
        match news {
            TokenNews::Fresh { generation } => {
                self.fresh = true;
                self.generation = generation;
            }
            TokenNews::Missing => self.fresh = false,
        }
    }

    /// The Ruby SDK's rule: an answered poll forgets the failures.
    pub(crate) fn forget_failures(&mut self) {
        self.failures = 0;
    }

    /// A 403 may mean that the token is not good any more, as some servers say it: one is renewed for that. If the next gets
    /// one too, it is not about tokens.
    fn forbidden<M: Kind, P: AuthPolicy>(&mut self, cx: &mut Cx<'_, M, P>, generation: u16) {
        let mine = matches!(self.owner, Owner::Machine) || self.keyed && matches!(self.owner, Owner::Nobody);
        if !mine
            || self.forbidden && !M::Flaw::FORBIDDEN_RENEWS
            || !self.fresh && self.owner == Owner::Machine
        {
            return;
        }
        if self.owner == Owner::Nobody || generation == self.generation {
            self.forbidden = true;
            self.unauthorized(cx, generation);
        }
    }

    fn unauthorized<M: Kind, P: AuthPolicy>(&mut self, cx: &mut Cx<'_, M, P>, generation: u16) {
        let now = cx.now;
        match self.owner {
            // Calls that were in flight together get their 401 together: one failure.
            Owner::Nobody if self.failures > 0 && now < self.at => {}
            Owner::Nobody => {
                self.fail(cx);
                if self.keyed {
                    // The server had no use for tokens, or a proxy said so, and that has changed.
                    self.owner = Owner::Machine;
                }
            }
            // An old token's 401 says nothing of the present one.
            Owner::Machine | Owner::Hub if !self.fresh => {}
            Owner::Machine | Owner::Hub
                if generation != self.generation && !M::Flaw::OLD_UNAUTHORIZED_COUNTS => {}
            Owner::Hub => self.fresh = false,
            Owner::Machine => {
                self.fresh = false;
                if self.proven {
                    self.at = now;
                } else {
                    self.fail(cx);
                }
            }
        }
    }

    fn fail<M: Kind, P: AuthPolicy>(&mut self, cx: &mut Cx<'_, M, P>) {
        self.failures = self.failures.saturating_add(1);
        self.at = cx.after(cx.policy.auth(), self.failures);
    }
}

const FIVE: NonZero<u32> = divisor(5);

/// Four fifths of a length in microseconds: when a lease is extended.
pub(crate) fn four_fifths(length: u64) -> u64 {
    length.saturating_sub(divide(length, FIVE).0)
}
