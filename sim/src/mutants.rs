//! Checks that the checks work: each known mistake must be caught by an oracle.

use std::fmt;

use downbeat_core::machine::{Sound, mutant};

use crate::event::Watcher;
use crate::scenario::{Profile, Scenario, generate, nearest, parse};
use crate::trial::{self, Trial};
use crate::world::DriverMistake;

/// The machines that a run is made with: sound ones, or ones that all make the same mistake.
#[derive(Clone, Copy)]
pub struct Machines {
    name: &'static str,
    run: fn(&Scenario, &mut [&mut dyn Watcher]) -> Trial,
}

impl Machines {
    /// The machines as they should be.
    pub const SOUND: Self = Self { name: "", run: trial::run::<Sound> };

    /// Returns their mistake, or `None` if they are sound.
    #[must_use]
    pub fn mistake(self) -> Option<&'static str> {
        (!self.name.is_empty()).then_some(self.name)
    }

    /// Runs a scenario with them under all oracles, as [`trial::run`] does.
    pub fn run(self, scenario: &Scenario, watchers: &mut [&mut dyn Watcher]) -> Trial {
        (self.run)(scenario, watchers)
    }

    /// Returns those that make the mistake of this name: `GivesUp`, or `gives-up`.
    ///
    /// # Errors
    /// There is none of that name; the message lists those that there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        // The names that two had before.
        let now = match plain(name).as_str() {
            "oldrefusalcounts" => plain("OldUnauthorizedCounts"),
            "sharedrefusalunheard" => plain("SharedUnauthorizedUnheard"),
            other => other.to_owned(),
        };
        let found = MISTAKEN.iter().find(|machines| plain(machines.name) == now);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = MISTAKEN.iter().map(|machines| machines.name).collect();
            let near = nearest(name, names.iter().copied());
            let near = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
            format!("there is no such mistake; {near}there are {}", names.join(", "))
        })
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mistake().unwrap_or("Sound"))
    }
}

/// One mistaken machine, and who caught it.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The mistake.
    pub mutant: &'static str,
    /// The oracle that saw it first, with what it said, or `None` if nobody did.
    pub by: Option<(&'static str, String)>,
    /// The scenario in which it was seen.
    pub scenario: String,
    /// How many scenarios were tried.
    pub tried: usize,
}

/// Scenarios made for mistakes that a generated one seldom shows.
const TARGETED: [(&str, &str); 13] = [
    ("long-outage", include_str!("../scenarios/mutants/long-outage.toml")),
    ("herd", include_str!("../scenarios/mutants/herd.toml")),
    ("unruly-clock", include_str!("../scenarios/mutants/unruly-clock.toml")),
    ("long-pause", include_str!("../scenarios/mutants/long-pause.toml")),
    ("rate-limit", include_str!("../scenarios/mutants/rate-limit.toml")),
    ("late-polls", include_str!("../scenarios/mutants/late-polls.toml")),
    ("slow-answers", include_str!("../scenarios/mutants/slow-answers.toml")),
    ("lapsing-leases", include_str!("../scenarios/mutants/lapsing-leases.toml")),
    ("late-give-backs", include_str!("../scenarios/mutants/late-give-backs.toml")),
    ("ended-workflows", include_str!("../scenarios/mutants/ended-workflows.toml")),
    ("refused-results", include_str!("../scenarios/mutants/refused-results.toml")),
    ("crash-with-long-leases", include_str!("../scenarios/crash-with-long-leases.toml")),
    ("killed-processes", include_str!("../scenarios/mutants/killed-processes.toml")),
];
/// Scenarios of processes with a hub, made for the mistakes of hubs.
const OF_HUBS: [(&str, &str); 1] =
    [("crowded-process", include_str!("../scenarios/mutants/crowded-process.toml"))];
/// Generated scenarios that are tried after those.
const SEEDS: u64 = 400;
/// Generated scenarios of processes, which are tried last, and first for the mistakes of hubs.
const SEEDS_OF_HUBS: u64 = 200;

/// Returns the scenarios that each mistake is put through, in order.
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
    for (name, text) in OF_HUBS {
        scenarios.push(parse(name, text, false)?);
    }
    scenarios.extend((0..SEEDS_OF_HUBS).map(|seed| generate(seed, Profile::Processes)));
    Ok(scenarios)
}

fn hunt(machines: Machines, scenarios: &[Scenario]) -> Caught {
    let mutant = machines.name;
    let of_hubs = OF_HUB_MISTAKES.contains(&mutant);
    let fit = scenarios.iter().filter(|scenario| !of_hubs || !scenario.processes.is_empty());
    for (scenario, tried) in fit.zip(1..) {
        let trial = machines.run(scenario, &mut []);
        if let Some(violation) = trial.violation {
            let by = Some((violation.oracle, violation.what));
            return Caught { mutant, by, scenario: scenario.name.clone(), tried };
        }
    }
    Caught { mutant, by: None, scenario: String::new(), tried: scenarios.len() }
}

macro_rules! mistaken {
    ($($name:ident)*; $($of_hubs:ident)*; $($of_drivers:ident)*) => {
        /// Every mistake that is known.
        const MISTAKEN: &[Machines] = &[
            $(Machines { name: stringify!($name), run: trial::run::<mutant::$name> },)*
            $(Machines { name: stringify!($of_hubs), run: trial::run::<mutant::$of_hubs> },)*
            $(Machines {
                name: stringify!($of_drivers),
                run: |scenario, watchers| {
                    trial::run_mistaken(scenario, watchers, DriverMistake::$of_drivers)
                },
            },)*
        ];
        /// Those that only a process of many workers can make.
        const OF_HUB_MISTAKES: &[&str] = &[$(stringify!($of_hubs)),*];
    };
}

mistaken! {
    CapBeforeJitter ConstantSeed ExponentUnclamped FailureIsEmpty RetryAfterIgnored RetryAfterShortened
    TakeNextIgnoresGate TakeNextIgnoresPause TakeNextIgnoresDrain DrainDropsLateTask GivesUp YieldNeverSent
    YieldRetriedForEver LeaseFromReceipt HeartbeatStopsAtFinish NoReservation StaleGenerationAccepted WallClock
    PausedSpins DeadlineOfBlocked UnauthorizedUsesAttempt TwoRefreshes StateOutside SlowShutsLink LapseRunsTwice
    ExtendsLapsed GivesBackLate LeasesBeforeResults ReportsCancelled RejectedIsDropped PoisonForEver PoisonTooSoon
    ForbiddenRenews TakeNextWhenSlow WritesTogether;
    OldUnauthorizedCounts BudgetIgnored PollsTakeAllLanes UnfairTurns PollsBeforeDebts LinkNotShared SharedUnauthorizedUnheard;
    TellsBeforeWritten ForgetsWhenSent YieldUnnoted LeavesLeases
}

/// Hunts every mistake, one after another; `seen` is told of each.
pub fn hunt_all(scenarios: &[Scenario], mut seen: impl FnMut(&Caught)) -> Vec<Caught> {
    let mut all = Vec::new();
    for machines in MISTAKEN {
        let caught = hunt(*machines, scenarios);
        seen(&caught);
        all.push(caught);
    }
    all
}
