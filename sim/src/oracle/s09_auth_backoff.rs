//! S9: authorisation backs off.

use downbeat_core::machine::{Action, Why};

use super::{Oracle, Ruling, Step, secs};

/// A refused token is asked for again after a growing delay of at most a minute, once at a time, and costs no report an
/// attempt.
#[derive(Debug)]
pub(super) struct AuthBackoff;

impl Oracle for AuthBackoff {
    fn name(&self) -> &'static str {
        "S9 auth-backoff"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let (page, now) = (step.page, step.page.latest);
        let token = &page.token;
        match *step.action {
            Action::Refresh { .. } if token.refreshing => {
                Err("asks for a token while it is asking for one".to_owned())
            }
            Action::Refresh { .. } if token.unwanted => {
                Err("asks for a token, though the server wants none".to_owned())
            }
            Action::Refresh { .. } if now < token.opens.lo => Err(format!(
                "asks for a token at {}, after {} failures and before {}",
                secs(now),
                token.failures,
                secs(token.opens.lo)
            )),
            Action::Refresh { .. } if token.fresh && now < token.renew_at => {
                Err("asks for a token, though the present one is good and was not refused".to_owned())
            }
            Action::Update { slot, attempt, .. } => match page.held(slot) {
                Some(held) if held.attempt != attempt => {
                    Err(format!("counts {attempt} failed reports where {} failed, 401s apart", held.attempt))
                }
                _ => Ok(()),
            },
            Action::Wait { until: Some(until), why: Why::Auth } => {
                let renews = token.fresh && until == token.renew_at.max(token.opens.lo);
                let gate = page.gate.opens;
                let refused = page.gate.vague || (gate.lo <= until && until <= gate.hi);
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
            | Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }
}
