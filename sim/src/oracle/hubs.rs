//! The model of processes with many workers: what the record says of a hub.
//!
//! The token, the link and the budget of calls are the hub's; a worker's model borrows them.

use downbeat_core::machine::{CallId, Instant, Policy, Reply};

use super::gates::{LinkGate, TokenGate};
use super::model::Model;
use crate::scenario::Hub;

/// A hub's model.
#[derive(Clone, Debug)]
pub struct HubModel {
    /// Which hub: its number behind the workers.
    pub number: u32,
    /// Its workers.
    pub members: Vec<u32>,
    /// What its link and its token go by; `max_calls` is the budget.
    pub policy: Policy,
    /// The latest time that the process's clock has shown.
    pub latest: Instant,
    /// The gate before all calls of the process.
    pub link: LinkGate,
    /// The token that its workers share.
    pub token: TokenGate,
    /// The refresh in flight.
    pub refresh: Option<CallId>,
    /// Calls in flight of its workers.
    pub lanes: usize,
    /// Polls among them.
    pub polls: usize,
    /// When a call of the process last failed or took long, or none could be sent, in true time.
    pub trouble_at: Option<Instant>,
}

impl HubModel {
    /// An empty model.
    pub(super) fn new(hub: &Hub) -> Self {
        let policy = Policy {
            max_calls: hub.policy.max_calls,
            authenticated: hub.policy.authenticated,
            auth: hub.policy.auth,
            failing: hub.policy.failing,
            token_life: hub.policy.token_life,
            retry_after_max: hub.policy.retry_after_max,
            ..Policy::default()
        };
        Self {
            number: hub.number,
            members: hub.members.clone(),
            latest: Instant::ZERO,
            link: LinkGate::OPEN,
            token: TokenGate::new(policy.authenticated),
            refresh: None,
            lanes: 0,
            polls: 0,
            trouble_at: None,
            policy,
        }
    }

    /// The process starts anew, or ends.
    pub(super) fn renew(&mut self) {
        self.latest = Instant::ZERO;
        self.link = LinkGate::OPEN;
        self.token = TokenGate::new(self.policy.authenticated);
        self.refresh = None;
        self.lanes = 0;
        self.polls = 0;
        self.trouble_at = None;
    }

    /// Calls in flight of the whole process.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.lanes + usize::from(self.refresh.is_some())
    }

    /// Returns how many of them may be polls: all but a quarter, and never all.
    #[must_use]
    pub fn poll_lanes(&self) -> usize {
        let calls = usize::from(self.policy.max_calls);
        calls.saturating_sub((calls / 4).max(1)).max(1)
    }

    /// Returns whether the process could send a call at once, if not for its token.
    #[must_use]
    pub fn has_lane(&self) -> bool {
        self.calls() < usize::from(self.policy.max_calls) && self.link.failures == 0
    }

    /// Returns whether it surely could send any call.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.has_lane() && self.token.surely_allows(self.latest)
    }

    /// Returns whether one of its workers could send a call at once.
    #[must_use]
    pub fn lets_call(&self, model: &Model) -> bool {
        self.is_free() && model.has_lane()
    }

    /// Returns whether one of its workers could poll at once.
    #[must_use]
    pub fn lets_poll(&self, model: &Model) -> bool {
        self.lets_call(model) && self.polls < self.poll_lanes()
    }

    pub(super) fn refreshed(&mut self, at: Instant, call: CallId, reply: &Reply) {
        if self.refresh.map(CallId::serial) != Some(call.serial()) {
            return;
        }
        self.refresh = None;
        let policy = self.policy;
        self.token.refreshed(self.latest, reply, &policy);
        self.link.replied(self.latest, u64::from(call.serial()), reply, &policy);
        if reply.is_err() {
            self.trouble_at = Some(at);
        }
    }

    /// Lends a worker's model what is the hub's, while that follows the record; what it then is comes back.
    pub(super) fn lend<T>(&mut self, model: &mut Model, keep: impl FnOnce(&mut Model) -> T) -> T {
        model.link = self.link;
        model.token = self.token;
        let before = (model.lanes_taken(), usize::from(model.poll().is_some()));
        let kept = keep(model);
        let after = (model.lanes_taken(), usize::from(model.poll().is_some()));
        self.lanes = (self.lanes + after.0).saturating_sub(before.0);
        self.polls = (self.polls + after.1).saturating_sub(before.1);
        self.link = model.link;
        self.token = model.token;
        kept
    }
}
