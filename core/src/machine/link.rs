//! Whether the server can be reached: one gate before all calls, so that an outage is gentle.

use super::cx::Cx;
use super::flaw::Flaw;
use super::input::{Fault, Reply};
use super::kind::Kind;
use super::policy::AuthPolicy;
use super::time::Instant;

/// A circuit breaker over failures of transport ([`Fault::NotSent`], [`Fault::Unknown`]; [`Fault::Slow`] unless
/// another call was answered within 10 s).
///
/// After one, no call is sent until the gate's time; then a single call, the probe, is. An answer of any status, to
/// any call, opens the gate. So an unreachable server sees one connection per delay, whatever is due (rule S20).
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Link {
    failures: u32,
    at: Instant,
    probe: Option<u64>,
    /// When a call was answered last, or `ZERO` for never.
    answered: Instant,
}

/// A server that has answered some call within this time, in microseconds, is there: another call that it leaves without an
/// answer is slow, and no sign of an outage.
const THERE: u64 = 10_000_000;

impl Link {
    pub(crate) const OPEN: Self =
        Self { failures: 0, at: Instant::ZERO, probe: None, answered: Instant::ZERO };

    /// Whether a call may be sent now.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.failures == 0 || (self.probe.is_none() && self.at <= now)
    }

    /// When a call may be sent at the earliest, unless one is probing; `ZERO` while the link is well.
    pub(crate) const fn gate(&self) -> Instant {
        self.at
    }

    /// Whether the probe is in flight: no other call may be sent before it has ended.
    pub(crate) const fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether this call is the probe.
    pub(crate) fn awaits(&self, call: u64) -> bool {
        self.probe == Some(call)
    }

    /// A call is sent; `call` is any number that tells it from the others in flight.
    pub(crate) fn sent(&mut self, call: u64) {
        if self.failures > 0 && self.probe.is_none() {
            self.probe = Some(call);
        }
    }

    /// A call ended.
    pub(crate) fn replied<M: Kind, P: AuthPolicy>(
        &mut self,
        cx: &mut Cx<'_, M, P>,
        call: u64,
        reply: &Reply,
    ) {
        let now = cx.now;
        let fault = reply.as_ref().err().map(|error| error.fault);
        if !matches!(fault, Some(Fault::NotSent | Fault::Unknown | Fault::Slow)) {
            *self = Self { answered: now, ..Self::OPEN };
            return;
        }
        let there = self.answered > Instant::ZERO && self.answered.saturating_add_micros(THERE) > now;
        if fault == Some(Fault::Slow) && self.failures == 0 && there && !M::Flaw::SLOW_SHUTS_LINK {
            return;
        }
        // Calls that were in flight when the link failed all fail with it: that is one failure, not many.
        if self.failures == 0 || self.probe == Some(call) {
            self.failures = self.failures.saturating_add(1);
            self.at = cx.after(cx.policy.failing(), self.failures);
            self.probe = None;
        }
    }
}
