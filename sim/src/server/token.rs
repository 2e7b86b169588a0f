//! Tokens: issued, expiring, revoked (R-TOKEN-1).

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::machine::Instant;

use super::{Refusal, Server};
use crate::event::Effect;

/// The tokens that are good, with the time at which each ends.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    life: Option<Duration>,
    good: BTreeMap<u64, Instant>,
    issued: u64,
}

impl Tokens {
    pub(super) const fn new(life: Option<Duration>) -> Self {
        Self { life, good: BTreeMap::new(), issued: 0 }
    }
}

impl Server {
    /// Issues a token; `None`: this server wants none (`/token` answers 404).
    pub fn issue_token(&mut self, now: Instant, worker: u32) -> Option<u64> {
        let life = self.tokens.life?;
        // Tokens end in the order in which they were issued: all have the same life.
        while self.tokens.good.first_entry().is_some_and(|first| *first.get() <= now) {
            self.tokens.good.pop_first();
        }
        self.tokens.issued += 1;
        self.tokens.good.insert(self.tokens.issued, now.after(life));
        self.effects.push(Effect::TokenIssued { worker });
        Some(self.tokens.issued)
    }

    /// No token issued so far is good any more.
    pub fn revoke_tokens(&mut self) {
        self.tokens.good.clear();
    }

    /// Whether a token is good, for requests that the model does not know.
    ///
    /// # Errors
    /// The token is missing or not good.
    pub fn check_token(&mut self, now: Instant, worker: u32, token: Option<u64>) -> Result<(), Refusal> {
        self.authorise(now, worker, token)
    }

    pub(super) fn authorise(&mut self, now: Instant, worker: u32, token: Option<u64>) -> Result<(), Refusal> {
        let wanted = self.tokens.life.is_some();
        let good = token.and_then(|token| self.tokens.good.get(&token)).is_some_and(|end| *end > now);
        if wanted && !good {
            self.effects.push(Effect::TokenRefused { worker });
            return Err(Refusal::Unauthorized);
        }
        Ok(())
    }
}
