//! The judges of a run: one file for each rule of docs/invariants.md. They see the events alone, look up in the
//! [`book`] what the record says so far, and say where a rule was broken.

pub mod book;
mod clock;
pub mod gates;
pub mod hubs;
mod keep;
mod resume;
mod setting;

mod l1_every_task_ends;
mod l2_every_result_accepted;
mod l3_a_poll_is_sent;
mod l4_a_drain_ends;
mod l5_a_token_is_had;
mod l6_no_starvation;
mod l7_a_pause_ends;
mod l8_idle_is_quiet;
mod l9_fair_turns;
mod s01_conservation;
mod s02_no_result_lost;
mod s03_one_effect;
mod s04_no_dangerous_repeat;
mod s05_no_double_run;
mod s06_leases_kept;
mod s07_no_pointless_heartbeat;
mod s08_poll_gate;
mod s09_auth_backoff;
mod s10_lanes;
mod s11_capacity;
mod s12_pause;
mod s13_drain;
mod s14_no_spin;
mod s15_time;
mod s16_retry_class;
mod s17_stale_inputs;
pub mod s18_replay;
mod s19_hostile_server;
mod s20_gentle_outage;
mod s21_one_budget;

use std::fmt;

use downbeat_core::machine::{Action, Input, Instant};

use self::book::{Mode, Page};
pub use self::clock::Clocks;
use self::hubs::{HubPage, HubView};
pub(crate) use self::setting::YIELDS_MAX;
pub use self::setting::{Bounds, Setting};
use crate::event::{Effect, Event, HubStep};
use crate::probe::Probes;
use crate::world::Watcher;

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
    /// What its clock must show at that true time, where that is known, and whether it may be told less.
    pub shows: Option<(Instant, bool)>,
    /// The time for gates: the latest that it has seen, unless the record contradicts itself: then the earlier.
    pub now: Instant,
    /// How far it was before this step.
    pub mode_before: Mode,
    /// What it was told.
    pub input: &'a Input,
    /// What it answered.
    pub action: &'a Action,
    /// Its page.
    pub page: &'a Page,
    /// The time after which there is no fault, once it has come.
    pub healed_at: Option<Instant>,
}

/// What an oracle says: `Err` is a broken rule, in a sentence with figures.
pub type Ruling = Result<(), String>;

/// One rule.
pub trait Oracle: fmt::Debug {
    /// The rule's number and name, such as `S8 poll-gate`.
    fn name(&self) -> &'static str;

    /// Whether it judges workers under the seed's rules too.
    fn judges_seed(&self) -> bool {
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
    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let _ = step;
        Ok(())
    }

    /// Sees a step of a hub as a whole. Each of its workers that a step concerns is shown by [`Oracle::step`] too.
    ///
    /// # Errors
    /// The rule is broken.
    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
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
    fn server(&mut self, at: Instant, effect: &Effect, pages: &[Page]) -> Ruling {
        let _ = (at, effect, pages);
        Ok(())
    }

    /// A process begins or is gone; its page still shows what it held.
    fn life(&mut self, worker: u32, page: &Page) {
        let _ = (worker, page);
    }

    /// There is no fault from here on.
    fn healed(&mut self, at: Instant) {
        let _ = at;
    }

    /// The run is over.
    ///
    /// # Errors
    /// The rule is broken by what has not happened; the worker is named where it is one's.
    fn finish(&mut self, at: Instant, pages: &[Page]) -> Result<(), (Option<u32>, String)> {
        let _ = (at, pages);
        Ok(())
    }
}

/// A broken rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The rule's number and name.
    pub oracle: &'static str,
    /// When, in true time.
    pub at: Instant,
    /// Which worker, if one.
    pub worker: Option<u32>,
    /// What happened, in a sentence with figures.
    pub what: String,
}

