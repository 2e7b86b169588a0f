//! The lean machine does what the whole one does, and refuses what it does not have.

#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use downbeat_core::machine::{
    Action, CallId, EntryId, Input, Instant, LeanWorker, Policy, PolicyError, TokenNews, Worker,
};
use support::noise::{Random, noise};

/// The name of an action, with what makes it another kind of its sort.
fn kind(action: &Action) -> String {
    if let Action::Update { take_next, .. } = action {
        return format!("Update {take_next}");
    }
    if let Action::Discard { why, .. } = action {
        return format!("Discard {why:?}");
    }
    if let Action::Wait { why, .. } = action {
        return format!("Wait {why:?}");
    }
    format!("{action:?}").split(' ').next().unwrap().to_owned()
}

/// Tells both machines the same for a while, and compares all that can be seen of them at every step.
fn compare<const N: usize>(seed: u64, policy: Policy, seen: &mut BTreeSet<String>) {
    let mut random = Random(seed);
    let mut whole = Worker::<N>::new(policy, seed).unwrap();
    let mut lean = LeanWorker::<N>::new(policy, seed).unwrap();
    let mut now = Instant::ZERO;
    let mut calls = vec![CallId::from_bits(5)];
    let mut slots = vec![EntryId::new(0, 0)];
    for turn in 0..300 {
        now = now.saturating_add(Duration::from_micros(random.next(4) * random.next(3_000_000)));
        let mut input = match random.next(40) {
            0 => Input::Token(TokenNews::Missing),
            1 => Input::Token(TokenNews::Fresh { generation: 7 }),
            _ => noise(&mut random, &calls, &slots),
        };
        loop {
            let action = whole.step(now, input);
            assert_eq!(lean.step(now, input), action, "seed {seed}, turn {turn}, {input:?}");
            assert_eq!(lean.snapshot(), whole.snapshot(), "seed {seed}, turn {turn}, {input:?}");
            assert_eq!(lean.deadline(), whole.deadline(), "seed {seed}, turn {turn}, {input:?}");
            assert!(lean.held_tasks().eq(whole.held_tasks()), "seed {seed}, turn {turn}, {input:?}");
            seen.insert(kind(&action));
            if let Action::Run { entry, .. } = action {
                slots.push(entry);
            }
            calls.extend(action.call());
            if matches!(action, Action::Wait { .. } | Action::Stopped) {
                break;
            }
            input = Input::Tick;
        }
    }
}

#[test]
fn both_answer_the_same_inputs_by_the_same_actions() {
    let mut seen = BTreeSet::new();
    for seed in 0..2_000 {
        let policy = Policy {
            concurrency: 1 + u16::try_from(seed % 2).unwrap(),
            max_calls: 1 + u16::try_from(seed / 4 % 3).unwrap(),
            authenticated: seed % 3 == 0,
            take_next: seed % 5 != 0,
            ask_interval: (seed % 4 < 2).then_some(Duration::from_secs(1 + seed % 10)),
            drain_timeout: (seed % 7 != 0).then_some(Duration::from_secs(seed % 11)),
            ..Policy::default()
        };
        compare::<2>(seed, policy, &mut seen);
        compare::<8>(seed, Policy { concurrency: 6, ..policy }, &mut seen);
    }
    let kinds = [
        "Adopt",
        "Ask",
        "Discard Aborted",
        "Discard Ended",
        "Discard Rejected",
        "Discard UnsafeYield",
        "Extend",
        "GiveBack",
        "Ignore",
        "Lapsed",
        "Poll",
        "Recall",
        "Refresh",
        "Run",
        "Stopped",
        "Update false",
        "Update true",
        "Wait Ask",
        "Wait Auth",
        "Wait Busy",
        "Wait Draining",
        "Wait Empty",
        "Wait Failing",
        "Wait Full",
        "Wait InFlight",
        "Wait Lease",
        "Wait Limit",
        "Wait Paused",
        "Wait RetryAfter",
        "Wait Unreachable",
        "Wait Update",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), kinds);
}

#[test]
fn what_a_lean_machine_does_not_have_is_refused() {
    let field = |policy| LeanWorker::<2>::new(policy, 1).map_err(|PolicyError { field, .. }| field);
    assert_eq!(field(Policy::ruby_sdk()).unwrap_err(), "rules");
    assert_eq!(field(Policy { store: true, ..Policy::default() }).unwrap_err(), "store");
    assert!(field(Policy::default()).is_ok());
}
