//! S16: what is retried, and what is not.

use downbeat_core::machine::Action;

use super::{Oracle, Ruling, Step, secs};

/// What the server rejects for good is not sent again; a retry comes after its delay.
#[derive(Debug)]
pub(super) struct RetryClass;

impl Oracle for RetryClass {
    fn name(&self) -> &'static str {
        "S16 retry-class"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let (Action::Update { slot, .. } | Action::Spill { slot, .. }) = *step.action else { return Ok(()) };
        let Some(held) = step.page.held(slot) else { return Ok(()) };
        if held.rejected {
            return Err(format!(
                "sends the result of task {:032x} again, which the server has rejected for good",
                held.key.to_u128()
            ));
        }
        let early = step.page.latest < held.report.lo;
        if early && matches!(step.action, Action::Update { .. }) {
            return Err(format!(
                "repeats a report at {}, before it is due at {}",
                secs(step.page.latest),
                secs(held.report.lo)
            ));
        }
        Ok(())
    }
}
