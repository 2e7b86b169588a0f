//! Checks that the checks work: each known mistake must be caught by an oracle.

use downbeat_core::machine::mutant::{self, Mutant};

use crate::scenario::{Profile, Scenario, generate, parse};
use crate::trial;

/// One mistaken machine, and who caught it.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The mistake.
    pub mutant: &'static str,
    /// The oracle that saw it first, with what it said; `None`: nobody did.
    pub by: Option<(&'static str, String)>,
    /// The scenario in which it was seen.
    pub scenario: String,
    /// How many scenarios were tried.
    pub tried: usize,
}

/// Scenarios made for mistakes that a generated one seldom shows.
const TARGETED: [(&str, &str); 6] = [
    ("long-outage", include_str!("../scenarios/mutants/long-outage.toml")),
    ("herd", include_str!("../scenarios/mutants/herd.toml")),
    ("unruly-clock", include_str!("../scenarios/mutants/unruly-clock.toml")),
    ("long-pause", include_str!("../scenarios/mutants/long-pause.toml")),
    ("rate-limit", include_str!("../scenarios/mutants/rate-limit.toml")),
    ("late-polls", include_str!("../scenarios/mutants/late-polls.toml")),
];
/// Generated scenarios that are tried after those.
const SEEDS: u64 = 400;

/// The scenarios that each mistake is put through, in order.
///
/// # Errors
/// One of the targeted scenarios is broken.
pub fn scenarios() -> Result<Vec<Scenario>, crate::scenario::LoadError> {
    let mut scenarios = Vec::new();
    for (name, text) in TARGETED {
        scenarios.push(parse(name, text, false)?);
    }
    for seed in 0..SEEDS {
        let profile = if seed % 2 == 0 { Profile::Stormy } else { Profile::Radioactive };
        scenarios.push(generate(seed, profile));
    }
    Ok(scenarios)
}

fn hunt<M: Mutant>(mutant: &'static str, scenarios: &[Scenario]) -> Caught {
    for (scenario, tried) in scenarios.iter().zip(1..) {
        let trial = trial::run::<M>(scenario, &mut []);
        if let Some(violation) = trial.violation {
            let by = Some((violation.oracle, violation.what));
            return Caught { mutant, by, scenario: scenario.name.clone(), tried };
        }
    }
    Caught { mutant, by: None, scenario: String::new(), tried: scenarios.len() }
}

macro_rules! hunts {
    ($($name:ident)*) => {
        /// Every mistake that is known.
        const HUNTS: &[fn(&[Scenario]) -> Caught] =
            &[$(|scenarios| hunt::<mutant::$name>(stringify!($name), scenarios)),*];
    };
}

hunts! {
    CapBeforeJitter ConstantSeed ExponentUnclamped FailureIsEmpty RetryAfterIgnored RetryAfterShortened
    TakeNextIgnoresGate TakeNextIgnoresPause TakeNextIgnoresDrain DrainDropsLateTask GivesUp YieldNeverSent
    YieldRetriedForEver LeaseFromReceipt HeartbeatStopsAtFinish NoReservation StaleGenerationAccepted WallClock
    PausedSpins DeadlineOfBlocked UnauthorizedUsesAttempt TwoRefreshes
}

/// Hunts every mistake, one after another; `seen` is told of each.
pub fn hunt_all(scenarios: &[Scenario], mut seen: impl FnMut(&Caught)) -> Vec<Caught> {
    let mut all = Vec::new();
    for hunt in HUNTS {
        let caught = hunt(scenarios);
        seen(&caught);
        all.push(caught);
    }
    all
}
