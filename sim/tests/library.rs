//! The named scenarios, and those of past failures, pass with every oracle on.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use downbeat_core::machine::Sound;
use downbeat_sim::oracle::s18_replay::Digest;
use downbeat_sim::scenario::{Scenario, read};
use downbeat_sim::trial;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml" || extension == "json"))
        .collect();
    files.sort();
    files
}

fn scenarios(folder: &str) -> Vec<(PathBuf, Scenario)> {
    files(folder)
        .into_iter()
        .map(|path| {
            let scenario = read(&path).unwrap();
            (path, scenario)
        })
        .collect()
}

fn all_pass(folder: &str) {
    for (path, scenario) in scenarios(folder) {
        let trial = trial::run::<Sound>(&scenario, &mut []);
        assert_eq!(trial.violation.map(|broken| broken.to_string()), None, "{}", path.display());
        assert_eq!(trial.outcome.pending, None, "{}", path.display());
    }
}

#[test]
fn the_named_scenarios_pass() {
    assert_eq!(files("scenarios").len(), 17);
    all_pass("scenarios");
}

#[test]
fn the_scenarios_of_the_mistakes_pass_with_the_sound_machine() {
    all_pass("scenarios/mutants");
}

#[test]
fn the_scenarios_of_single_faults_pass() {
    all_pass("scenarios/faults");
}

#[test]
fn faults_that_are_seldom_drawn_have_a_scenario_of_their_own() {
    use downbeat_sim::scenario::FaultKind;
    let scenarios = scenarios("scenarios/faults");
    for kind in [
        FaultKind::Reject,
        FaultKind::Abort,
        FaultKind::Partition,
        FaultKind::ClockBack,
        FaultKind::FinishTwice,
    ] {
        let used = |scenario: &Scenario| scenario.faults.iter().any(|fault| fault.kind == kind);
        assert!(scenarios.iter().any(|(_, scenario)| used(scenario)), "{kind:?}");
    }
}

#[test]
fn the_published_schema_is_the_one_that_is_checked() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario.schema.json");
    assert_eq!(std::fs::read_to_string(file).unwrap(), downbeat_sim::scenario::schema());
}

#[test]
fn past_failures_stay_mended() {
    all_pass("regressions");
}

#[test]
fn each_scenario_says_why_it_is_there_and_is_named_after_its_file() {
    for (path, scenario) in
        ["scenarios", "scenarios/mutants", "scenarios/faults"].into_iter().flat_map(scenarios)
    {
        assert!(scenario.why.ends_with('.'), "{}: `why` is a sentence", path.display());
        assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
    }
}

#[test]
fn a_scenario_gives_the_same_run_twice() {
    for (path, scenario) in
        scenarios("scenarios").iter().filter(|(_, scenario)| scenario.workers[0].count < 50)
    {
        let digest = || {
            let mut digest = Digest::default();
            let _ = trial::run::<Sound>(scenario, &mut [&mut digest]);
            digest.hash
        };
        assert_eq!(digest(), digest(), "{}", path.display());
    }
}
