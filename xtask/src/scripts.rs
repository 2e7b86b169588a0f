//! Every shell script of the repository parses.

use std::path::PathBuf;

use crate::process::{Failure, capture, command, run};

/// Runs `bash -n` over the scripts that git knows, or would know.
pub(crate) fn check() -> Result<(), Failure> {
    let scripts = files(&["*.sh", ".ci/run"])?;
    if scripts.is_empty() {
        return Err(Failure::new("no shell script was found; is git there, and .ci/run?"));
    }
    for script in scripts {
        run(command("bash").arg("-n").arg(script))?;
    }
    Ok(())
}

/// Files that match one of git's patterns, tracked or new, ignored ones left out.
pub(crate) fn files(patterns: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let mut git = command("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "--"]).args(patterns);
    let (ok, text) = capture(&mut git)?;
    if !ok {
        return Err(Failure::new(format!("git could not list the files: {text}")));
    }
    Ok(text.lines().map(PathBuf::from).filter(|path| crate::process::root().join(path).exists()).collect())
}
