//! Replaying a record: the core is told the recorded inputs again, and must give the recorded answers.

use std::collections::BTreeMap;

use downbeat_core::machine::{Action, Entry, HubAction, Input, Instant, Machine, Policy};
use downbeat_core::record::Step;

use crate::oracle::{Jury, Setting, Violation};
use crate::record::{Header, HubState, Line, Record};

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
    pub verdict: Verdict,
}

/// What the oracles say of a record.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many rules were judged.
    pub judges: usize,
    /// Rules that were not judged.
    pub skipped: Vec<&'static str>,
    /// Why they, or those after a time, were not.
    pub reasons: Vec<String>,
    /// The first rule that was broken.
    pub violation: Option<Violation>,
}

/// The core, told the same, answers something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// The line of the record.
    pub line: usize,
    /// When.
    pub at: Instant,
    /// Which worker was told; `None`: the hub.
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
    /// By a machine that stands alone.
    Machine(Action),
    /// By a hub.
    Hub(HubAction),
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
    replay.verdict = judge(record);
    replay
}

/// Rules about what a hub owns, and about waits: a hub's workers have neither token nor link nor waits of their own.
const OF_THE_HUB: [&str; 4] = ["S9 ", "S14 ", "S20 ", "L"];

/// Shows the oracles what the record says, as far as they can know what came before.
fn judge(record: &Record) -> Verdict {
    let header = record.header();
    let mut verdict = Verdict::default();
    let setting = match header.and_then(|header| header.scenario.as_ref()) {
        Some(scenario) => Setting::of(scenario),
        None => {
            verdict.reasons.push("the record does not show what the server did".to_owned());
            Setting::of_workers(&record.cast().collect::<Vec<_>>())
        }
    };
    let mut jury = Jury::new(setting);
    verdict.skipped = jury.skipped();
    if record.hub().is_some() {
        let dismissed = jury.dismiss(|name| OF_THE_HUB.iter().any(|of| name.starts_with(of)));
        verdict.skipped.extend(dismissed);
        verdict
            .reasons
            .push("token, link and waits are the hub's, and these rules judge single workers".to_owned());
    }
    if header.is_some_and(|header| header.segment > 0) {
        verdict.skipped.extend(jury.dismiss(|_| true));
        let why = "it begins in the middle of a run: put the earlier segments before it (FILE.1 and so on), oldest first";
        verdict.reasons.push(why.to_owned());
        return verdict;
    }
    verdict.judges = jury.names().count();
    let mut end = Instant::ZERO;
    for entry in &record.entries {
        if let Line::Gap(gap) = &entry.line {
            let at = gap.t.as_millis() / 1_000;
            verdict.reasons.push(format!("steps are missing at {at} s: nothing is judged from there on"));
            return verdict;
        }
        for event in record.events_of(entry) {
            end = end.max(event.at());
            if let Err(violation) = jury.see(&event) {
                verdict.violation = Some(violation);
                return verdict;
            }
        }
    }
    if record.truncated {
        verdict.reasons.push("the record is cut off: what had not ended by then is no fault".to_owned());
    } else {
        verdict.violation = jury.finish(end).err();
    }
    verdict
}

/// The machines of a record, as far as its lines have been applied.
#[derive(Clone)]
pub(crate) struct Core {
    cast: Vec<(Policy, u16)>,
    /// `None`: its state is not known any more.
    machines: BTreeMap<u32, Option<Boxed>>,
    hub: Option<HubState>,
    /// States are not known any more: until the next segment.
    lost: bool,
}

impl Core {
    /// Before the first line.
    pub(crate) fn new(record: &Record) -> Self {
        Self { cast: record.cast().collect(), machines: BTreeMap::new(), hub: None, lost: false }
    }

    /// A worker's machine, if it runs and its state is known.
    pub(crate) fn machine(&self, worker: u32) -> Option<&Boxed> {
        match &self.hub {
            Some(hub) => hub.members().get(worker as usize).map(|member| member.machine()),
            None => self.machines.get(&worker).and_then(Option::as_ref),
        }
    }

    /// The hub, if the record has one.
    pub(crate) fn hub(&self) -> Option<&HubState> {
        self.hub.as_ref()
    }

    /// The workers that run.
    pub(crate) fn workers(&self) -> Vec<u32> {
        match &self.hub {
            Some(hub) => (0..).zip(hub.members()).map(|(worker, _)| worker).collect(),
            None => self.machines.keys().copied().collect(),
        }
    }

    /// Applies a line. For a step: what the record says and what the core says; `None`: the state of that machine
    /// is not known.
    pub(crate) fn apply(&mut self, line: &Line) -> Option<(Answered, Answered)> {
        match line {
            Line::Header(header) => self.begin_segment(header),
            Line::Gap(_) => self.lose(),
            Line::Start { w, seed, .. } => self.start(*w, *seed),
            Line::Event(crate::event::Event::Crashed { worker, .. }) => {
                self.machines.remove(worker);
            }
            Line::Event(_) | Line::Violation { .. } => {}
            Line::Step(step) => return self.step(step),
        }
        None
    }

    fn begin_segment(&mut self, header: &Header) {
        if header.hub.is_some() {
            self.hub.clone_from(&header.hub);
            self.lost = false;
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        for machine in self.machines.values_mut() {
            *machine = None;
        }
    }

    fn start(&mut self, worker: u32, seed: u64) {
        let Some((policy, capacity)) = self.cast.get(worker as usize) else { return };
        let table = vec![Entry::FREE; usize::from(*capacity)].into_boxed_slice();
        self.machines.insert(worker, Machine::with_storage(table, *policy, seed).ok());
    }

    fn step(&mut self, step: &Step) -> Option<(Answered, Answered)> {
        if let Some(hub) = &mut self.hub {
            if self.lost {
                return None;
            }
            let (input, recorded) = (step.hub_input()?, step.hub_action()?);
            return Some((Answered::Hub(recorded), Answered::Hub(hub.step(step.t, input))));
        }
        let recorded = Answered::Machine(step.action);
        let Some(machine) = self.machines.get_mut(&step.w?) else {
            return (!self.lost).then_some((recorded, Answered::Nothing));
        };
        let machine = machine.as_mut()?;
        Some((recorded, Answered::Machine(machine.step(step.local(), step.input))))
    }

    /// What comes after a divergence says nothing new: the same machine is not asked again.
    fn give_up(&mut self, step: &Step) {
        self.lost |= self.hub.is_some();
        if let Some(machine) = step.w.and_then(|worker| self.machines.get_mut(&worker)) {
            *machine = None;
        }
    }
}
