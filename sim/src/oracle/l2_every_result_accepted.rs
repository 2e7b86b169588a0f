//! L2: every result is accepted.

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::book::{Held, Page};
use super::{HubView, Oracle, Ruling, Setting, Step, secs};

/// Within [`super::Bounds::result_accepted`] of its end, or of the last fault; and no wait goes past a report that is
/// due.
#[derive(Debug)]
pub(super) struct EveryResultAccepted {
    bound: Duration,
    healed_at: Option<Instant>,
}

impl EveryResultAccepted {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { bound: setting.bounds.result_accepted, healed_at: None }
    }

    fn late(&self, at: Instant, held: &Held) -> Option<String> {
        let from = held.ended_at.max(self.healed_at?);
        let took = from.until(at);
        (held.is_final() && took > self.bound).then(|| {
            format!(
                "{} s after {}; the bound is {} s; {} reports failed",
                took.as_secs(),
                secs(from),
                self.bound.as_secs(),
                held.attempt
            )
        })
    }
}

impl Oracle for EveryResultAccepted {
    fn name(&self) -> &'static str {
        "L2 every-result-accepted"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        if let Some(late) = page.freed.as_ref().and_then(|held| self.late(step.at, held)) {
            return Err(format!("a result was accepted {late}"));
        }
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        if page.held > 0 && page.is_unhindered() { waits(page, until) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        let Some((until, _)) = view.wait() else { return Ok(()) };
        view.each(
            |_, page| {
                if page.held > 0 && view.hub.lets_call(page) { waits(page, until) } else { Ok(()) }
            },
        )
    }

    fn healed(&mut self, at: Instant) {
        self.healed_at = Some(at);
    }

    fn finish(&mut self, at: Instant, pages: &[Page]) -> Result<(), (Option<u32>, String)> {
        for (worker, page) in (0..).zip(pages) {
            let held = page.all().filter(|_| page.alive && !page.is_seed());
            if let Some(late) =
                held.filter(|held| held.outcome.is_some()).find_map(|held| self.late(at, held))
            {
                return Err((Some(worker), format!("a result has not been accepted {late}")));
            }
        }
        Ok(())
    }
}

/// No wait goes past a report.
fn waits(page: &Page, until: Option<Instant>) -> Ruling {
    match page.next_report() {
        Some((held, due)) if due <= page.latest || until.is_none_or(|until| until > due) => {
            let until = until.map_or_else(|| "an input".to_owned(), secs);
            Err(format!(
                "waits for {until}, though the outcome of task {:032x} has to be reported at {}",
                held.key.to_u128(),
                secs(due)
            ))
        }
        _ => Ok(()),
    }
}
