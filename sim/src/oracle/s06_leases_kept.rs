//! S6: leases are kept.

use std::time::Duration;

use downbeat_core::machine::{Action, Instant};

use super::model::{HeldTask, Lifecycle, Model};
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::event::Effect;
use crate::scenario::Setting;

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
            *hindered || trouble.is_some_and(|trouble| at.saturating_duration_since(trouble) <= lease)
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

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let Action::Wait { until, .. } = *step.action else { return Ok(()) };
        if step.model.is_unhindered() { waits(step.model, until) } else { Ok(()) }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let hub = view.hub;
        if let Some(state) = self.hubs.get_mut(view.index) {
            *state = (hub.trouble_at, !hub.is_free());
        }
        let Some((until, _)) = view.wait() else { return Ok(()) };
        view.each(|_, model| if hub.lets_call(model) { waits(model, until) } else { Ok(()) })
    }

    fn server(&mut self, at: Instant, effect: &Effect, models: &[Model]) -> Verdict {
        let Effect::Lapsed { key, worker } = *effect else { return Ok(()) };
        let Some(model) = models.get(worker as usize).filter(|model| model.alive && !model.is_ruby()) else {
            return Ok(());
        };
        let Some(held) = model.all().find(|held| held.key == key && !held.settled) else { return Ok(()) };
        if held.lease.is_zero() || explained(model, at, held) || self.hindered(worker, at, held.lease) {
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
fn waits(model: &Model, until: Option<Instant>) -> Verdict {
    if model.held == 0 || !model.policy.extend {
        return Ok(());
    }
    let Some((held, due)) = model.next_extension() else { return Ok(()) };
    if due > model.latest && until.is_some_and(|until| until <= due) {
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
fn explained(model: &Model, at: Instant, held: &HeldTask) -> bool {
    let lease = held.lease;
    let late = at.saturating_duration_since(held.run_at) <= lease / 5;
    let open = model.calls.iter().any(|call| at.saturating_duration_since(call.sent_at) > lease / 20);
    let troubled = model.trouble_at.is_some_and(|trouble| at.saturating_duration_since(trouble) <= lease);
    let narrow = model.held >= model.policy.max_calls;
    let ended = matches!(model.lifecycle, Lifecycle::Aborted | Lifecycle::Stopped);
    late || open || troubled || narrow || ended || !model.token.surely_allows(model.latest)
}
