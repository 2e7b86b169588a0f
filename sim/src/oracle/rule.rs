//! A rule: what an oracle is shown, and what it says.

use std::fmt;

use downbeat_core::machine::{Action, Input, Instant, TaskKey, Why};

use super::hubs::HubModel;
use super::model::{Lifecycle, Model};
use crate::event::{Effect, HubStep};

/// One step of a machine, with what the record says of its worker: the input is taken into account, the action is not.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// True time.
    pub at: Instant,
    /// Which worker.
    pub worker: u32,
    /// What its clock showed; it may be earlier than before.
    pub local: Instant,
    /// What its clock had shown at the latest before.
    pub before: Instant,
    /// What its clock must show at that true time, if that is known, and whether it may be told less.
    pub shows: Option<(Instant, bool)>,
    /// The time for gates. It is the latest that it has seen, unless the record contradicts itself, and then
    /// the earlier.
    pub now: Instant,
    /// How far it was before this step.
    pub lifecycle_before: Lifecycle,
    /// What it was told.
    pub input: &'a Input,
    /// What it answered.
    pub action: &'a Action,
    /// Its model.
    pub model: &'a Model,
    /// The time after which there is no fault, once it has come.
    pub healed_at: Option<Instant>,
}

/// A step of a hub: the input is taken into account, the action is not.
#[derive(Clone, Copy, Debug)]
pub struct HubView<'a> {
    /// Which hub, from 0.
    pub index: usize,
    /// What happened.
    pub step: &'a HubStep,
    /// What the process's clock had shown at the latest before.
    pub before: Instant,
    /// The hub's model.
    pub hub: &'a HubModel,
    /// The models of all workers.
    pub models: &'a [Model],
    /// The time after which there is no fault, once it has come.
    pub healed_at: Option<Instant>,
}

impl<'a> HubView<'a> {
    /// Returns the hub's workers: number and model.
    pub fn members(&self) -> impl Iterator<Item = (u32, &'a Model)> + use<'a> {
        let models = self.models;
        self.hub.members.iter().filter_map(move |worker| Some((*worker, models.get(*worker as usize)?)))
    }

    /// Returns until when the hub waits, if it does.
    #[must_use]
    pub fn wait(&self) -> Option<(Option<Instant>, Why)> {
        if let Action::Wait { until, why } = self.step.action { Some((until, why)) } else { None }
    }

    /// What `rule` says of the first worker for which it is broken, with that worker's name.
    pub(super) fn each(&self, mut rule: impl FnMut(u32, &Model) -> Verdict) -> Verdict {
        self.members().try_for_each(|(worker, model)| {
            rule(worker, model).map_err(|what| format!("worker {worker}: {what}"))
        })
    }
}

/// What an oracle says: `Err` is a broken rule, in a sentence with figures.
pub type Verdict = Result<(), String>;

/// One rule.
pub trait Oracle: fmt::Debug {
    /// The rule's number and name, such as `S8 poll-gate`.
    fn name(&self) -> &'static str;

    /// Whether it judges workers under the Ruby SDK's rules too.
    fn judges_ruby(&self) -> bool {
        false
    }

    /// Whether it needs to see what the server did. A record of a production run does not show that.
    fn needs_server(&self) -> bool {
        false
    }

    /// Sees a step.
    ///
    /// # Errors
    /// The rule is broken.
    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let _ = step;
        Ok(())
    }

    /// Sees a step of a hub as a whole. Each of its workers that a step concerns is shown by [`Oracle::step`] too.
    ///
    /// # Errors
    /// The rule is broken.
    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let _ = view;
        Ok(())
    }

    /// A process of many workers begins or is gone.
    fn hub_life(&mut self, index: usize) {
        let _ = index;
    }

    /// Sees what the server did.
    ///
    /// # Errors
    /// The rule is broken.
    fn server(&mut self, at: Instant, effect: &Effect, models: &[Model]) -> Verdict {
        let _ = (at, effect, models);
        Ok(())
    }

    /// A driver has written a result durably.
    ///
    /// # Errors
    /// The rule is broken.
    fn kept(&mut self, worker: u32, key: TaskKey) -> Verdict {
        let _ = (worker, key);
        Ok(())
    }

    /// A process starts, after [`Oracle::life`].
    fn started(&mut self, at: Instant, worker: u32) {
        let _ = (at, worker);
    }

    /// A driver has filed a result among its dead letters.
    fn buried(&mut self, key: TaskKey) {
        let _ = key;
    }

    /// A process begins or is gone; its model still shows what it held.
    fn life(&mut self, worker: u32, model: &Model) {
        let _ = (worker, model);
    }

    /// There is no fault from here on.
    fn healed(&mut self, at: Instant) {
        let _ = at;
    }

    /// The run is over.
    ///
    /// # Errors
    /// The rule is broken by what has not happened; the worker is named where it is one's.
    fn finish(&mut self, at: Instant, models: &[Model]) -> Result<(), (Option<u32>, String)> {
        let _ = (at, models);
        Ok(())
    }
}

/// A time for people: seconds with six places.
pub(crate) fn secs(at: Instant) -> String {
    format!("{}.{:06} s", at.as_micros() / 1_000_000, at.as_micros() % 1_000_000)
}
