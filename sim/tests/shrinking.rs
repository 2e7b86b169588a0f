//! Shrinking keeps what breaks the rule, and nothing else.

use downbeat_sim::scenario::{FaultKind, Profile, Scenario, generate};
use downbeat_sim::shrink::shrink;

/// A rule that an abort and a task together break.
fn broken(scenario: &Scenario) -> Option<&'static str> {
    let aborts = scenario.faults.iter().any(|fault| fault.kind == FaultKind::Abort);
    (aborts && !scenario.tasks.is_empty()).then_some("made-up")
}

#[test]
fn a_scenario_shrinks_to_what_breaks_the_rule() {
    let scenario = (0..200)
        .map(|seed| generate(seed, Profile::Radioactive))
        .find(|scenario| scenario.faults.len() > 20 && broken(scenario).is_some())
        .unwrap();
    let shrunk = shrink(&scenario, &broken, &|runs| runs < 500).unwrap();
    assert_eq!(shrunk.oracle, "made-up");
    assert_eq!(shrunk.scenario.faults.len(), 1);
    assert_eq!((shrunk.scenario.tasks.len(), shrunk.scenario.workers.len()), (1, 1));
    assert_eq!(shrunk.scenario.workers[0].count, 1);
    assert!(shrunk.scenario.problems().is_empty());
}

#[test]
fn a_sound_scenario_does_not_shrink() {
    assert!(shrink(&generate(1, Profile::Calm), &|_| None, &|_| true).is_none());
}
