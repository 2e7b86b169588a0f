//! Replaying a record: the core is told the recorded inputs again, and must give the recorded answers.

use std::collections::BTreeMap;

use downbeat_core::machine::{
    Action, Entry, Hub, HubAction, HubInput, Input, Instant, Machine, Member, Policy,
};
use downbeat_core::record::Step;

use crate::record::{BoxedHub, Header, Hubs, Line, Record};

mod contract;
mod found;
mod judge;
mod rerun;

pub use self::found::{Broken, Judgement, Misfit};

/// What became of a replay.
#[derive(Debug, Default)]
pub struct Replay {
    /// Steps that the core was asked for.
    pub steps: u64,
    /// Steps that could not be tried: after a gap, or after a divergence of the same machine.
    pub untried: u64,
    /// Segments begun.
    pub segments: u32,
    /// Steps that the writer dropped.
    pub dropped: u64,
    /// The first step at which the core answers something else.
    pub divergence: Option<Divergence>,
    /// What the oracles say.
    pub judgement: Judgement,
    /// The first line that no driver writes.
    pub contract: Option<Misfit>,
    /// The first line that the run of its scenario, done again, does not have.
    pub rerun: Option<Misfit>,
}

/// The core, told the same, answers something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// The line of the record.
    pub line: usize,
    /// When.
    pub at: Instant,
    /// Which worker was told, or `None` for the hub.
    pub worker: Option<u32>,
    /// What it was told.
    pub input: Input,
    /// What the record says.
    pub recorded: Answered,
    /// What the core says.
    pub core: Answered,
}

/// An answer of a machine or a hub.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answered {
    /// By a machine without a hub.
    Machine(Action),
    /// By a hub, for this worker, or `None` for itself.
    Hub(Option<u32>, Action),
    /// By nobody: no machine is running there.
    Nothing,
}

/// A machine as records have it.
pub(crate) type Boxed = Machine<Box<[Entry]>>;

/// Tells the core every input of a record.
#[must_use]
pub fn replay(record: &Record) -> Replay {
    let mut replay = Replay::default();
    let mut core = Core::new(record);
    for entry in &record.entries {
        match &entry.line {
            Line::Header(_) => replay.segments += 1,
            Line::Gap(gap) => replay.dropped += gap.gap,
            Line::Step(_) | Line::Start { .. } | Line::Event(_) | Line::Violation { .. } => {}
        }
        let answered = core.apply(&entry.line);
        let Line::Step(step) = &entry.line else { continue };
        let Some((recorded, now)) = answered else {
            replay.untried += 1;
            continue;
        };
        replay.steps += 1;
        if recorded != now {
            core.give_up(step);
            replay.divergence.get_or_insert(Divergence {
                line: entry.number,
                at: step.t,
                worker: step.w,
                input: step.input,
                recorded,
                core: now,
            });
        }
    }
    replay.judgement = judge::judge(record);
    replay.contract = contract::check(record);
    match rerun::compare(record) {
        Ok(misfit) => replay.rerun = misfit,
        Err(reason) => replay.judgement.reasons.push(reason),
    }
    replay
}

/// The machines of a record, as far as its lines have been applied.
#[derive(Clone)]
pub(crate) struct Core {
    cast: Vec<(Policy, u16)>,
    /// `None`: its state is not known any more.
    machines: BTreeMap<u32, Option<Boxed>>,
    /// By their numbers, as `machines`.
    states: BTreeMap<u32, Option<BoxedHub>>,
    hubs: Hubs,
    /// States are not known any more: until the next segment.
    lost: bool,
}

impl Core {
    /// Before the first line.
    pub(crate) fn new(record: &Record) -> Self {
        Self {
            cast: record.cast().collect(),
            machines: BTreeMap::new(),
            states: BTreeMap::new(),
            hubs: record.hubs.clone(),
            lost: false,
        }
    }

    /// A worker's machine, if it runs and its state is known.
    pub(crate) fn machine(&self, worker: u32) -> Option<&Boxed> {
        match self.hubs.for_worker(worker) {
            Some(hub) => {
                let state = self.states.get(&hub.number)?.as_ref()?;
                state.members().get(hub.index(worker)?).map(|member| member.machine())
            }
            None => self.machines.get(&worker).and_then(Option::as_ref),
        }
    }

