//! One run with everything judged: what `run`, `swarm`, `shrink` and `mutants` are made of.

use downbeat_core::machine::{Instant, Kind, Sound};

use crate::event::Watcher;
use crate::oracle::{Oracles, Violation};
use crate::probe::Probes;
use crate::scenario::{Scenario, Setting};
use crate::world::{DriverMistake, Outcome, World};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Trial {
    /// How it ended.
    pub outcome: Outcome,
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// What was seen to happen.
    pub probes: Probes,
}

impl Trial {
    /// Returns the process's exit code: 0 passed, 10 safety, 11 liveness, 12 not deterministic.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.violation {
            _ if self.outcome.nondeterminism.is_some() => 12,
            Some(violation) if violation.is_liveness() => 11,
            Some(_) => 10,
            None => 0,
        }
    }

    /// Returns a number that is the same for two runs of one scenario.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        crate::random::mix(self.outcome.steps ^ self.outcome.at.as_micros().rotate_left(20))
    }
}

/// Runs a scenario with machines of this kind under all oracles. `watchers` see the events before the oracles do.
pub fn run<M: Kind>(scenario: &Scenario, watchers: &mut [&mut dyn Watcher]) -> Trial {
    judged::<M>(scenario, watchers, None)
}

fn judged<M: Kind>(
    scenario: &Scenario,
    watchers: &mut [&mut dyn Watcher],
    mistake: Option<DriverMistake>,
) -> Trial {
    let mut oracles = Oracles::new(Setting::from_scenario(scenario));
    oracles.probe();
    let outcome = {
        let mut world = World::<M>::new(scenario);
        for watcher in watchers {
            world.watch(&mut **watcher);
        }
        world.watch(&mut oracles);
        if let Some(mistake) = mistake {
            world.mistake(mistake);
        }
        world.run()
    };
    // What is not a function of the scenario says nothing about the other rules.
    let judged = if outcome.nondeterminism.is_some() { None } else { oracles.finish(outcome.at).err() };
    let violation = judged.or_else(|| unfinished(&outcome));
    Trial { violation, probes: oracles.take_probes(), outcome }
}

/// Does as [`run`] does, with sound machines and a driver that makes this mistake.
pub fn run_mistaken(scenario: &Scenario, watchers: &mut [&mut dyn Watcher], mistake: DriverMistake) -> Trial {
    judged::<Sound>(scenario, watchers, Some(mistake))
}

/// Runs a scenario without oracles, for measurements.
pub fn run_unjudged<M: Kind>(scenario: &Scenario, watchers: &mut [&mut dyn Watcher]) -> Outcome {
    let mut world = World::<M>::new(scenario);
    world.check_clones(false);
    for watcher in watchers {
        world.watch(&mut **watcher);
    }
    world.run()
}

/// A run that ends with something open has broken a rule, also if no oracle's bound has passed yet.
fn unfinished(outcome: &Outcome) -> Option<Violation> {
    let found = |oracle, at: Instant, worker, what| Some(Violation { oracle, at, worker, what });
    if let Some((at, worker)) = outcome.nondeterminism {
        let what = "a clone, told the same, answers or is something else".to_owned();
        return found("S18 replay", at, Some(worker), what);
    }
    if outcome.stopped {
        let what = "a machine does not come to rest within 100,000 steps".to_owned();
        return found("S14 no-spin", outcome.at, None, what);
    }
    let pending = outcome.pending.as_ref()?;
    found("L1 every-task-ends", outcome.at, None, format!("the run is over, and {pending}"))
}
