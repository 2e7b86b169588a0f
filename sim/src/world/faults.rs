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
    /// Whom each hits, by number; `None`: all.
    hit: Vec<Option<Vec<u32>>>,
    active: Vec<usize>,
    random: Random,
}

impl<'a> Faults<'a> {
    /// `crews` are the workers of each process, and the number of its hub.
    pub(crate) fn new(plan: &'a [Fault], seed: u64, crews: &[(u32, &[u32])]) -> Self {
        let hit = plan.iter().map(|fault| hit(fault, crews)).collect();
        Self { plan, hit, active: Vec::new(), random: Random::stream(seed, 0xfa17) }
    }

    /// Whether a fault is about a worker, or about a hub.
    pub(crate) fn names(&self, index: usize, worker: u32) -> bool {
        self.hit.get(index).is_none_or(|hit| hit.as_ref().is_none_or(|hit| hit.contains(&worker)))
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
            if self.names(*index, worker) && concerns(fault, ask) && self.random.percent(fault.percent) {
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
            let hit = fault.kind == FaultKind::Poison && self.names(*index, worker) && concerns(fault, ask);
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

fn concerns(fault: &Fault, ask: &Ask) -> bool {
    fault.calls.as_ref().is_none_or(|classes| classes.contains(&ask.class()))
}

/// What a process has once is hit for all of its workers; a call of the hub itself is hit with any of them.
fn hit(fault: &Fault, crews: &[(u32, &[u32])]) -> Option<Vec<u32>> {
    let mut hit = fault.workers.clone()?;
    let whole = matches!(
        fault.kind,
        FaultKind::Crash
            | FaultKind::Partition
            | FaultKind::ClockJump
            | FaultKind::ClockBack
            | FaultKind::StoreFull
    );
    let some = matches!(fault.kind, FaultKind::Pause | FaultKind::Abort);
    for (hub, members) in crews {
        if !some && members.iter().any(|member| hit.contains(member)) {
            if whole {
                hit.extend(*members);
            }
            hit.push(*hub);
        }
    }
    Some(hit)
}
