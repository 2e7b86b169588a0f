//! S2: no result is lost.

use downbeat_core::machine::{Action, Loss};

use super::book::Mode;
use super::{Oracle, Ruling, Step};

/// A final outcome leaves by acceptance, by the store, or by the server's rejection; else only after `Abort`.
#[derive(Debug)]
pub(super) struct NoResultLost;

impl Oracle for NoResultLost {
    fn name(&self) -> &'static str {
        "S2 no-result-lost"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let Action::Discard { slot, why } = *step.action else { return Ok(()) };
        let page = step.page;
        let Some(held) = page.held(slot) else { return Ok(()) };
        let aborted = page.mode == Mode::Aborted;
        let stored = page.policy.store && held.is_final() && !held.store_failed;
        let justified = match why {
            Loss::Rejected => held.rejected,
            Loss::Aborted => aborted && !stored,
            Loss::UnsafeYield => held.outcome.is_some() && !held.is_final() && held.unsure_since.is_some(),
            Loss::GaveUp => false,
        };
        if justified {
            return Ok(());
        }
        let what = if held.is_final() { "the result of" } else { "" };
        Err(format!(
            "gives up {what} task {:032x} after {} failed reports, for {why:?}, which nothing in the record justifies",
            held.key.to_u128(),
            held.attempt
        ))
    }
}
