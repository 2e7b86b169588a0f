//! S8: no poll before its gate.

use downbeat_core::machine::{Action, Why};

use super::{Oracle, Ruling, Step, secs};

/// No `Poll`, and no `Update` with `take_next`, before the gate opens; nor is the gate later than its cap.
#[derive(Debug)]
pub(super) struct PollGate;

impl Oracle for PollGate {
    fn name(&self) -> &'static str {
        "S8 poll-gate"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let (page, now) = (step.page, step.now);
        let opens = page.gate.opens;
        if page.gate.vague {
            return Ok(());
        }
        match *step.action {
            Action::Poll { .. } | Action::Update { take_next: true, .. } => {
                if now < opens.lo {
                    let early = now.until(opens.lo).as_micros();
                    return Err(format!(
                        "polls {early} µs before the gate ({:?}, opens at {} at the earliest)",
                        page.gate.why,
                        secs(opens.lo)
                    ));
                }
                if !page.token.allows(now) {
                    return Err("polls without a good token, or inside the authorisation backoff".to_owned());
                }
                Ok(())
            }
            Action::Wait { until: Some(until), why: Why::Empty | Why::Failing | Why::RetryAfter } => {
                if until < opens.lo || until > opens.hi.max(page.latest) {
                    return Err(format!(
                        "waits for the poll gate until {}, which opens from {} to {}",
                        secs(until),
                        secs(opens.lo),
                        secs(opens.hi)
                    ));
                }
                Ok(())
            }
            Action::Run { .. }
            | Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }
}
