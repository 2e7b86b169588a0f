//! S9: authorisation backs off.

use downbeat_core::machine::{Action, Instant, Why};

use super::gates::{Range, TokenGate};
use super::{HubView, Oracle, Step, Verdict, secs};

/// A refused token is asked for again after a growing delay of at most a minute, once at a time, and costs no report an
/// attempt.
#[derive(Debug)]
pub(super) struct AuthBackoff;

impl Oracle for AuthBackoff {
    fn name(&self) -> &'static str {
        "S9 auth-backoff"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let (model, now) = (step.model, step.model.latest);
        let token = &model.token;
        match *step.action {
            Action::Refresh { .. } => refreshes(token, now),
            Action::Update { entry, attempt, .. } => match model.held(entry) {
                Some(held) if held.attempt != attempt => {
                    Err(format!("counts {attempt} failed reports where {} failed, 401s apart", held.attempt))
                }
                _ => Ok(()),
            },
            Action::Wait { until: Some(until), why: Why::Auth } => {
                let renews = token.fresh && until == token.renew_at.max(token.opens.lo);
                let gate = model.gate.opens;
                let refused = model.gate.vague || (gate.lo <= until && until <= gate.hi);
                if renews || refused || (until >= token.opens.lo && until <= token.opens.hi.max(now)) {
                    return Ok(());
                }
                Err(format!(
                    "waits for authorisation until {}, whose gate opens from {} to {}",
                    secs(until),
                    secs(token.opens.lo),
                    secs(token.opens.hi)
                ))
            }
            Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ask { .. }
            | Action::Extend { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let (hub, token) = (view.hub, &view.hub.token);
        if matches!(view.step.action, Action::Refresh { .. }) {
            return refreshes(token, hub.latest);
        }
        let Some((Some(until), Why::Auth)) = view.wait() else { return Ok(()) };
        let renews = Range::at(token.renew_at).max(token.opens);
        let due = if token.fresh { renews } else { token.opens };
        let link = if hub.link.failures > 0 { hub.link.opens } else { Range::OPEN };
        let gate = due.max(link);
        // If no token is wanted the gate itself ends the wait, whatever the link says.
        let opens = token.unwanted && token.opens.lo <= until && until <= token.opens.hi;
        if opens || (until >= gate.lo && until <= gate.hi.max(hub.latest)) {
            return Ok(());
        }
        Err(format!(
            "waits for authorisation until {}, whose gate opens from {} to {}",
            secs(until),
            secs(gate.lo),
            secs(gate.hi)
        ))
    }
}

/// Whether a token may be asked for.
fn refreshes(token: &TokenGate, now: Instant) -> Verdict {
    if token.refreshing {
        Err("asks for a token while it is asking for one".to_owned())
    } else if token.unwanted {
        Err("asks for a token, though the server wants none".to_owned())
    } else if now < token.opens.lo {
        Err(format!(
            "asks for a token at {}, after {} failures and before {}",
            secs(now),
            token.failures,
            secs(token.opens.lo)
        ))
    } else if token.fresh && now < token.renew_at {
        Err("asks for a token, though the present one is good and was not refused".to_owned())
    } else {
        Ok(())
    }
}
