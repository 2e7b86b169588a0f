//! Rules of docs/invariants.md in a small world: one worker of four slots against a server that fails, then heals.
//!
//! The simulator asks the same of whole fleets; this is the least that shows each rule, in milliseconds.

#![expect(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a model for tests alone"
)]

mod world;

use std::time::Duration;

use downbeat_core::machine::{Action, Control, Instant, Loss, Outcome, Policy};
use world::{LEASE, LONGEST_RUN, ROUND_TRIP, World};

const SEEDS: u64 = 100;
const HEAL_AT: Instant = Instant::from_secs(200);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn policy(concurrency: u16) -> Policy {
    Policy { concurrency, ..Policy::default() }
}

fn forty_tasks(world: &mut World) {
    for task in 0_u32..40 {
        world.arrive(Instant::from_millis(u64::from(task) * 5_000), u128::from(task));
    }
}

/// Forty tasks in a time of faults; the world stands at its healing.
fn faulty(seed: u64, policy: Policy) -> World {
    let mut world = World::new(policy, seed, HEAL_AT);
    forty_tasks(&mut world);
    world.run_until(HEAL_AT);
    world
}

/// S1.
#[test]
fn s1_every_run_ends_exactly_once() {
    for seed in 0..SEEDS {
        let mut world = faulty(seed, policy(4));
        world.run_until(Instant::from_secs(900));
        assert!(world.held.is_empty(), "seed {seed}: held for ever: {:?}", world.held);
        assert_eq!(world.worker.snapshot().held, 0, "seed {seed}");
    }
}

/// S2.
#[test]
fn s2_no_final_outcome_is_given_up() {
    for seed in 0..SEEDS {
        let mut world = faulty(seed, policy(4));
        world.run_until(Instant::from_secs(900));
        let lost = world.discarded.iter().find(|(_, _, outcome)| *outcome == Some(Outcome::Final));
        assert_eq!(lost, None, "seed {seed}");
        assert!(world.discarded.iter().all(|(_, why, _)| *why == Loss::UnsafeYield), "seed {seed}");
    }
}

/// S3.
#[test]
fn s3_a_final_outcome_has_one_effect_and_one_sender() {
    for seed in 0..SEEDS {
        let mut world = faulty(seed, policy(4));
        world.run_until(Instant::from_secs(900));
        assert!(world.ended.values().all(|effects| *effects == 1), "seed {seed}");
        for (task, mut slots) in world.senders {
            slots.dedup();
            assert_eq!(slots.len(), 1, "seed {seed}: {task:?} was reported from several slots");
        }
    }
}

/// S6.
#[test]
fn s6_without_faults_no_lease_lapses() {
    for seed in 0..SEEDS {
        let mut world = World::new(policy(4), seed, Instant::ZERO);
        forty_tasks(&mut world);
        world.run_until(Instant::from_secs(300));
        assert_eq!(world.lapsed, [], "seed {seed}");
    }
}

/// S18.
#[test]
fn s18_the_same_seed_gives_the_same_record() {
    for seed in 0..20 {
        let (mut one, mut other) = (faulty(seed, policy(4)), faulty(seed, policy(4)));
        one.run_until(Instant::from_secs(300));
        other.run_until(Instant::from_secs(300));
        assert_eq!(one.record, other.record, "seed {seed}");
    }
}

/// L1.
#[test]
fn l1_every_task_ends() {
    // What is queued or leased at the healing: a lease each, the longest retry, and its share of the slots. A yield
    // adds its 20 s.
    let bound = LEASE + secs(30) + (LONGEST_RUN + secs(20)) * 12;
    for seed in 0..SEEDS {
        let mut world = faulty(seed, policy(4));
        world.run_until(HEAL_AT.saturating_add(bound));
        assert_eq!(world.open_tasks(), 0, "seed {seed}: tasks never ended");
    }
}

/// L2.
#[test]
fn l2_every_result_is_accepted() {
    for seed in 0..SEEDS {
        let mut world = faulty(seed, policy(4));
        let waiting: Vec<_> =
            world.held.iter().filter(|(_, (_, end))| end.is_some()).map(|(entry, _)| *entry).collect();
        // A call that was sent just before the healing may take its whole time to fail.
        let timeout = world.worker.policy().call_timeout;
        world.run_until(HEAL_AT.saturating_add(timeout + secs(30) + ROUND_TRIP * 2));
        let left: Vec<_> = waiting.into_iter().filter(|entry| world.held.contains_key(entry)).collect();
        assert_eq!(left, [], "seed {seed}: results never accepted");
    }
}

