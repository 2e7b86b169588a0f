//! Many seeds on many threads. What is found does not depend on how many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::mutants::Machines;
use crate::probe::Probes;
use crate::random::{Random, mix};
use crate::scenario::{Profile, generate};
use crate::trial::Trial;

/// Which seeds, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub start: u64,
    /// How many at the most.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// The same profile for all, or `None` if each seed draws one.
    pub profile: Option<Profile>,
    /// With these machines.
    pub machines: Machines,
    /// Goes on after a failure.
    pub keep_going: bool,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The seed.
    pub seed: u64,
    /// Its profile.
    pub profile: Profile,
    /// What came of it.
    pub trial: Trial,
}

/// What a swarm found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Seeds run.
    pub seeds: u64,
    /// Steps of machines.
    pub steps: u64,
    /// Virtual time in milliseconds, over all runs.
    pub virtual_ms: u64,
    /// Virtual time times workers, in milliseconds.
    pub worker_ms: u64,
    /// The same for the same seeds, whatever the threads.
    pub fingerprint: u64,
    /// Situations met.
    pub probes: Probes,
    /// Those that failed, by seed.
    pub failing: Vec<Failing>,
}

/// Returns the profile of a seed if none is given.
#[must_use]
pub fn profile_of(seed: u64) -> Profile {
    let weights = [(Profile::Calm, 1), (Profile::Stormy, 5), (Profile::Radioactive, 4)];
    Random::stream(seed, 0x9f0f).weighted(&weights).unwrap_or_default()
}

/// Runs a swarm. `progress` is called after each seed, with how many failed so far, from any thread, and says whether to
/// go on.
pub fn run(plan: &Plan, progress: &(dyn Fn(u64) -> bool + Sync)) -> Found {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= plan.seeds {
                        break;
                    }
                    let failing = one(plan, plan.start.wrapping_add(number), &found);
                    if (failing > 0 && !plan.keep_going) || !progress(failing) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.failing.sort_by_key(|failing| failing.seed);
    found
}

/// Runs one seed; how many have failed so far.
fn one(plan: &Plan, seed: u64, found: &Mutex<Found>) -> u64 {
    let profile = plan.profile.unwrap_or_else(|| profile_of(seed));
    let scenario = generate(seed, profile);
    let workers = scenario.worker_count();
    let trial = plan.machines.run(&scenario, &mut []);
    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let length = trial.outcome.at.as_millis();
    found.seeds += 1;
    found.steps += trial.outcome.steps;
    found.virtual_ms += length;
    found.worker_ms += length * workers;
    found.fingerprint ^= mix(seed ^ trial.fingerprint());
    found.probes.add(&trial.probes);
    if trial.exit_code() != 0 {
        found.failing.push(Failing { seed, profile, trial });
    }
    found.failing.len() as u64
}
