//! Making a failing scenario small: fewer faults, tasks and workers, shorter times, and still the same rule broken.

use std::time::Duration;

use crate::mutants::Machines;
use crate::scenario::{Arrival, Scenario, Span, Spread};

/// What became of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest scenario found.
    pub scenario: Scenario,
    /// The rule that it breaks, as the original did.
    pub oracle: &'static str,
    /// Runs that it took.
    pub runs: u32,
}

/// Returns the rule that a scenario breaks with these machines, or `None`.
#[must_use]
pub fn broken(machines: Machines, scenario: &Scenario) -> Option<&'static str> {
    machines.run(scenario, &mut []).violation.map(|violation| violation.oracle)
}

/// Shrinks a scenario as far as `broken` still names the same rule. `go_on` is asked before each further run, with how
/// many there were. `None`: it breaks none.
pub fn shrink(
    scenario: &Scenario,
    broken: &dyn Fn(&Scenario) -> Option<&'static str>,
    go_on: &dyn Fn(u32) -> bool,
) -> Option<Shrunk> {
    let oracle = broken(scenario)?;
    let mut shrinker = Shrinker { best: scenario.clone(), oracle, runs: 1, over: false, broken, go_on };
    loop {
        let before = shrinker.best.clone();
        shrinker.faults();
        shrinker.tasks();
        shrinker.workers();
        shrinker.lengths();
        if shrinker.best == before || shrinker.over {
            break;
        }
    }
    let Shrinker { best, runs, .. } = shrinker;
    Some(Shrunk { scenario: best, oracle, runs })
}

struct Shrinker<'a> {
    best: Scenario,
    oracle: &'static str,
    runs: u32,
    /// No further run may be made.
    over: bool,
    broken: &'a dyn Fn(&Scenario) -> Option<&'static str>,
    go_on: &'a dyn Fn(u32) -> bool,
}

impl Shrinker<'_> {
    /// Takes a candidate if it breaks the same rule.
    fn accepts(&mut self, mut candidate: Scenario) -> bool {
        let groups = candidate.workers.clone();
        candidate.processes.retain(|it| groups.iter().any(|group| group.process.as_ref() == Some(&it.name)));
        if candidate == self.best || !candidate.problems().is_empty() {
            return false;
        }
        self.over = self.over || !(self.go_on)(self.runs);
        if self.over {
            return false;
        }
        self.runs += 1;
        let same = (self.broken)(&candidate) == Some(self.oracle);
        if same {
            self.best = candidate;
        }
        same
    }

    /// ddmin: leaves out ever smaller parts of a list.
    fn list<T: Clone>(&mut self, of: impl Fn(&mut Scenario) -> &mut Vec<T>, least: usize) {
        let mut part = of(&mut self.best).len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            while from < of(&mut self.best).len() && !self.over {
                let mut candidate = self.best.clone();
                let list = of(&mut candidate);
                let to = (from + part).min(list.len());
                list.drain(from..to);
                if list.len() < least || !self.accepts(candidate) {
                    from = to;
                }
            }
            if part == 1 || self.over {
                return;
            }
            part = part.div_ceil(2);
        }
    }

    fn faults(&mut self) {
        self.list(|scenario| &mut scenario.faults, 0);
    }

    fn tasks(&mut self) {
        self.list(|scenario| &mut scenario.tasks, 0);
        for stream in 0..self.best.tasks.len() {
            let mut candidate = self.best.clone();
            if let Some(tasks) = candidate.tasks.get_mut(stream)
                && let Some(times) = times(&tasks.arrive)
            {
                tasks.arrive = Arrival::Trace { at: times };
                self.accepts(candidate);
            }
            if matches!(self.best.tasks.get(stream).map(|tasks| &tasks.arrive), Some(Arrival::Trace { .. })) {
                self.list(|scenario| trace(scenario, stream), 0);
            }
        }
    }

    /// Groups, then the workers of each; faults that name a worker that is gone are mended.
    fn workers(&mut self) {
        self.list(|scenario| &mut scenario.workers, 1);
        for process in 0..self.best.processes.len() {
            while self.best.processes.get(process).is_some_and(|process| process.count > 1) {
                let mut candidate = self.best.clone();
                if let Some(process) = candidate.processes.get_mut(process) {
                    process.count /= 2;
                }
                forget_missing(&mut candidate);
                if !self.accepts(candidate) {
                    break;
                }
            }
        }
        for group in 0..self.best.workers.len() {
            while self.best.workers.get(group).is_some_and(|workers| workers.count > 1) {
                let mut candidate = self.best.clone();
                if let Some(workers) = candidate.workers.get_mut(group) {
                    workers.count /= 2;
                }
                forget_missing(&mut candidate);
                if !self.accepts(candidate) {
                    break;
                }
            }
        }
    }

    fn lengths(&mut self) {
        for at in 0..self.best.faults.len() {
            self.halve(|scenario| scenario.faults.get_mut(at).map(|fault| &mut fault.lasts));
        }
        for stream in 0..self.best.tasks.len() {
            self.halve(|scenario| match &mut scenario.tasks.get_mut(stream)?.duration {
                Spread::Fixed { of } => Some(of),
                Spread::Uniform { max, .. } | Spread::Exponential { max, .. } => Some(max),
            });
        }
        self.halve(|scenario| Some(&mut scenario.heal_at));
    }

    fn halve(&mut self, of: impl Fn(&mut Scenario) -> Option<&mut Span>) {
        loop {
            let mut candidate = self.best.clone();
            let Some(span) = of(&mut candidate) else { return };
            let half = span.get() / 2;
            if half < Duration::from_millis(1) {
                return;
            }
            *span = Span::new(Duration::from_millis(u64::try_from(half.as_millis()).unwrap_or(u64::MAX)));
            if !self.accepts(candidate) {
                return;
            }
        }
    }
}

fn trace(scenario: &mut Scenario, stream: usize) -> &mut Vec<Span> {
    // The caller has made sure that it is one.
    if let Some(tasks) = scenario.tasks.get_mut(stream)
        && !matches!(tasks.arrive, Arrival::Trace { .. })
    {
        tasks.arrive = Arrival::Trace { at: Vec::new() };
    }
    match scenario.tasks.get_mut(stream).map(|tasks| &mut tasks.arrive) {
        Some(Arrival::Trace { at }) => at,
        _ => unreachable!("a stream that is being shrunk is there, and is a trace"),
    }
}

/// The times at which tasks come, if they are known beforehand and few.
fn times(arrive: &Arrival) -> Option<Vec<Span>> {
    const MOST: u64 = 2_000;
    if arrive.count() > MOST {
        return None;
    }
    match arrive {
        Arrival::Burst { at, count } => Some(vec![*at; *count as usize]),
        // The random times of the original are not known here; even ones may do.
        Arrival::Steady { every, from, until } | Arrival::Poisson { every, from, until } => {
            let mut times = Vec::new();
            let mut at = from.get();
            while at < until.get() {
                times.push(Span::new(at));
                at += every.get();
            }
            Some(times)
        }
        Arrival::Trace { .. } => None,
    }
}

fn forget_missing(scenario: &mut Scenario) {
    let count = scenario.worker_count();
    for fault in &mut scenario.faults {
        if let Some(workers) = &mut fault.workers {
            workers.retain(|worker| u64::from(*worker) < count);
        }
    }
    scenario.faults.retain(|fault| fault.workers.as_ref().is_none_or(|workers| !workers.is_empty()));
}
