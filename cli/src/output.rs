//! What the binary says outside its log: to standard output what was asked for, to standard error what is wrong.

use std::fmt::Display;
use std::io::{self, Write};

use crate::config::Problem;

/// Everything ended well.
pub(crate) const DONE: u8 = 0;
/// Something failed that the settings cannot be blamed for.
pub(crate) const FAILED: u8 = 1;
/// The command line or the configuration cannot be used.
pub(crate) const USAGE: u8 = 2;

/// Writes to standard output. Whoever read it may have gone; that is not our failure.
pub(crate) fn out(text: &dyn Display) {
    let mut stdout = io::stdout().lock();
    drop(write!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Writes one line to standard error.
pub(crate) fn error(text: &dyn Display) {
    drop(writeln!(io::stderr().lock(), "downbeat: {text}"));
}

/// Tells all that is wrong with the settings, and gives the exit code for it.
pub(crate) fn problems(problems: &[Problem]) -> u8 {
    for problem in problems {
        error(problem);
    }
    USAGE
}
