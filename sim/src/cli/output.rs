//! How a command ends, and what it prints.

use std::io::{self, Write};
use std::time::Instant;

use serde::Serialize;

/// Everything ended well.
pub(super) const PASS: u8 = 0;
/// A check failed.
pub(super) const FAIL: u8 = 1;
/// The command line, or a file named on it, cannot be used.
pub(super) const USAGE: u8 = 2;
/// Two runs of one scenario differ.
pub(super) const NONDETERMINISM: u8 = 12;
/// A situation that a swarm should meet was never met.
pub(super) const PROBE: u8 = 13;

#[expect(
    clippy::disallowed_methods,
    reason = "bounds on wall time, and reports of it, need the wall's clock"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Prints JSON, and a line feed.
pub(super) fn print_json(out: &mut dyn Write, what: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, what)?;
    writeln!(out)
}
