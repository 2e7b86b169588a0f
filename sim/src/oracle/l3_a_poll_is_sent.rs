//! L3: a poll is sent.

use downbeat_core::machine::{Action, Instant, Why};

use super::model::Model;
use super::{HubView, Oracle, Step, Verdict, secs};

/// With a free entry and nothing in the way, no wait goes past the poll gate.
#[derive(Debug)]
pub(super) struct APollIsSent;

impl Oracle for APollIsSent {
    fn name(&self) -> &'static str {
        "L3 a-poll-is-sent"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let Action::Wait { until, why } = *step.action else { return Ok(()) };
        if model.wants_poll() && model.is_unhindered() { waits(model, until, why) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let Some((until, why)) = view.wait() else { return Ok(()) };
        view.each(|_, model| {
            if view.hub.lets_poll(model) && model.wants_poll() { waits(model, until, why) } else { Ok(()) }
        })
    }
}

fn waits(model: &Model, until: Option<Instant>, why: Why) -> Verdict {
    let opens = model.gate.opens.hi;
    if opens > model.latest && until.is_some_and(|until| until <= opens) {
        return Ok(());
    }
    let until = until.map_or_else(|| "an input".to_owned(), secs);
    Err(format!(
        "waits for {until} ({why:?}) with room for {} tasks and a poll gate that opens by {}",
        model.room(),
        secs(opens)
    ))
}
