//! The README's first command ends by itself, and well.

use crate::process::{Failure, command, release_binary, run};

/// Runs `downbeat demo`, which exits 0 when all its tasks completed.
pub(crate) fn check() -> Result<(), Failure> {
    run(command(release_binary("downbeat")?).arg("demo"))
}
