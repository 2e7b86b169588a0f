//! Many seeds: every scenario ends, whatever went wrong before `heal_at`, and does so the same way on any number of
//! threads.

use downbeat_sim::mutants::Machines;
use downbeat_sim::swarm::{self, Found, Plan};

fn swarm(seeds: u64, jobs: usize) -> Found {
    let plan =
        Plan { start: 40_000, seeds, jobs, profile: None, machines: Machines::SOUND, keep_going: true };
    swarm::run(&plan, &|_| true)
}

#[test]
fn a_small_swarm_passes() {
    let found = swarm(300, 2);
    let failing: Vec<_> = found
        .failing
        .iter()
        .map(|failing| (failing.seed, &failing.trial.violation, &failing.trial.outcome))
        .collect();
    assert!(failing.is_empty(), "{failing:?}");
    assert_eq!(found.seeds, 300);
}

#[test]
fn what_a_swarm_finds_does_not_depend_on_its_threads() {
    let (one, three) = (swarm(40, 1), swarm(40, 3));
    assert_eq!((one.fingerprint, one.steps), (three.fingerprint, three.steps));
}
