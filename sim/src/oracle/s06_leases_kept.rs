//! S6: leases are kept.

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::book::{Held, Mode, Page};
use super::{HubView, Oracle, Ruling, Setting, Step, secs};
use crate::event::Effect;

/// Without a fault no lease lapses; an extension is sent at 80 % of the lease, counted from the sending of the call
/// that brought the task, until the outcome is accepted.
#[derive(Debug)]
pub(super) struct LeasesKept {
    /// Behind which hub each worker is.
    hub_of: Vec<Option<usize>>,
    /// When each hub was last in trouble, and whether it could send nothing at its latest wait.
    hubs: Vec<(Option<Instant>, bool)>,
}

impl LeasesKept {
    pub(super) fn new(setting: &Setting) -> Self {
        let mut hub_of = vec![None; setting.policies.len()];
        for (hub, index) in setting.hubs.iter().zip(0..) {
            for worker in &hub.members {
                if let Some(of) = hub_of.get_mut(*worker as usize) {
                    *of = Some(index);
                }
            }
        }
        Self { hub_of, hubs: vec![(None, false); setting.hubs.len()] }
    }

    /// Whether the process of a worker could not send a call in the last lease.
    fn hindered(&self, worker: u32, at: Instant, lease: Duration) -> bool {
        let hub = self.hub_of.get(worker as usize).copied().flatten();
        hub.and_then(|hub| self.hubs.get(hub)).is_some_and(|(trouble, hindered)| {
            *hindered || trouble.is_some_and(|trouble| trouble.until(at) <= lease)
        })
    }
}

impl Oracle for LeasesKept {
    fn name(&self) -> &'static str {
        "S6 leases-kept"
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        if step.page.is_unhindered() { waits(step.page, until) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        let hub = view.hub;
        if let Some(state) = self.hubs.get_mut(view.index) {
            *state = (hub.trouble_at, !hub.is_free());
        }
        let Some((until, _)) = view.wait() else { return Ok(()) };
        view.each(|_, page| if hub.lets_call(page) { waits(page, until) } else { Ok(()) })
    }

    fn server(&mut self, at: Instant, effect: &Effect, pages: &[Page]) -> Ruling {
        let Effect::Lapsed { key, worker } = *effect else { return Ok(()) };
        let Some(page) = pages.get(worker as usize).filter(|page| page.alive && !page.is_seed()) else {
            return Ok(());
        };
        let Some(held) = page.all().find(|held| held.key == key && !held.settled) else { return Ok(()) };
        if held.lease.is_zero() || explained(page, at, held) || self.hindered(worker, at, held.lease) {
            return Ok(());
        }
        Err(format!(
            "the lease of task {:032x}, which worker {worker} holds, lapsed though no call of it had failed or taken long for {} s",
            key.to_u128(),
            held.lease.as_secs()
        ))
    }
}

/// No wait goes past an extension.
fn waits(page: &Page, until: Option<Instant>) -> Ruling {
    if page.held == 0 || !page.policy.extend {
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
