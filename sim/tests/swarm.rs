//! Many seeds: every scenario ends, whatever went wrong before `heal_at`, and does so the same way twice.

use downbeat_core::machine::{Action, Loss};
use downbeat_sim::event::{Effect, Event};
use downbeat_sim::scenario::{Profile, generate};
use downbeat_sim::world::{Outcome, Watcher, World};

/// Counts what happened, and digests it.
#[derive(Default)]
struct Digest {
    hash: u64,
    lost: u32,
    applied_twice: u32,
    ended: std::collections::BTreeSet<downbeat_core::machine::TaskKey>,
}

impl Watcher for Digest {
    fn on(&mut self, event: &Event) -> bool {
        for byte in format!("{event:?}").bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        match event {
            Event::Step { action: Action::Discard { why: Loss::GaveUp, .. }, .. } => self.lost += 1,
            Event::Server { effect: Effect::Reported { key, report, applied: true, .. }, .. }
                if !matches!(report, downbeat_sim::event::Report::Yield) && !self.ended.insert(*key) =>
            {
                self.applied_twice += 1;
            }
            Event::Step { .. }
            | Event::Server { .. }
            | Event::Started { .. }
            | Event::Crashed { .. }
            | Event::Stored { .. }
            | Event::Fault { .. }
            | Event::Healed { .. } => {}
        }
        true
    }
}

fn run(seed: u64, profile: Profile) -> (Outcome, u64) {
    let scenario = generate(seed, profile);
    let mut digest = Digest::default();
    let mut world = World::<downbeat_core::machine::mutant::Sound>::new(&scenario);
    world.watch(&mut digest);
    let outcome = world.run();
    assert_eq!(digest.lost, 0, "seed {seed}: a result was given up");
    assert_eq!(digest.applied_twice, 0, "seed {seed}: a task ended twice");
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
