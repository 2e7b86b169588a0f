//! What comes of a broken rule.

use std::fmt;

use downbeat_core::machine::Instant;

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
    /// Returns whether a liveness rule is broken (exit code 11) rather than a safety rule (10).
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
