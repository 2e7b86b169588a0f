//! S6: leases are kept.

use downbeat_core::machine::{Action, Instant};

use super::book::{Held, Mode, Page};
use super::{Oracle, Ruling, Step, secs};
use crate::event::Effect;

/// Without a fault no lease lapses; an extension is sent at 80 % of the lease, counted from the sending of the call
/// that brought the task, until the outcome is accepted.
#[derive(Debug)]
pub(super) struct LeasesKept;

impl Oracle for LeasesKept {
    fn name(&self) -> &'static str {
        "S6 leases-kept"
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        if page.held == 0 || !page.policy.extend || !page.is_unhindered() {
            return Ok(());
        }
        let Some((held, due)) = page.next_extension() else { return Ok(()) };
        if due > page.latest && until.is_some_and(|until| until <= due) {
            return Ok(());
        }
        let until = until.map_or_else(|| "an input".to_owned(), secs);
        Err(format!(
            "waits for {until}, though the lease of task {:032x} has to be extended at {}",
            held.key.to_u128(),
            secs(due)
        ))
    }

    fn server(&mut self, at: Instant, effect: &Effect, pages: &[Page]) -> Ruling {
        let Effect::Lapsed { key, worker } = *effect else { return Ok(()) };
        let Some(page) = pages.get(worker as usize).filter(|page| page.alive && !page.is_seed()) else {
            return Ok(());
        };
        let Some(held) = page.all().find(|held| held.key == key && !held.settled) else { return Ok(()) };
        if held.lease.is_zero() || explained(page, at, held) {
            return Ok(());
        }
        Err(format!(
            "the lease of task {:032x}, which worker {worker} holds, lapsed though no call of it had failed or taken long for {} s",
            key.to_u128(),
            held.lease.as_secs()
        ))
    }
}

/// Whether a call of the last lease failed or was slow, the answer that brought the task came in its lease's last fifth,
/// or the lanes were too few to extend them all.
fn explained(page: &Page, at: Instant, held: &Held) -> bool {
    let lease = held.lease;
    let late = held.run_at.until(at) <= lease / 5;
    let open = page.calls.iter().any(|call| call.sent_at.until(at) > lease / 20);
    let troubled = page.trouble_at.is_some_and(|trouble| trouble.until(at) <= lease);
    let narrow = page.held >= page.policy.max_calls;
    let ended = matches!(page.mode, Mode::Aborted | Mode::Stopped);
    late || open || troubled || narrow || ended || !page.token.surely_allows(page.latest)
}