    /// A hub, by its number, if it runs and its state is known.
    pub(crate) fn hub(&self, number: u32) -> Option<&BoxedHub> {
        self.states.get(&number)?.as_ref()
    }

    /// Who is behind which hub.
    pub(crate) fn hubs(&self) -> &Hubs {
        &self.hubs
    }

    /// The workers that run.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let held = self.hubs.list.iter().filter(|hub| self.states.contains_key(&hub.number));
        let mut workers: Vec<u32> = held.flat_map(|hub| hub.members.iter().copied()).collect();
        workers.extend(self.machines.keys());
        workers.sort_unstable();
        workers
    }

    /// Applies a line. For a step, what the record says and what the core says, or `None` if the state of
    /// that machine is not known.
    pub(crate) fn apply(&mut self, line: &Line) -> Option<(Answered, Answered)> {
        match line {
            Line::Header(header) => self.begin_segment(header),
            Line::Gap(_) => self.lose(),
            Line::Start { w, seed, .. } => self.start(*w, *seed),
            Line::Event(crate::event::Event::Crashed { worker, .. }) => {
                self.machines.remove(worker);
                self.states.remove(worker);
            }
            Line::Event(_) | Line::Violation { .. } => {}
            Line::Step(step) => return self.step(step),
        }
        None
    }

    fn begin_segment(&mut self, header: &Header) {
        if let (Some(state), Some(hub)) = (&header.hub, self.hubs.list.first()) {
            self.states.insert(hub.number, Some(state.clone()));
            self.lost = false;
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        for machine in self.machines.values_mut() {
            *machine = None;
        }
        for state in self.states.values_mut() {
            *state = None;
        }
    }

    /// The workers of a hub start before it: it is made of their machines.
    fn start(&mut self, worker: u32, seed: u64) {
        if let Some(hub) = self.hubs.list.iter().find(|hub| hub.number == worker) {
            let machines = hub.members.iter().map(|member| self.machines.remove(member).flatten());
            let members: Option<Vec<_>> = machines.map(|machine| machine.map(Member::new)).collect();
            let made = members.and_then(|members| Hub::new(members.into(), hub.policy, seed).ok());
            self.states.insert(worker, made);
            return;
        }
        let Some((policy, capacity)) = self.cast.get(worker as usize) else { return };
        let table = vec![Entry::FREE; usize::from(*capacity)].into_boxed_slice();
        self.machines.insert(worker, Machine::with_storage(table, *policy, seed).ok());
    }

    fn step(&mut self, step: &Step) -> Option<(Answered, Answered)> {
        if self.hubs.for_step(step).is_some() {
            return self.step_hub(step);
        }
        let recorded = Answered::Machine(step.action);
        let Some(machine) = self.machines.get_mut(&step.w?) else {
            return (!self.lost).then_some((recorded, Answered::Nothing));
        };
        let machine = machine.as_mut()?;
        Some((recorded, Answered::Machine(machine.step(step.local(), step.input))))
    }

    fn step_hub(&mut self, step: &Step) -> Option<(Answered, Answered)> {
        let hub = self.hubs.for_step(step)?;
        let recorded = Answered::Hub(step.to, step.action);
        let Some(state) = self.states.get_mut(&hub.number) else {
            return (!self.lost).then_some((recorded, Answered::Nothing));
        };
        let input = match step.w {
            Some(worker) => {
                let worker = u16::try_from(hub.index(worker)?).ok()?;
                HubInput::Worker { worker, input: step.input }
            }
            None => step.hub_input()?,
        };
        let (to, action) = match state.as_mut()?.step(step.local(), input) {
            HubAction::Worker { worker, action } => (hub.members.get(usize::from(worker)).copied(), action),
            HubAction::Refresh { call } => (None, Action::Refresh { call }),
            HubAction::Wait { until, why } => (None, Action::Wait { until, why }),
            HubAction::Stopped => (None, Action::Stopped),
        };
        Some((recorded, Answered::Hub(to, action)))
    }

    /// What comes after a divergence says nothing new: the same machine or hub is not asked again.
    fn give_up(&mut self, step: &Step) {
        if let Some(hub) = self.hubs.for_step(step) {
            self.states.insert(hub.number, None);
        } else if let Some(machine) = step.w.and_then(|worker| self.machines.get_mut(&worker)) {
            *machine = None;
        }
    }
}
