//! The broken rules that a record tells of.

use downbeat_core::machine::Instant;

use crate::record::{BrokenRule, Line, Record};

/// A broken rule, and when it broke.
pub(super) type Broken<'a> = (Instant, &'a BrokenRule);

/// The broken rules that a record tells of.
pub(super) fn broken_rules(record: &Record) -> Vec<Broken<'_>> {
    record
        .entries
        .iter()
        .filter_map(|entry| match &entry.line {
            Line::Violation { t, broken } => Some((*t, broken)),
            Line::Header(_) | Line::Step(_) | Line::Gap(_) | Line::Start { .. } | Line::Event(_) => None,
        })
        .collect()
}
