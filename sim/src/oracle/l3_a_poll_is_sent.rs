//! L3: a poll is sent.

use downbeat_core::machine::{Action, Instant, Why};

use super::book::Page;
use super::{HubView, Oracle, Ruling, Step, secs};

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
        if page.wants_poll() && page.is_unhindered() { waits(page, until, why) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        let Some((until, why)) = view.wait() else { return Ok(()) };
        view.each(|_, page| {
            if view.hub.lets_poll(page) && page.wants_poll() { waits(page, until, why) } else { Ok(()) }
        })
    }
}

fn waits(page: &Page, until: Option<Instant>, why: Why) -> Ruling {
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
