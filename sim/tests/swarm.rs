//! Many seeds: every scenario ends, whatever went wrong before `heal_at`, and does so the same way twice.

use downbeat_sim::oracle::s18_replay::Digest;
use downbeat_sim::oracle::{Jury, Setting};
use downbeat_sim::scenario::{Profile, generate};
use downbeat_sim::world::{Outcome, World};

fn run(seed: u64, profile: Profile) -> (Outcome, u64) {
    let scenario = generate(seed, profile);
    let mut digest = Digest::default();
    let mut jury = Jury::new(Setting::of(&scenario));
    let mut world = World::<downbeat_core::machine::mutant::Sound>::new(&scenario);
    world.watch(&mut digest);
    world.watch(&mut jury);
    let outcome = world.run();
    if let Err(violation) = jury.finish(outcome.at) {
        panic!("seed {seed} {}: {violation}", profile.name());
    }
    (outcome, digest.hash)
}

fn every_seed_ends(profile: Profile, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let (outcome, _) = run(seed, profile);
        assert_eq!(outcome.pending, None, "seed {seed} {}: {outcome:?}", profile.name());
        assert_eq!(outcome.nondeterminism, None, "seed {seed}");
        assert!(!outcome.stopped, "seed {seed}: a machine spins");
    }
}

#[test]
fn calm_scenarios_end() {
    every_seed_ends(Profile::Calm, 0..100);
}

#[test]
fn stormy_scenarios_end() {
    every_seed_ends(Profile::Stormy, 0..150);
}

#[test]
fn radioactive_scenarios_end() {
    every_seed_ends(Profile::Radioactive, 0..150);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 0..20 {
        assert_eq!(run(seed, Profile::Radioactive), run(seed, Profile::Radioactive), "seed {seed}");
    }
}
