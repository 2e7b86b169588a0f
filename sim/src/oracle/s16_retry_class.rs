//! S16: what is retried, and what is not.

use downbeat_core::machine::{Action, Instead};

use super::{Oracle, Step, Verdict, secs};

/// What the server rejects for good is not sent again, but for the report that the task failed; a retry comes after its
/// delay.
#[derive(Debug)]
pub(super) struct RetryClass;

impl Oracle for RetryClass {
    fn name(&self) -> &'static str {
        "S16 retry-class"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let (Action::Update { entry, .. } | Action::Spill { entry, .. }) = *step.action else {
            return Ok(());
        };
        let Some(held) = step.model.held(entry) else { return Ok(()) };
        let whole = matches!(step.action, Action::Update { instead: None, .. });
        let rejected = matches!(held.instead, Some(Instead::Rejected | Instead::TooLarge));
        if held.rejected || (whole && rejected) {
            return Err(format!(
                "sends the result of task {:032x} again, which the server has rejected for good",
                held.key.to_u128()
            ));
        }
        let early = step.model.latest < held.report.lo;
        if early && matches!(step.action, Action::Update { .. }) {
            return Err(format!(
                "repeats a report at {}, before it is due at {}",
                secs(step.model.latest),
                secs(held.report.lo)
            ));
        }
        Ok(())
    }
}
