//! The book of processes with many workers: what the record says of a hub, and how its steps are judged.
//!
//! A hub may be told something of one worker and answer for another, and what it waits for concerns all of them. So a
//! step is shown to the judges of single workers for each worker that it concerns, without the wait, and to those who
//! judge hubs as a whole. The token, the link and the budget of calls are the hub's; a worker's page borrows them.

use downbeat_core::machine::{Action, CallId, Input, Instant, Policy, Reply, Why};

use super::book::Page;
use super::gates::{LinkGate, TokenGate};
use super::{Jury, Oracle, Ruling, Step, Violation};
use crate::event::HubStep;
use crate::record::Hub;

/// A hub's page.
#[derive(Clone, Debug)]
pub struct HubPage {
    /// Which hub: its number behind the workers.
    pub number: u32,
    /// Its workers.
    pub members: Vec<u32>,
    /// What its link and its token go by; `max_calls` is the budget.
    pub policy: Policy,
    /// The latest time that the process's clock has shown.
    pub latest: Instant,
    /// The gate before all calls of the process.
    pub link: LinkGate,
    /// The token that its workers share.
    pub token: TokenGate,
    /// The refresh in flight.
    pub refresh: Option<CallId>,
    /// Calls in flight of its workers.
    pub lanes: usize,
    /// Polls among them.
    pub polls: usize,
    /// When a call of the process last failed or took long, or none could be sent, in true time.
    pub trouble_at: Option<Instant>,
}

impl HubPage {
    /// An empty page.
    pub(super) fn new(hub: &Hub) -> Self {
        let policy = Policy {
            max_calls: hub.policy.max_calls,
            authenticated: hub.policy.authenticated,
            auth: hub.policy.auth,
            failing: hub.policy.failing,
            token_life: hub.policy.token_life,
            retry_after_max: hub.policy.retry_after_max,
            ..Policy::default()
        };
        Self {
            number: hub.number,
            members: hub.members.clone(),
            latest: Instant::ZERO,
            link: LinkGate::OPEN,
            token: TokenGate::new(policy.authenticated),
            refresh: None,
            lanes: 0,
            polls: 0,
            trouble_at: None,
            policy,
        }
    }

    /// The process starts anew, or ends.
    pub(super) fn renew(&mut self) {
        self.latest = Instant::ZERO;
        self.link = LinkGate::OPEN;
        self.token = TokenGate::new(self.policy.authenticated);
        self.refresh = None;
        self.lanes = 0;
        self.polls = 0;
        self.trouble_at = None;
    }

    /// Calls in flight of the whole process.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.lanes + usize::from(self.refresh.is_some())
    }

    /// How many of them may be polls: all but a quarter, and never all.
    #[must_use]
    pub fn poll_lanes(&self) -> usize {
        let calls = usize::from(self.policy.max_calls);
        calls.saturating_sub((calls / 4).max(1)).max(1)
    }

    /// Whether the process could send a call at once, if not for its token.
    #[must_use]
    pub fn has_lane(&self) -> bool {
        self.calls() < usize::from(self.policy.max_calls) && self.link.failures == 0
    }

    /// Whether it surely could send any call.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.has_lane() && self.token.surely_allows(self.latest)
    }

    /// Whether one of its workers could send a call at once.
    #[must_use]
    pub fn lets_call(&self, page: &Page) -> bool {
        self.is_free() && page.has_lane()
    }

    /// Whether one of its workers could poll at once.
    #[must_use]
    pub fn lets_poll(&self, page: &Page) -> bool {
        self.lets_call(page) && self.polls < self.poll_lanes()
    }

    fn refreshed(&mut self, at: Instant, call: CallId, reply: &Reply) {
        if self.refresh.map(CallId::serial) != Some(call.serial()) {
            return;
        }
        self.refresh = None;
        let policy = self.policy;
        self.token.refreshed(self.latest, reply, &policy);
        self.link.replied(self.latest, u64::from(call.serial()), reply, &policy);
        if reply.is_err() {
            self.trouble_at = Some(at);
        }
    }

    /// Lends a worker's page what is the hub's, while it is kept; what it then is comes back.
    fn lend<T>(&mut self, page: &mut Page, keep: impl FnOnce(&mut Page) -> T) -> T {
        page.link = self.link;
        page.token = self.token;
        let before = (page.lanes_taken(), usize::from(page.poll().is_some()));
        let kept = keep(page);
        let after = (page.lanes_taken(), usize::from(page.poll().is_some()));
        self.lanes = (self.lanes + after.0).saturating_sub(before.0);
        self.polls = (self.polls + after.1).saturating_sub(before.1);
        self.link = page.link;
        self.token = page.token;
        kept
    }
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
    /// The hub's page.
    pub hub: &'a HubPage,
    /// The pages of all workers.
    pub pages: &'a [Page],
    /// The time after which there is no fault, once it has come.
    pub healed_at: Option<Instant>,
}

