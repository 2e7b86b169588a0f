//! Tokens: issued, expiring, revoked (R-TOKEN-1).

use downbeat_core::machine::Instant;

use super::{Effect, Refusal, Server};

impl Server {
    /// Issues a token. Returns `None` if this server wants none (`/token` answers 404).
    pub fn issue_token(&mut self, now: Instant, worker: u32) -> Option<u64> {
        let life = self.tokens.life?;
        while self.tokens.ends.front().is_some_and(|end| *end <= now) {
            self.tokens.ends.pop_front();
            self.tokens.first += 1;
        }
        self.tokens.ends.push_back(now.saturating_add(life));
        self.effects.push(Effect::TokenIssued { worker });
        Some(self.tokens.first + self.tokens.ends.len() as u64 - 1)
    }

    /// Makes every token that was issued so far bad.
    pub fn revoke_tokens(&mut self) {
        self.tokens.first += self.tokens.ends.len() as u64;
        self.tokens.ends.clear();
    }

    /// Returns whether a token is good, for requests that the model does not know.
    ///
    /// # Errors
    /// The token is missing or not good.
    pub fn check_token(&mut self, now: Instant, worker: u32, token: Option<u64>) -> Result<(), Refusal> {
        self.authorise(now, worker, token)
    }

    pub(super) fn authorise(&mut self, now: Instant, worker: u32, token: Option<u64>) -> Result<(), Refusal> {
        let wanted = self.tokens.life.is_some();
        let place = token.and_then(|token| token.checked_sub(self.tokens.first));
        let end = place.and_then(|place| self.tokens.ends.get(usize::try_from(place).ok()?));
        let good = end.is_some_and(|end| *end > now);
        if wanted && !good {
            self.effects.push(Effect::Unauthorized { worker });
            return Err(Refusal::Unauthorized);
        }
        Ok(())
    }
}
