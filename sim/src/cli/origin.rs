//! Where a scenario comes from: a seed, or a file.

use std::path::PathBuf;

use crate::scenario::{self, Profile, Scenario};
use crate::swarm;

/// The scenario to run.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Origin {
    /// Run the scenario of this seed.
    #[arg(long, value_name = "N", conflicts_with = "scenario")]
    seed: Option<u64>,
    /// Run this scenario file (TOML, or JSON if its name ends in .json).
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// How rough the scenario of the seed is; by default the seed draws one, as in a swarm.
    #[arg(long, value_enum, requires = "seed")]
    profile: Option<Profile>,
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

    /// The arguments that name it again.
    pub(super) fn again(&self) -> String {
        match &self.scenario {
            Some(file) => format!("--scenario {}", file.display()),
            None => format!("--seed {} --profile {}", self.seed.unwrap_or_default(), self.profile().name()),
        }
    }
}
