//! The commit that a program was built from. build.rs uses this file too.

use std::path::Path;
use std::process::Command;

/// What the simulator is made of; a change here makes it another program than the commit's.
pub(crate) const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "core/Cargo.toml",
    "core/src",
    "sim/Cargo.toml",
    "sim/build.rs",
    "sim/scenarios",
    "sim/src",
];

/// The commit that is checked out in `root`: its first seven digits, and `-dirty` if the sources differ from
/// it. `None`: `root` is not the top of a git repository, or there is no git.
pub(crate) fn checked_out(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    let commit = git(root, &["rev-parse", "--short=7", "HEAD"])?;
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(SOURCES);
    let clean = git(root, &status)?.is_empty();
    Some(if clean { commit } else { format!("{commit}-dirty") })
}

/// What a git command prints, without the white space around it; `None` if it fails.
pub(crate) fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}
