//! Which faults are in force, and what they do to a call.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::time::Duration;

use downbeat_core::machine;

use super::call::Request;
use crate::random::{Random, mix};
use crate::scenario::{Fault, FaultKind};

/// The plan of faults, and which of them are in force.
#[derive(Debug)]
pub(crate) struct Faults<'a> {
    plan: &'a [Fault],
    /// Whom each hits, by number, or `None` for all.
    hit: Vec<Option<Vec<u32>>>,
    active: Vec<usize>,
    random: Random,
}

impl<'a> Faults<'a> {
    /// `processes` are the workers of each process, and the number of its hub.
    pub(crate) fn new(plan: &'a [Fault], seed: u64, processes: &[(u32, &[u32])]) -> Self {
        let hit = plan.iter().map(|fault| hit(fault, processes)).collect();
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
    pub(crate) fn hits(&mut self, kind: FaultKind, worker: u32, request: &Request) -> Option<&'a Fault> {
        for index in &self.active {
            let Some(fault) = self.plan.get(*index).filter(|fault| fault.kind == kind) else { continue };
            if self.names(*index, worker) && concerns(fault, request) && self.random.percent(fault.percent) {
                return Some(fault);
            }
        }
        None
    }

    /// What the server says to a report of this task, each time, if it does not take it.
    pub(crate) fn refusal(&self, worker: u32, request: &Request) -> Option<machine::Fault> {
        let (key, whole) = request.result_of()?;
        let key = u64::try_from(key.to_u128() & u128::from(u64::MAX)).unwrap_or(0);
        self.active.iter().find_map(|index| {
            let fault = self.plan.get(*index)?;
            let response = match fault.kind {
                FaultKind::Poison => machine::Fault::Internal,
                FaultKind::TooLarge => machine::Fault::TooLarge,
                FaultKind::Unprocessable => machine::Fault::Rejected,
                FaultKind::Forbidden => machine::Fault::Forbidden,
                _ => return None,
            };
            // Each fault has tasks of its own; of poison some are not even taken as failed.
            let all = fault.kind == FaultKind::Poison && mix(key ^ 1).is_multiple_of(4);
            let salt =
                if fault.kind == FaultKind::Poison { 0 } else { u64::try_from(*index).unwrap_or(0) << 8 };
            let hit = self.names(*index, worker) && mix(key ^ salt) % 100 < u64::from(fault.percent);
            (hit && (whole || all)).then_some(response)
        })
    }

    /// Whether a process dies at a step that leads a result to the server, and how soon it starts anew.
    pub(crate) fn kills(&mut self, worker: u32) -> Option<Duration> {
        self.by(FaultKind::Kill, worker)
    }

    /// Whether a fault hits one of many.
    pub(crate) fn draws(&mut self, percent: u8) -> bool {
        self.random.percent(percent)
    }

    /// How much longer a message takes.
    pub(crate) fn delay(&mut self, worker: u32, request: &Request) -> Duration {
        self.hits(FaultKind::Slow, worker, request)
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
        self.hits(kind, worker, &Request::Token).and_then(|fault| fault.by).map(|by| by.get())
    }

    /// Whether a worker's store takes nothing.
    pub(crate) fn store_is_full(&mut self, worker: u32) -> bool {
        self.hits(FaultKind::StoreFull, worker, &Request::Token).is_some()
    }
}

fn concerns(fault: &Fault, request: &Request) -> bool {
    fault.calls.as_ref().is_none_or(|classes| classes.contains(&request.class()))
}

/// What a process has once is hit for all of its workers; a call of the hub itself is hit with any of them.
fn hit(fault: &Fault, processes: &[(u32, &[u32])]) -> Option<Vec<u32>> {
    let mut hit = fault.workers.clone()?;
    let whole = matches!(
        fault.kind,
        FaultKind::Crash
            | FaultKind::Kill
            | FaultKind::Partition
            | FaultKind::ClockJump
            | FaultKind::ClockBack
            | FaultKind::StoreFull
    );
    let some = matches!(fault.kind, FaultKind::Pause | FaultKind::Abort);
    for (hub, members) in processes {
        if !some && members.iter().any(|member| hit.contains(member)) {
            if whole {
                hit.extend(*members);
            }
            hit.push(*hub);
        }
    }
    Some(hit)
}
