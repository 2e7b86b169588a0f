//! The judges of a run. Each sees the events alone, recomputes what it needs, and says where a rule was broken.

use std::fmt;

use downbeat_core::machine::{Instant, Policy};

use crate::event::Event;
use crate::scenario::Scenario;

/// What every oracle may know before the run: the scenario and each worker's policy.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Each worker's policy, by number over all groups.
    pub policies: &'a [Policy],
    /// Each worker's table capacity.
    pub capacities: &'a [u16],
}

/// One rule of docs/invariants.md.
pub trait Oracle {
    /// The rule's number and name, such as `S8 poll-gate`.
    fn name(&self) -> &'static str;

    /// Sees one event.
    ///
    /// # Errors
    /// The rule is broken here.
    fn on(&mut self, event: &Event) -> Result<(), Violation>;

    /// The run is over, at this time.
    ///
    /// # Errors
    /// The rule is broken by what has not happened.
    fn finish(&mut self, at: Instant) -> Result<(), Violation> {
        let _ = at;
        Ok(())
    }
}

/// A broken rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The rule's number and name.
    pub oracle: &'static str,
    /// When, in true time.
    pub at: Instant,
    /// Which worker, if one.
    pub worker: Option<u32>,
    /// What happened, in a sentence with figures.
    pub what: String,
}

impl Violation {
    /// Whether a liveness rule is broken (exit code 11) rather than a safety rule (10).
    #[must_use]
    pub fn is_liveness(&self) -> bool {
        self.oracle.starts_with('L')
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.at.as_millis() / 1_000, self.at.as_millis() % 1_000);
        write!(f, "{} at {secs}.{millis:03} s", self.oracle)?;
        if let Some(worker) = self.worker {
            write!(f, " worker {worker}")?;
        }
        write!(f, ": {}", self.what)
    }
}
