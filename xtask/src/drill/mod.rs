//! What the long drills share: a server to work for, a runner to kill, what its commands say, what is left of them.

mod bed;
mod command_log;
mod leftovers;
pub(crate) mod noted;
mod random;
mod runner;

pub(crate) use bed::Bed;
pub(crate) use command_log::{CommandLog, Running};
pub(crate) use leftovers::Leftovers;
pub(crate) use noted::Noted;
pub(crate) use random::Random;
pub(crate) use runner::Runner;

use std::path::{Path, PathBuf};

use crate::process::{Context, Failure, target};

/// An empty directory below the target directory.
pub(crate) fn fresh_directory(name: &str) -> Result<PathBuf, Failure> {
    let directory = target().join(name);
    drop(std::fs::remove_dir_all(&directory));
    make_directory(&directory)?;
    Ok(directory)
}

pub(crate) fn make_directory(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).context(|| format!("making {}", path.display()))
}
