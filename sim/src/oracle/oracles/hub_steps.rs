//! How the steps of a hub are judged.
//!
//! A hub may be told something of one worker and answer for another, and what it waits for concerns all of them. So a
//! step is shown to the judges of single workers for each worker that it concerns, without the wait, and to those who
//! judge hubs as a whole.

use downbeat_core::machine::{Action, Input, Instant, Why};

use super::Oracles;
use crate::event::HubStep;
use crate::oracle::model::Lifecycle;
use crate::oracle::{HubView, Oracle, Step, Violation};

/// What a worker does while its hub answers for another: nothing that is known.
const NOTHING: Action = Action::Wait { until: None, why: Why::InFlight };

impl Oracles {
    /// Sees a step of a hub.
    ///
    /// # Errors
    /// A rule is broken here, now or before.
    pub fn see_hub(&mut self, step: &HubStep) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.violation = self.rule_hub(step).into_iter().next();
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// Sees a step of a hub in a record that somebody may have changed: the rules that are broken here. Each speaks
    /// once.
    pub fn see_all_of_hub(&mut self, step: &HubStep) -> Vec<Violation> {
        self.collects = true;
        let mut found = self.rule_hub(step);
        self.silence(&mut found);
        found
    }

    fn rule_hub(&mut self, step: &HubStep) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check_order(step.at, step.to, &mut found);
        self.hub_step(step, &mut found);
        found
    }

    fn hub_step(&mut self, step: &HubStep, found: &mut Vec<Violation>) {
        let Some(index) = self.hubs.iter().position(|hub| hub.number == step.hub) else { return };
        let Some(hub) = self.hubs.get_mut(index) else { return };
        let before = hub.latest;
        if !hub.is_free() {
            hub.trouble_at = Some(step.at);
        }
        hub.latest = hub.latest.max(step.local);
        match (step.told, step.input) {
            (Some(worker), input) if step.to == Some(worker) => self.hear(index, step, worker, &input),
            (Some(worker), input) => self.tell(index, step, worker, &input, found),
            (None, Input::Control(_)) => {
                for worker in hub.members.clone() {
                    self.tell(index, step, worker, &step.input, found);
                }
            }
            (None, Input::Replied { call, reply }) => hub.refreshed(step.at, call, &reply),
            (
                None,
                Input::Tick
                | Input::Recovered { .. }
                | Input::Leased { .. }
                | Input::Finished { .. }
                | Input::Token(_),
            ) => {}
        }
        match step.to {
            Some(worker) if step.told == step.to => {
                self.answer(index, step, before, worker, step.input, found);
            }
            Some(worker) => {
                self.hear(index, step, worker, &Input::Tick);
                self.answer(index, step, before, worker, Input::Tick, found);
            }
            None => {
                self.bring_to_date(index, step);
                self.judge_hub(index, step, before, found);
                self.note_hub(index, step);
            }
        }
    }

    fn bring_to_date(&mut self, index: usize, step: &HubStep) {
        let members = self.hubs.get(index).map_or_else(Vec::new, |hub| hub.members.clone());
        for worker in members {
            self.hear(index, step, worker, &Input::Tick);
        }
    }

    /// A worker's model takes an input into account.
    fn hear(&mut self, index: usize, step: &HubStep, worker: u32, input: &Input) {
        let (Some(hub), Some(model)) = (self.hubs.get_mut(index), self.models.get_mut(worker as usize))
        else {
            return;
        };
        let lifecycle = model.lifecycle;
        let (policy, latest) = (hub.policy, hub.latest);
        hub.lend(model, |model| {
            model.lifecycle_before = lifecycle;
            model.before = model.latest;
            model.hear(step.at, latest, input);
            // A worker that was aborted knows its call no more, but its probe is everybody's.
            if let Input::Replied { call, reply } = input
                && model.stale
                && model.link.probe == Some(model.tag(*call))
            {
                model.link.replied(model.latest, model.tag(*call), reply, &policy);
            }
        });
        if model.trouble_at == Some(step.at) {
            hub.trouble_at = Some(step.at);
        }
    }

    /// Tells a worker's judges of an input that another is answered to.
    fn tell(&mut self, index: usize, step: &HubStep, worker: u32, input: &Input, found: &mut Vec<Violation>) {
        self.hear(index, step, worker, input);
        self.judge_member(step, worker, input, &NOTHING, found);
    }

    fn answer(
        &mut self,
        index: usize,
        step: &HubStep,
        before: Instant,
        worker: u32,
        input: Input,
        found: &mut Vec<Violation>,
    ) {
        let full = self.hubs.get(index).is_some_and(|hub| hub.calls() >= usize::from(hub.policy.max_calls));
        if full && step.action.call().is_some() {
            // Somebody may have given up its calls by nothing but the clock.
            let members = self.hubs.get(index).map_or_else(Vec::new, |hub| hub.members.clone());
            for other in members.into_iter().filter(|other| *other != worker) {
                self.hear(index, step, other, &Input::Tick);
            }
        }
        self.judge_hub(index, step, before, found);
        self.judge_member(step, worker, &input, &step.action, found);
        if let (Some(hub), Some(model)) = (self.hubs.get_mut(index), self.models.get_mut(worker as usize)) {
            hub.lend(model, |model| model.note(step.at, &input, &step.action));
        }
    }

    fn judge_member(
        &mut self,
        step: &HubStep,
        worker: u32,
        input: &Input,
        action: &Action,
        found: &mut Vec<Violation>,
    ) {
        let shows = self.shows(step.hub, step.at, &step.input);
        let Some(model) = self.models.get(worker as usize) else { return };
        let (at, local, healed_at) = (step.at, step.local, self.healed_at);
        let (before, lifecycle_before) = (model.before, model.lifecycle_before);
        let now = model.latest.min(shows.map_or(local, |(shows, _)| shows));
        let step =
            Step { at, worker, local, before, shows, now, lifecycle_before, input, action, model, healed_at };
        for oracle in &mut self.oracles {
            if let Err(what) = oracle.step(&step) {
                found.push(violation(&**oracle, at, Some(worker), what));
            }
        }
        if let Some(probes) = &mut self.probes {
            probes.step(&step);
        }
    }

    fn judge_hub(&mut self, index: usize, step: &HubStep, before: Instant, found: &mut Vec<Violation>) {
        let Some(hub) = self.hubs.get(index) else { return };
        let (models, healed_at) = (&self.models[..], self.healed_at);
        let view = HubView { index, step, before, hub, models, healed_at };
        for oracle in &mut self.oracles {
            let who = step.to.unwrap_or(step.hub);
            if let Err(what) = oracle.hub_step(&view) {
                found.push(violation(&**oracle, step.at, Some(who), what));
            }
        }
        if let (Some(probes), Some((_, why))) = (&mut self.probes, view.wait()) {
            probes.hub_wait(why);
        }
    }

    fn note_hub(&mut self, index: usize, step: &HubStep) {
        let Some(hub) = self.hubs.get_mut(index) else { return };
        match step.action {
            Action::Refresh { call } => {
                hub.refresh = Some(call);
                hub.token.asked();
                hub.link.sent(u64::from(call.serial()));
            }
            Action::Wait { until: Some(until), why: Why::Auth } => hub.token.told(until),
            Action::Stopped => {
                for worker in &hub.members {
                    if let Some(model) = self.models.get_mut(*worker as usize) {
                        model.lifecycle = Lifecycle::Stopped;
                    }
                }
            }
            Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ask { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. } => {}
        }
    }
}

fn violation(oracle: &dyn Oracle, at: Instant, worker: Option<u32>, what: String) -> Violation {
    Violation { oracle: oracle.name(), at, worker, what }
}
