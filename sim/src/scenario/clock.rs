//! The workers' clocks in a simulation: what each must show at a true time, computed anew from the scenario.

use std::time::Duration;

use downbeat_core::machine::Instant;

use super::fleet::Process;
use super::model::{Fault, FaultKind, Scenario};

/// Every worker's clock.
#[derive(Clone, Debug)]
pub struct Clocks {
    workers: Vec<Clock>,
    /// For each fault, by how much it has clocks jump, and whose (`None` for all).
    jumps: Vec<Option<(Duration, Option<Vec<u32>>)>>,
    goes_back: bool,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    skew_ppm: i64,
    born: Instant,
    jumped: Duration,
}

impl Clocks {
    /// Workers, and the hubs behind them: what is in a process goes by its clock.
    pub(super) fn from_scenario(scenario: &Scenario) -> Self {
        let clock = |skew_ppm| Clock { skew_ppm, born: Instant::ZERO, jumped: Duration::ZERO };
        let groups = scenario.workers.iter();
        let workers = groups.flat_map(|group| {
            let count = usize::try_from(scenario.in_group(group)).unwrap_or_default();
            std::iter::repeat_n(clock(group.clock_skew_ppm), count)
        });
        let processes = scenario.each_process();
        let skew = |group: usize| scenario.processes.get(group).map_or(0, |it| it.clock_skew_ppm);
        let hubs = processes.iter().map(|process| clock(skew(process.group)));
        let workers: Vec<Clock> = workers.chain(hubs).collect();
        let first = u32::try_from(scenario.worker_count()).unwrap_or(u32::MAX);
        let whose = |fault: &Fault| {
            let named = fault.workers.clone()?;
            let hit =
                |(_, process): &(u32, &Process)| process.members.iter().any(|member| named.contains(member));
            let hubs: Vec<u32> = (first..).zip(&processes).filter(hit).map(|(number, _)| number).collect();
            Some(named.into_iter().chain(hubs).collect())
        };
        let jumps = scenario.faults.iter().map(|fault| {
            let by = fault.by.map_or(Duration::ZERO, |by| by.get());
            (fault.kind == FaultKind::ClockJump).then(|| (by, whose(fault)))
        });
        let goes_back = scenario.faults.iter().any(|fault| fault.kind == FaultKind::ClockBack);
        Self { workers, jumps: jumps.collect(), goes_back }
    }

    /// A step other than a tick may be told of with an earlier clock.
    pub(crate) fn may_go_back(&self) -> bool {
        self.goes_back
    }

    /// A process starts, and its clock with it.
    pub(crate) fn start(&mut self, worker: u32, at: Instant) {
        if let Some(clock) = self.workers.get_mut(worker as usize) {
            (clock.born, clock.jumped) = (at, Duration::ZERO);
        }
    }

    /// A fault begins.
    pub(crate) fn fault(&mut self, index: u32) {
        let Some(Some((by, whose))) = self.jumps.get(index as usize) else { return };
        for (clock, worker) in self.workers.iter_mut().zip(0..) {
            if whose.as_ref().is_none_or(|whose| whose.contains(&worker)) {
                clock.jumped = clock.jumped.saturating_add(*by);
            }
        }
    }

    /// What a worker's clock shows at a true time.
    pub(crate) fn shows(&self, worker: u32, at: Instant) -> Option<Instant> {
        let clock = self.workers.get(worker as usize)?;
        let real = i128::from(at.as_micros().saturating_sub(clock.born.as_micros()));
        let skewed = real + real * i128::from(clock.skew_ppm) / 1_000_000;
        Some(Instant::from_micros(u64::try_from(skewed).unwrap_or(u64::MAX)).saturating_add(clock.jumped))
    }
}
