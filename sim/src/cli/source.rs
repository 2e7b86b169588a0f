//! Where a run to look at comes from: a scenario, a seed, or a record.

use std::path::PathBuf;

use super::values::Mistaken;
use crate::record::{self, Record};
use crate::scenario::{self, Profile};
use crate::swarm;

/// The run to look at.
#[derive(clap::Args)]
pub(super) struct Source {
    /// Run this scenario file (TOML, or JSON if its name ends in .json).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "record"])]
    scenario: Option<PathBuf>,
    /// Run the scenario of this seed.
    #[arg(long, value_name = "N", conflicts_with = "record", required_unless_present_any = ["scenario", "record"])]
    seed: Option<u64>,
    /// How rough the scenario of the seed is; by default the seed draws one, as in a swarm.
    #[arg(long, value_enum, requires = "seed")]
    profile: Option<Profile>,
    /// Read this record, of the simulator or of `downbeat run --record`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    mistaken: Mistaken,
}

impl Source {
    /// The record of that run; the error is a message for people.
    pub(super) fn record(&self) -> Result<Record, String> {
        if let Some(file) = &self.record {
            if let Some(mistake) = self.mistaken.machines().mistake() {
                return Err(format!(
                    "--mutant {mistake} is for a run to make, and a record is of one that was made"
                ));
            }
            return record::read(file).map_err(|error| error.to_string());
        }
        let scenario = match &self.scenario {
            Some(file) => scenario::read(file).map_err(|error| error.to_string())?,
            None => {
                let seed = self.seed.unwrap_or_default();
                scenario::generate(seed, self.profile.unwrap_or_else(|| swarm::profile_of(seed)))
            }
        };
        Ok(Record::from_run_with(self.mistaken.machines(), &scenario))
    }
}
