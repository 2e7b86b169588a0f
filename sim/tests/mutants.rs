//! The oracles catch every known mistake, and no doctored record passes.

use downbeat_sim::canary::{self, DOCTORINGS};
use downbeat_sim::mutants;

#[test]
fn every_known_mistake_is_caught() {
    let scenarios = mutants::scenarios().unwrap();
    let survivors: Vec<_> = mutants::hunt_all(&scenarios, |_| {})
        .into_iter()
        .filter(|caught| caught.by.is_none())
        .map(|caught| caught.mutant)
        .collect();
    assert!(survivors.is_empty(), "nobody catches {survivors:?}");
}

#[test]
fn no_doctored_record_passes() {
    for (way, name) in DOCTORINGS.iter().enumerate() {
        assert!(canary::sing(way).is_some(), "{name} passes");
    }
}
