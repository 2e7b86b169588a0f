//! What is found in a record besides its steps.

use crate::oracle::Violation;

/// A line that cannot be in this record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Misfit {
    /// The line of the record.
    pub line: usize,
    /// Why not.
    pub what: String,
}

/// What the oracles say of a record.
#[derive(Debug, Default)]
pub struct Judgement {
    /// How many rules were judged.
    pub judges: usize,
    /// Rules that were not judged.
    pub skipped: Vec<&'static str>,
    /// Why they, or those after a time, were not.
    pub reasons: Vec<String>,
    /// The rules that were broken, each where it was first, in the order of the lines.
    pub broken: Vec<Broken>,
}

/// A rule that is broken in a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// The line of the record.
    pub line: usize,
    /// Which rule, and how.
    pub violation: Violation,
}