impl<'a> HubView<'a> {
    /// The hub's workers: number and page.
    pub fn members(&self) -> impl Iterator<Item = (u32, &'a Page)> + use<'a> {
        let pages = self.pages;
        self.hub.members.iter().filter_map(move |worker| Some((*worker, pages.get(*worker as usize)?)))
    }

    /// Until when the hub waits, where it does.
    #[must_use]
    pub fn wait(&self) -> Option<(Option<Instant>, Why)> {
        if let Action::Wait { until, why } = self.step.action { Some((until, why)) } else { None }
    }

    /// What `rule` says of the first worker for which it is broken, with that worker's name.
    pub(super) fn each(&self, mut rule: impl FnMut(u32, &Page) -> Ruling) -> Ruling {
        self.members().try_for_each(|(worker, page)| {
            rule(worker, page).map_err(|what| format!("worker {worker}: {what}"))
        })
    }
}

/// What a worker does while its hub answers for another: nothing that is known.
const NOTHING: Action = Action::Wait { until: None, why: Why::InFlight };

impl Jury {
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
            (None, Input::Tick | Input::Leased { .. } | Input::Finished { .. } | Input::Token(_)) => {}
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

    /// A worker's page takes an input into account.
    fn hear(&mut self, index: usize, step: &HubStep, worker: u32, input: &Input) {
        let (Some(hub), Some(page)) = (self.hubs.get_mut(index), self.pages.get_mut(worker as usize)) else {
            return;
        };
        let mode = page.mode;
        let (policy, latest) = (hub.policy, hub.latest);
        hub.lend(page, |page| {
            page.mode_before = mode;
            page.before = page.latest;
            page.hear(step.at, latest, input);
            // A worker that was aborted knows its call no more, but its probe is everybody's.
            if let Input::Replied { call, reply } = input
                && page.stale
                && page.link.probe == Some(page.tag(*call))
            {
                page.link.replied(page.latest, page.tag(*call), reply, &policy);
            }
        });
        if page.trouble_at == Some(step.at) {
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
            // Somebody may have given up its calls by the clock alone.
            let members = self.hubs.get(index).map_or_else(Vec::new, |hub| hub.members.clone());
            for other in members.into_iter().filter(|other| *other != worker) {
                self.hear(index, step, other, &Input::Tick);
            }
        }
        self.judge_hub(index, step, before, found);
        self.judge_member(step, worker, &input, &step.action, found);
        if let (Some(hub), Some(page)) = (self.hubs.get_mut(index), self.pages.get_mut(worker as usize)) {
            hub.lend(page, |page| page.note(step.at, &input, &step.action));
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
        let Some(page) = self.pages.get(worker as usize) else { return };
        let (at, local, healed_at) = (step.at, step.local, self.healed_at);
        let (before, mode_before) = (page.before, page.mode_before);
        let now = page.latest.min(shows.map_or(local, |(shows, _)| shows));
        let step =
            Step { at, worker, local, before, shows, now, mode_before, input, action, page, healed_at };
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
        let (pages, healed_at) = (&self.pages[..], self.healed_at);
        let view = HubView { index, step, before, hub, pages, healed_at };
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
                hub.token.refreshing = true;
                hub.link.sent(u64::from(call.serial()));
            }
            Action::Wait { until: Some(until), why: Why::Auth } => hub.token.told(until),
            Action::Stopped => {
                for worker in &hub.members {
                    if let Some(page) = self.pages.get_mut(*worker as usize) {
                        page.mode = super::book::Mode::Stopped;
                    }
                }
            }
            Action::Run { .. }
            | Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
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
