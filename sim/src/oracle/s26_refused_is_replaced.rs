//! S26: a result that is never taken is replaced, for a reason and in time.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use downbeat_core::machine::{Action, Instead};

use super::outcome::REFUSALS;
use super::{Oracle, Step, Verdict};

/// A report that the task failed takes the outcome's place in these cases, and in no other: the outcome was
/// rejected (413, another 4xx), a server whose polls do not fail has refused it six times (500, 403), or it
/// is a yield that comes too late.
#[derive(Debug)]
pub(super) struct RefusedIsReplaced;

impl Oracle for RefusedIsReplaced {
    fn name(&self) -> &'static str {
        "S26 refused-is-replaced"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let (entry, instead, stores) = match *step.action {
            Action::Update { entry, instead, .. } => (entry, instead, false),
            Action::Spill { entry, instead, .. } => (entry, instead, true),
            _ => return Ok(()),
        };
        let model = step.model;
        let Some(held) = model.held(entry).filter(|_| !model.is_ruby()) else { return Ok(()) };
        let key = held.key.to_u128();
        let justified = match instead {
            None if stores => {
                !held.yielded && !matches!(held.instead, Some(Instead::TooLarge | Instead::Rejected))
            }
            None if held.poisoned => {
                return Err(format!(
                    "reports the result of task {key:032x} again, which a well server has refused {} times",
                    held.refused.0
                ));
            }
            None => {
                !matches!(held.instead, Some(Instead::TooLarge | Instead::Rejected | Instead::PollTimeout))
            }
            Some(why @ (Instead::TooLarge | Instead::Rejected)) => held.instead == Some(why),
            Some(Instead::Refused) => held.refused.1 >= REFUSALS,
            Some(Instead::PollTimeout) => {
                held.instead == Some(Instead::PollTimeout) || (held.yielded && held.is_late(model.latest))
            }
        };
        if justified {
            return Ok(());
        }
        Err(format!(
            "reports, or stores, task {key:032x} as {instead:?}, after {} refusals of its outcome and with {:?} on record",
            held.refused.1, held.instead
        ))
    }
}
