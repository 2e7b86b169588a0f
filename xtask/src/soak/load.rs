//! The workflows of a soak, some of them poisoned.

use serde_json::Value;

use crate::drill::{Bed, Random};
use crate::process::Failure;

pub(super) const HEALTHY: &str = "soak_healthy";
pub(super) const POISON: &str = "soak_poison";

/// So many workflows a second.
pub(super) struct Load {
    rate: u32,
    /// Percent.
    poison: u32,
    random: Random,
    healthy: u64,
    poisoned: u64,
}

impl Load {
    pub(super) const fn new(rate: u32, poison: u32) -> Self {
        Self { rate, poison, random: Random::new(1), healthy: 0, poisoned: 0 }
    }

    /// Healthy workflows started so far.
    pub(super) const fn healthy(&self) -> u64 {
        self.healthy
    }

    /// Starts those of one second.
    pub(super) fn second(&mut self, bed: &Bed) -> Result<(), Failure> {
        for _ in 0..self.rate {
            let is_poison = self.random.between(1, 100) <= u64::from(self.poison);
            let (name, count) =
                if is_poison { (POISON, &mut self.poisoned) } else { (HEALTHY, &mut self.healthy) };
            bed.start(name, 0)?;
            *count += 1;
        }
        Ok(())
    }

    /// What was started, and how it stands.
    pub(super) fn told(&self, bed: &Bed) -> Result<String, Failure> {
        let Self { healthy, poisoned, .. } = self;
        Ok(format!("{healthy} healthy workflows and {poisoned} poisoned; they are {}", workflows(bed)?))
    }
}

/// How many workflows are COMPLETED: no poisoned one ever is.
pub(super) fn completed(bed: &Bed) -> Result<u64, Failure> {
    Ok(workflows(bed)?["COMPLETED"].as_u64().unwrap_or(0))
}

/// Workflows by status.
fn workflows(bed: &Bed) -> Result<Value, Failure> {
    let Some(faults) = &bed.faults else { return Ok(Value::Null) };
    Ok(faults.stats()?["workflows"].take())
}
