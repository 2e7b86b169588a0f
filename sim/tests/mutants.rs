//! The oracles catch every known mistake, and no tampered record passes.

use downbeat_sim::mutants;
use downbeat_sim::tampered::{self, TAMPERINGS};

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
fn no_tampered_record_passes() {
    for (way, name) in TAMPERINGS.iter().enumerate() {
        assert!(tampered::caught(way).is_some(), "{name} passes");
    }
}
