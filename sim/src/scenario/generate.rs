//! Scenarios out of a number: a fleet, a stream of tasks, and a plan of faults, for the swarm.

mod parts;
mod processes;
mod profile;

pub(crate) use self::parts::is_about_calls;
use self::parts::{add_faults, network, secs, server, tasks, workers};
pub use self::profile::Profile;
use super::model::{Scenario, VERSION};
use crate::random::Random;

/// Makes the scenario of a seed. The same seed and profile give the same scenario; what is replayed and shrunk later
/// is the scenario, not the seed.
#[must_use]
pub fn generate(seed: u64, profile: Profile) -> Scenario {
    if profile == Profile::Processes {
        return processes::processes(seed);
    }
    let mut random = Random::stream(seed, 0x5ce0);
    let heal = random.between(60, 400);
    let mut scenario = Scenario {
        version: VERSION,
        name: format!("{}-{seed}", profile.name()),
        why: String::new(),
        seed,
        heal_at: secs(heal),
        end_at: None,
        server: server(&mut random),
        network: network(&mut random),
        processes: Vec::new(),
        workers: workers(&mut random, heal),
        tasks: Vec::new(),
        faults: Vec::new(),
    };
    scenario.tasks = tasks(&mut random, heal);
    add_faults(&mut scenario, &mut random, profile, heal);
    scenario
}
