//! L3: a poll is sent.

use downbeat_core::machine::Action;

use super::book::Mode;
use super::{Oracle, Ruling, Step, secs};

/// With a free place and nothing in the way, no wait goes past the poll gate.
#[derive(Debug)]
pub(super) struct APollIsSent;

impl Oracle for APollIsSent {
    fn name(&self) -> &'static str {
        "L3 a-poll-is-sent"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        let Action::Wait { until, why } = *step.action else { return Ok(()) };
        let wants = page.mode == Mode::Open && page.poll().is_none() && page.room() > 0 && !page.gate.vague;
        if !wants || !page.is_unhindered() {
            return Ok(());
        }
        let opens = page.gate.opens.hi;
        if opens > page.latest && until.is_some_and(|until| until <= opens) {
            return Ok(());
        }
        let until = until.map_or_else(|| "an input".to_owned(), secs);
        Err(format!(
            "waits for {until} ({why:?}) with room for {} tasks and a poll gate that opens by {}",
            page.room(),
            secs(opens)
        ))
    }
}