/// L3.
#[test]
fn l3_a_task_in_the_queue_is_asked_for() {
    for seed in 0..SEEDS {
        let mut world = World::new(policy(1), seed, Instant::ZERO);
        let arrival = Instant::from_millis(10_000 + seed * 7);
        world.arrive(arrival, 1);
        let limit = world.worker.policy().poll_interval + ROUND_TRIP * 2;
        world.run_until(arrival.saturating_add(limit));
        let ran = world.record.iter().any(|(_, _, action)| matches!(action, Action::Run { .. }));
        assert!(ran, "seed {seed}: the task was not taken within {limit:?}");
    }
}

/// L4, S13.
#[test]
fn l4_a_drain_ends() {
    for seed in 0..SEEDS {
        let mut world = faulty(seed, policy(4));
        // Leases of answers lost before the healing are over by then. One task arrives with the drain.
        let start = HEAL_AT.saturating_add(secs(30)).saturating_add(Duration::from_millis(seed * 13));
        world.arrive(start.saturating_sub(Duration::from_millis(1)), 77);
        world.control(start, Control::Drain);
        world.run_until(start.saturating_add(secs(100)));
        let policy = *world.worker.policy();
        let limit = policy.drain_timeout.unwrap_or(Duration::ZERO) + policy.recall_timeout;
        let Some(stopped) = world.stopped else { panic!("seed {seed}: never stopped") };
        assert!(stopped <= start.saturating_add(limit), "seed {seed}: stopped at {stopped:?}");
        assert!(world.polls_since(start).is_empty(), "seed {seed}: polled while draining");
        let dropped: Vec<_> = world.lapsed.iter().filter(|at| **at > start).collect();
        assert!(dropped.is_empty(), "seed {seed}: S13: a task was left to its lease: {dropped:?}");
    }
}

/// L5.
#[test]
fn l5_a_token_is_had_once_the_issuer_is_well() {
    for seed in 0..SEEDS {
        let mut world = World::new(Policy { authenticated: true, ..policy(1) }, seed, HEAL_AT);
        let limit = world.worker.policy().auth.cap + ROUND_TRIP;
        world.run_until(HEAL_AT.saturating_add(limit));
        assert!(!world.polls_since(Instant::ZERO).is_empty(), "seed {seed}: no token, so no poll");
    }
}

/// L6.
#[test]
fn l6_a_due_lease_waits_for_one_call_on_one_lane() {
    for seed in 0..SEEDS {
        let mut world = World::new(Policy { max_calls: 1, ..policy(4) }, seed, Instant::ZERO);
        forty_tasks(&mut world);
        world.run_until(Instant::from_secs(300));
        assert_eq!(world.lapsed, [], "seed {seed}");
    }
}

/// L7, S12, S14.
#[test]
fn l7_a_pause_ends_with_a_poll() {
    for seed in 0..SEEDS {
        let mut world = World::new(policy(1), seed, Instant::ZERO);
        world.control(Instant::from_secs(5), Control::Pause);
        world.control(Instant::from_secs(60), Control::Resume);
        let limit = world.worker.policy().poll_interval;
        world.run_until(Instant::from_secs(60).saturating_add(limit));
        assert_eq!(world.polls_since(Instant::from_secs(60)).len(), 1, "seed {seed}");
        let paused = world.polls_since(Instant::from_secs(5)).len();
        assert_eq!(paused, 1, "seed {seed}: S12: polled while paused");
        // A poll in flight is answered within a few seconds; then there is nothing to wake for.
        let quiet = Instant::from_secs(10)..Instant::from_secs(60);
        let woken = world.record.iter().filter(|(at, ..)| quiet.contains(at)).count();
        assert_eq!(woken, 0, "seed {seed}: S14: woken while paused");
    }
}

/// L8.
#[test]
fn l8_an_idle_worker_is_quiet() {
    for seed in 0..SEEDS {
        let mut world = World::new(policy(4), seed, Instant::ZERO);
        world.run_until(Instant::from_secs(120));
        let last_minute = world.polls_since(Instant::from_secs(60)).len();
        assert!(last_minute <= 61, "seed {seed}: {last_minute} polls in a minute, each held for 1 s");
    }
}
