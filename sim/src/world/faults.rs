//! Which faults are in force, and what they do to a call.

use std::time::Duration;

use downbeat_core::machine::TaskKey;

use super::call::Ask;
use crate::random::{Random, mix};
use crate::scenario::{Fault, FaultKind};

/// The plan of faults, and which of them are in force.
#[derive(Debug)]
pub(crate) struct Faults<'a> {
    plan: &'a [Fault],
    active: Vec<usize>,
    random: Random,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(plan: &'a [Fault], seed: u64) -> Self {
        Self { plan, active: Vec::new(), random: Random::stream(seed, 0xfa17) }
    }

    pub(crate) fn begin(&mut self, index: usize) -> Option<&'a Fault> {
        if self.active.contains(&index) {
            return None;
        }
        self.active.push(index);
        self.plan.get(index)
    }

    pub(crate) fn end(&mut self, index: usize) -> Option<&'a Fault> {
        let at = self.active.iter().position(|active| *active == index)?;
        self.active.remove(at);
        self.plan.get(index)
    }

    /// The faults in force.
    pub(crate) fn active(&self) -> &[usize] {
        &self.active
    }

    /// The first fault of this kind that hits a worker's call.
    pub(crate) fn hits(&mut self, kind: FaultKind, worker: u32, ask: &Ask) -> Option<&'a Fault> {
        for index in &self.active {
            let Some(fault) = self.plan.get(*index).filter(|fault| fault.kind == kind) else { continue };
            if concerns(fault, worker, ask) && self.random.percent(fault.percent) {
                return Some(fault);
            }
        }
        None
    }

    /// Whether the server takes no result of this task.
    pub(crate) fn poisons(&self, worker: u32, ask: &Ask, key: TaskKey) -> bool {
        let draw = mix(u64::try_from(key.to_u128() & u128::from(u64::MAX)).unwrap_or(0)) % 100;
        let poison = |index: &usize| {
            let fault = self.plan.get(*index)?;
            let hit = fault.kind == FaultKind::Poison && concerns(fault, worker, ask);
            (hit && draw < u64::from(fault.percent)).then_some(())
        };
        self.active.iter().any(|index| poison(index).is_some())
    }

    /// How much longer a message takes.
    pub(crate) fn delay(&mut self, worker: u32, ask: &Ask) -> Duration {
        self.hits(FaultKind::Slow, worker, ask)
            .and_then(|fault| fault.by)
            .map_or(Duration::ZERO, |by| by.get())
    }

    /// How far back a worker's clock is at a step.
    pub(crate) fn clock_back(&mut self, worker: u32) -> Duration {
        self.by(FaultKind::ClockBack, worker).unwrap_or_default()
    }

    /// How long after the first time the end of a task is told again.
    pub(crate) fn finish_again(&mut self, worker: u32) -> Option<Duration> {
        self.by(FaultKind::FinishTwice, worker)
    }

    fn by(&mut self, kind: FaultKind, worker: u32) -> Option<Duration> {
        if self.active.is_empty() {
            return None;
        }
        self.hits(kind, worker, &Ask::Token).and_then(|fault| fault.by).map(|by| by.get())
    }

    /// Whether a worker's store takes nothing.
    pub(crate) fn store_is_full(&mut self, worker: u32) -> bool {
        self.hits(FaultKind::StoreFull, worker, &Ask::Token).is_some()
    }
}

fn concerns(fault: &Fault, worker: u32, ask: &Ask) -> bool {
    let of_worker = fault.workers.as_ref().is_none_or(|workers| workers.contains(&worker));
    let of_class = fault.calls.as_ref().is_none_or(|classes| classes.contains(&ask.class()));
    of_worker && of_class
}
