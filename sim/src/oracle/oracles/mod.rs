//! All oracles at work on one run.

mod all;
mod hub_steps;
mod resume;

use downbeat_core::machine::{Action, Input, Instant, TaskKey};

use self::all::all;
use super::hubs::HubModel;
use super::model::Model;
use super::{Oracle, Step, Violation, s15_time, s19_hostile_server, secs};
use crate::event::{Effect, Event, HubStep, Watcher};
use crate::probe::Probes;
use crate::scenario::Setting;

/// All oracles, with the model that they share. A watcher: it stops the run at the first broken rule.
#[derive(Debug)]
pub struct Oracles {
    setting: Setting,
    models: Vec<Model>,
    hubs: Vec<HubModel>,
    healed_at: Option<Instant>,
    oracles: Vec<Box<dyn Oracle>>,
    violation: Option<Violation>,
    probes: Option<Probes>,
    /// Goes on after a broken rule; each rule speaks once.
    collects: bool,
    /// The latest true time.
    latest: Instant,
}

impl Oracles {
    /// Makes all oracles that can judge in this setting.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let mut oracles = all(&setting);
        oracles.retain(|oracle| setting.sees_server || !oracle.needs_server());
        Self::from_oracles(setting, oracles)
    }

    /// Makes only the judge of hostile inputs (S19).
    #[must_use]
    pub fn hostile(setting: Setting) -> Self {
        let oracles: Vec<Box<dyn Oracle>> =
            vec![Box::new(s19_hostile_server::HostileServer::always(&setting))];
        Self::from_oracles(setting, oracles)
    }

    fn from_oracles(setting: Setting, oracles: Vec<Box<dyn Oracle>>) -> Self {
        let models = setting.policies.iter().zip(&setting.capacities);
        let mut models: Vec<Model> =
            models.map(|(policy, capacity)| Model::new(*policy, *capacity)).collect();
        let hubs: Vec<HubModel> = setting.hubs.iter().map(HubModel::new).collect();
        for hub in &hubs {
            for worker in &hub.members {
                if let Some(model) = models.get_mut(*worker as usize) {
                    model.held_as = Some(*worker);
                    model.shared = Some(Box::new(hub.policy));
                }
            }
        }
        Self {
            setting,
            models,
            hubs,
            healed_at: None,
            oracles,
            violation: None,
            probes: None,
            collects: false,
            latest: Instant::ZERO,
        }
    }

    /// Counts the situations that the run meets, from here on.
    pub fn probe(&mut self) {
        self.probes = Some(Probes::default());
    }

    /// Takes the situations met.
    pub fn take_probes(&mut self) -> Probes {
        self.probes.take().unwrap_or_default()
    }

    /// Returns the names of the rules that are judged.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.oracles.iter().map(|oracle| oracle.name())
    }

    /// Returns the names of the rules that cannot be judged without seeing the server.
    #[must_use]
    pub fn skipped(&self) -> Vec<&'static str> {
        let judged: Vec<_> = self.names().collect();
        all(&self.setting).iter().map(|oracle| oracle.name()).filter(|name| !judged.contains(name)).collect()
    }

    /// Removes the oracles whose names are picked; returns those names.
    pub fn remove(&mut self, picked: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let names = self.names().filter(|name| picked(name)).collect();
        self.oracles.retain(|oracle| !picked(oracle.name()));
        names
    }

    /// Returns what the record says of each worker so far.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Sees one event.
    ///
    /// # Errors
    /// A rule is broken here, now or before.
    pub fn see(&mut self, event: &Event) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        match self.rule(event).into_iter().next() {
            Some(violation) => {
                self.violation = Some(violation.clone());
                Err(violation)
            }
            None => Ok(()),
        }
    }

    /// Sees one event of a record that somebody may have changed: the rules that are broken here. Each speaks once.
    pub fn see_all(&mut self, event: &Event) -> Vec<Violation> {
        self.collects = true;
        let mut found = self.rule(event);
        self.silence(&mut found);
        found
    }

    /// Tells that the run is over.
    ///
    /// # Errors
    /// A rule was broken, or is by what has not happened.
    pub fn finish(&mut self, at: Instant) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.finish_all(at).into_iter().next().map_or(Ok(()), Err)
    }

    /// Returns the rules that are broken by what has not happened when the run is over.
    pub fn finish_all(&mut self, at: Instant) -> Vec<Violation> {
        let mut found = Vec::new();
        for oracle in &mut self.oracles {
            if let Err((worker, what)) = oracle.finish(at, &self.models) {
                found.push(Violation { oracle: oracle.name(), at, worker, what });
            }
        }
        found
    }

    /// Sends those home who have spoken; each is heard once.
    fn silence(&mut self, found: &mut Vec<Violation>) {
        let mut heard: Vec<&str> = Vec::new();
        found.retain(|broken| {
            let first = !heard.contains(&broken.oracle);
            heard.push(broken.oracle);
            first
        });
        if !found.is_empty() {
            self.oracles.retain(|oracle| !heard.contains(&oracle.name()));
        }
    }

    fn rule(&mut self, event: &Event) -> Vec<Violation> {
        let mut found = Vec::new();
        let worker = if let Event::Step { worker, .. } = event { Some(*worker) } else { None };
        self.check_order(event.at(), worker, &mut found);
        match event {
            Event::Step { at, worker, local, input, action } => {
                self.step(*at, *worker, *local, input, action, &mut found);
            }
            Event::Server { at, effect } => self.server(*at, effect, &mut found),
            Event::Started { at, worker } => {
                if let Some(clocks) = &mut self.setting.clocks {
                    clocks.start(*worker, *at);
                }
                self.life(*worker, true);
                self.oracles.iter_mut().for_each(|oracle| oracle.started(*at, *worker));
            }
            Event::Crashed { worker, .. } => self.life(*worker, false),
            Event::Healed { at } => {
                self.healed_at = Some(*at);
                for oracle in &mut self.oracles {
                    oracle.healed(*at);
                }
            }
            Event::Fault { index, begins: true, .. } => {
                if let Some(clocks) = &mut self.setting.clocks {
                    clocks.fault(*index);
                }
            }
            Event::Kept { at, worker, key } => self.kept(*at, *worker, *key, &mut found),
            Event::Buried { key, .. } => self.oracles.iter_mut().for_each(|oracle| oracle.buried(*key)),
            Event::Fault { .. } | Event::Stored { .. } => {}
        }
        found
    }

    /// True time does not run backwards.
    fn check_order(&mut self, at: Instant, worker: Option<u32>, found: &mut Vec<Violation>) {
        let before = self.latest;
        self.latest = before.max(at);
        let judged = || self.oracles.iter().any(|oracle| oracle.name() == s15_time::NAME);
        if at < before && judged() {
            let what = format!("the record runs backwards: from {} to {}", secs(before), secs(at));
            found.push(Violation { oracle: s15_time::NAME, at, worker, what });
        }
    }

    /// What a clock must show at a true time, if that is known, and whether a step may be told less.
    fn shows(&self, number: u32, at: Instant, input: &Input) -> Option<(Instant, bool)> {
        let clocks = self.setting.clocks.as_ref()?;
        Some((clocks.shows(number, at)?, clocks.may_go_back() && *input != Input::Tick))
    }

    fn step(
        &mut self,
        at: Instant,
        worker: u32,
        local: Instant,
        input: &Input,
        action: &Action,
        found: &mut Vec<Violation>,
    ) {
        let shows = self.shows(worker, at, input);
        let Some(model) = self.models.get_mut(worker as usize) else { return };
        let (before, lifecycle_before, ruby) = (model.latest, model.lifecycle, model.is_ruby());
        model.hear(at, local, input);
        let healed_at = self.healed_at;
        let now = model.latest.min(shows.map_or(local, |(shows, _)| shows));
        let step =
            Step { at, worker, local, before, shows, now, lifecycle_before, input, action, model, healed_at };
        for oracle in &mut self.oracles {
            if ruby && !oracle.judges_ruby() {
                continue;
            }
            if let Err(what) = oracle.step(&step) {
                found.push(Violation { oracle: oracle.name(), at, worker: Some(worker), what });
                if !self.collects {
                    break;
                }
            }
        }
        if let Some(probes) = &mut self.probes {
            probes.step(&step);
        }
        model.note(at, input, action);
    }

    fn server(&mut self, at: Instant, effect: &Effect, found: &mut Vec<Violation>) {
        if let Some(probes) = &mut self.probes {
            probes.server(effect);
        }
        for oracle in &mut self.oracles {
            if let Err(what) = oracle.server(at, effect, &self.models) {
                found.push(Violation { oracle: oracle.name(), at, worker: None, what });
                if !self.collects {
                    break;
                }
            }
        }
    }

    fn kept(&mut self, at: Instant, worker: u32, key: TaskKey, found: &mut Vec<Violation>) {
        for oracle in &mut self.oracles {
            if let Err(what) = oracle.kept(worker, key) {
                found.push(Violation { oracle: oracle.name(), at, worker: Some(worker), what });
            }
        }
    }

    fn life(&mut self, worker: u32, begins: bool) {
        let Some(model) = self.models.get_mut(worker as usize) else {
            if let Some(index) = self.hubs.iter().position(|hub| hub.number == worker) {
                self.hubs.get_mut(index).map(HubModel::renew).unwrap_or_default();
                self.oracles.iter_mut().for_each(|oracle| oracle.hub_life(index));
            }
            return;
        };
        for oracle in &mut self.oracles {
            oracle.life(worker, model);
        }
        *model = model.anew();
        model.alive = begins;
    }
}

impl Watcher for Oracles {
    fn on(&mut self, event: &Event) -> bool {
        self.see(event).is_ok()
    }

    fn on_hub(&mut self, step: &HubStep) -> bool {
        self.see_hub(step).is_ok()
    }
}
