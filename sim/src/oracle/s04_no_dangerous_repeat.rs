//! S4: no yield is repeated when that could take the task from its next holder.

use downbeat_core::machine::{Action, Outcome};

use super::{Oracle, Ruling, Step, secs};

/// A yield that may have had effect is repeated only while `now + call_timeout < first sending + callback_after`.
#[derive(Debug)]
pub(super) struct NoDangerousRepeat;

impl Oracle for NoDangerousRepeat {
    fn name(&self) -> &'static str {
        "S4 no-dangerous-repeat"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let Action::Update { slot, .. } = *step.action else { return Ok(()) };
        let page = step.page;
        let Some(held) = page.held(slot) else { return Ok(()) };
        let (Some(Outcome::Yield { callback_after }), Some(first)) = (held.outcome, held.unsure_since) else {
            return Ok(());
        };
        let again = first.after(callback_after);
        if page.latest.after(page.policy.call_timeout) < again {
            return Ok(());
        }
        Err(format!(
            "repeats the yield of task {:032x} at {}, though it may be delivered again from {} on",
            held.key.to_u128(),
            secs(page.latest),
            secs(again)
        ))
    }
}