impl Violation {
    /// Whether a liveness rule is broken (exit code 11) rather than a safety rule (10).
    #[must_use]
    pub fn is_liveness(&self) -> bool {
        self.oracle.starts_with('L')
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.at.as_millis() / 1_000, self.at.as_millis() % 1_000);
        write!(f, "{} at {secs}.{millis:03} s", self.oracle)?;
        if let Some(worker) = self.worker {
            write!(f, " worker {worker}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// All oracles, with the book that they share. A watcher: it stops the run at the first broken rule.
#[derive(Debug)]
pub struct Jury {
    setting: Setting,
    pages: Vec<Page>,
    hubs: Vec<HubPage>,
    healed_at: Option<Instant>,
    oracles: Vec<Box<dyn Oracle>>,
    violation: Option<Violation>,
    probes: Option<Probes>,
    /// Goes on after a broken rule; each rule speaks once.
    collects: bool,
    /// The latest true time.
    latest: Instant,
}

impl Jury {
    /// Swears in the oracles that can judge in this setting.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let mut oracles = all(&setting);
        oracles.retain(|oracle| setting.sees_server || !oracle.needs_server());
        Self::of(setting, oracles)
    }

    /// The judge of hostile inputs alone (S19).
    #[must_use]
    pub fn hostile(setting: Setting) -> Self {
        let oracles: Vec<Box<dyn Oracle>> =
            vec![Box::new(s19_hostile_server::HostileServer::always(&setting))];
        Self::of(setting, oracles)
    }

    fn of(setting: Setting, oracles: Vec<Box<dyn Oracle>>) -> Self {
        let pages = setting.policies.iter().zip(&setting.capacities);
        let mut pages: Vec<Page> = pages.map(|(policy, capacity)| Page::new(*policy, *capacity)).collect();
        let hubs: Vec<HubPage> = setting.hubs.iter().map(HubPage::new).collect();
        for hub in &hubs {
            for worker in &hub.members {
                if let Some(page) = pages.get_mut(*worker as usize) {
                    page.held_as = Some(*worker);
                    page.shared = Some(Box::new(hub.policy));
                }
            }
        }
        Self {
            setting,
            pages,
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

    /// The situations met.
    pub fn take_probes(&mut self) -> Probes {
        self.probes.take().unwrap_or_default()
    }

    /// The names of the rules that are judged.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.oracles.iter().map(|oracle| oracle.name())
    }

    /// The names of the rules that cannot be judged without seeing the server.
    #[must_use]
    pub fn skipped(&self) -> Vec<&'static str> {
        let judged: Vec<_> = self.names().collect();
        all(&self.setting).iter().map(|oracle| oracle.name()).filter(|name| !judged.contains(name)).collect()
    }

    /// Sends the oracles home whose names are picked; answers those names.
    pub fn dismiss(&mut self, picked: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let names = self.names().filter(|name| picked(name)).collect();
        self.oracles.retain(|oracle| !picked(oracle.name()));
        names
    }

    /// What the record says of each worker so far.
    #[must_use]
    pub fn pages(&self) -> &[Page] {
        &self.pages
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

    /// The run is over.
    ///
    /// # Errors
    /// A rule was broken, or is by what has not happened.
    pub fn finish(&mut self, at: Instant) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.finish_all(at).into_iter().next().map_or(Ok(()), Err)
    }

    /// The rules that are broken by what has not happened when the run is over.
    pub fn finish_all(&mut self, at: Instant) -> Vec<Violation> {
        let mut found = Vec::new();
        for oracle in &mut self.oracles {
            if let Err((worker, what)) = oracle.finish(at, &self.pages) {
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

    /// What a clock must show at a true time, where that is known, and whether a step may be told less.
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
        let Some(page) = self.pages.get_mut(worker as usize) else { return };
        let (before, mode_before, seed) = (page.latest, page.mode, page.is_seed());
        page.hear(at, local, input);
        let healed_at = self.healed_at;
        let now = page.latest.min(shows.map_or(local, |(shows, _)| shows));
        let step =
            Step { at, worker, local, before, shows, now, mode_before, input, action, page, healed_at };
        for oracle in &mut self.oracles {
            if seed && !oracle.judges_seed() {
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
        page.note(at, input, action);
    }

    fn server(&mut self, at: Instant, effect: &Effect, found: &mut Vec<Violation>) {
        if let Some(probes) = &mut self.probes {
            probes.server(effect);
        }
        for oracle in &mut self.oracles {
            if let Err(what) = oracle.server(at, effect, &self.pages) {
                found.push(Violation { oracle: oracle.name(), at, worker: None, what });
                if !self.collects {
                    break;
                }
            }
        }
    }

    fn life(&mut self, worker: u32, begins: bool) {
        let Some(page) = self.pages.get_mut(worker as usize) else {
            if let Some(index) = self.hubs.iter().position(|hub| hub.number == worker) {
                self.hubs.get_mut(index).map(HubPage::renew).unwrap_or_default();
                self.oracles.iter_mut().for_each(|oracle| oracle.hub_life(index));
            }
            return;
        };
        for oracle in &mut self.oracles {
            oracle.life(worker, page);
        }
        *page = page.anew();
        page.alive = begins;
    }
}

impl Watcher for Jury {
    fn on(&mut self, event: &Event) -> bool {
        self.see(event).is_ok()
    }

    fn on_hub(&mut self, step: &HubStep) -> bool {
        self.see_hub(step).is_ok()
    }
}

/// Every oracle, safety first.
fn all(setting: &Setting) -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(s01_conservation::Conservation),
        Box::new(s02_no_result_lost::NoResultLost::new(setting)),
        Box::new(s03_one_effect::OneEffect::default()),
        Box::new(s04_no_dangerous_repeat::NoDangerousRepeat),
        Box::new(s05_no_double_run::NoDoubleRun::new(setting)),
        Box::new(s06_leases_kept::LeasesKept::new(setting)),
        Box::new(s07_no_pointless_heartbeat::NoPointlessHeartbeat),
        Box::new(s08_poll_gate::PollGate),
        Box::new(s09_auth_backoff::AuthBackoff),
        Box::new(s10_lanes::Lanes),
        Box::new(s11_capacity::Capacity),
        Box::new(s12_pause::Pause),
        Box::new(s13_drain::Drain),
        Box::new(s14_no_spin::NoSpin::new(setting)),
        Box::new(s15_time::Time::new(setting)),
        Box::new(s16_retry_class::RetryClass),
        Box::new(s17_stale_inputs::StaleInputs),
        Box::new(s19_hostile_server::HostileServer::once_hostile(setting)),
        Box::new(s20_gentle_outage::GentleOutage::new(setting)),
        Box::new(s21_one_budget::OneBudget),
        Box::new(l1_every_task_ends::EveryTaskEnds::new(setting)),
        Box::new(l2_every_result_accepted::EveryResultAccepted::new(setting)),
        Box::new(l3_a_poll_is_sent::APollIsSent),
        Box::new(l4_a_drain_ends::ADrainEnds::new(setting)),
        Box::new(l5_a_token_is_had::ATokenIsHad::new(setting)),
        Box::new(l6_no_starvation::NoStarvation::new(setting)),
        Box::new(l7_a_pause_ends::APauseEnds::new(setting)),
        Box::new(l8_idle_is_quiet::IdleIsQuiet::new(setting)),
        Box::new(l9_fair_turns::FairTurns::new(setting)),
    ]
}

/// A time for people: seconds with six places.
fn secs(at: Instant) -> String {
    format!("{}.{:06} s", at.as_micros() / 1_000_000, at.as_micros() % 1_000_000)
}
