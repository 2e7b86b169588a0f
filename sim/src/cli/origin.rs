//! Where a scenario comes from: a seed, or a file.

use std::path::PathBuf;

use super::values::Mistaken;
use crate::mutants::Machines;
use crate::report::quoted;
use crate::scenario::{self, Profile, Scenario};
use crate::swarm;

/// The scenario to run.
#[derive(clap::Args)]
pub(super) struct Origin {
    /// Run the scenario of this seed.
    #[arg(long, value_name = "N", conflicts_with = "scenario", required_unless_present = "scenario")]
    seed: Option<u64>,
    /// Run this scenario file (TOML, or JSON if its name ends in .json).
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// How rough the scenario of the seed is; by default the seed draws one, as in a swarm.
    #[arg(long, value_enum, requires = "seed")]
    profile: Option<Profile>,
    #[command(flatten)]
    mistaken: Mistaken,
}

impl Origin {
    /// The scenario; the error is a message for people.
    pub(super) fn scenario(&self) -> Result<Scenario, String> {
        match &self.scenario {
            Some(file) => scenario::read(file).map_err(|error| error.to_string()),
            None => Ok(scenario::generate(self.seed.unwrap_or_default(), self.profile())),
        }
    }

    fn profile(&self) -> Profile {
        self.profile.unwrap_or_else(|| swarm::profile_of(self.seed.unwrap_or_default()))
    }

    /// What to call it.
    pub(super) fn name(&self) -> String {
        match &self.scenario {
            Some(file) => format!("scenario {}", file.display()),
            None => format!("seed {}", self.seed.unwrap_or_default()),
        }
    }

    /// The machines to run it with.
    pub(super) fn machines(&self) -> Machines {
        self.mistaken.machines()
    }

    /// What its files are called.
    pub(super) fn stem(&self) -> String {
        let stem = self.scenario.as_ref().and_then(|file| file.file_stem());
        stem.map_or_else(
            || self.seed.unwrap_or_default().to_string(),
            |stem| stem.to_string_lossy().into_owned(),
        )
    }

    /// The arguments that name it again.
    pub(super) fn rerun(&self) -> String {
        let mut rerun = match &self.scenario {
            Some(file) => format!("--scenario {}", quoted(&file.display().to_string())),
            None => format!("--seed {} --profile {}", self.seed.unwrap_or_default(), self.profile().name()),
        };
        if let Some(mistake) = self.machines().mistake() {
            rerun += &format!(" --mutant {mistake}");
        }
        rerun
    }
}
