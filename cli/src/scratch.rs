//! The directory of the files that `DOWNBEAT_RESULT` names.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{debug, info};

use crate::exec;

const PREFIX: &str = "downbeat-";
/// A file in each such directory, locked for as long as its process lives.
const OWNER: &str = "owner.lock";
/// Its name until it is locked.
const OWNER_NEW: &str = "owner.new";

/// The directory of a run, readable only by this user; it ends with the run.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    next: AtomicU64,
    /// Its lock ends with the process, however that ends.
    _owner: File,
}

impl Scratch {
    /// Makes one in the directory for temporary files.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn new() -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // Under its name it is never seen unlocked while its process lives.
        let new = dir.path().join(OWNER_NEW);
        let owner = File::create_new(&new)?;
        // Where the file system has no locks nobody can tell whether the owner lives, and nobody is to try.
        if owner.try_lock().is_ok() {
            fs::rename(new, dir.path().join(OWNER))?;
        }
        Ok(Self { dir, next: AtomicU64::new(0), _owner: owner })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Removes the directory: threads that the runner did not wait for may own it until the process is gone.
    pub(crate) fn remove(&self) {
        drop(fs::remove_dir_all(self.dir.path()));
    }

    /// A name that no file has.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// Whether this looks like the directory of a run: by its name, and by the file in it.
pub(crate) fn is_one(path: &Path) -> bool {
    let is_named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    let is_file = |name: &str| fs::symlink_metadata(path.join(name)).is_ok_and(|meta| meta.is_file());
    // Without locks the file keeps its first name.
    is_named && (is_file(OWNER) || is_file(OWNER_NEW))
}

/// Removes what processes of this user that were killed left in the directory for temporary files.
pub(crate) fn clean() {
    let removed = clean_in(&std::env::temp_dir());
    if removed > 0 {
        info!(removed, "directories of runs that were killed are removed");
    }
}

/// How many were removed. Links are not followed; what cannot be looked at or removed stays.
fn clean_in(parent: &Path) -> u64 {
    let user = rustix::process::geteuid().as_raw();
    let mut removed = 0;
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == user);
        if !is_ours || !is_left(&entry.path().join(OWNER)) {
            continue;
        }
        // Processes that have left the groups of its commands are known by nothing else.
        exec::end_below(&entry.path());
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => removed += 1,
            Err(error) => debug!(directory = %entry.path().display(), %error, "it could not be removed"),
        }
    }
    removed
}

/// Whether this is the lock of a process that is gone.
fn is_left(lock: &Path) -> bool {
    fs::symlink_metadata(lock).is_ok_and(|meta| meta.is_file())
        && File::open(lock).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directory_of_another_name_or_without_our_file_is_that_of_a_run() {
        let parent = tempfile::tempdir().unwrap();
        for (name, file, is) in [
            ("downbeat-a", "owner.lock", true),
            ("downbeat-b", "owner.new", true),
            ("downbeat-c", "17", false),
            ("other", "owner.lock", false),
        ] {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join(file), "").unwrap();
            assert_eq!(is_one(&dir), is, "{name}");
        }
        assert!(!is_one(Path::new("/")) && !is_one(&parent.path().join("downbeat-none")));
    }

    #[test]
    fn what_the_dead_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, lock: bool| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("17"), "{}").unwrap();
            if lock {
                fs::write(dir.join(OWNER), "").unwrap();
            }
            dir
        };
        let (dead, other, strange) =
            (make("downbeat-dead", true), make("other", true), make("downbeat-x", false));
        let alive = make("downbeat-alive", true);
        let owner = File::open(alive.join(OWNER)).unwrap();
        owner.try_lock().unwrap();
        let link = parent.path().join("downbeat-link");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let linked = make("downbeat-linked", false);
        std::os::unix::fs::symlink(other.join(OWNER), linked.join(OWNER)).unwrap();
        assert_eq!(clean_in(parent.path()), 1);
        assert!(!dead.exists());
        for stays in [&other, &strange, &alive, &link, &linked] {
            assert!(stays.exists(), "{}", stays.display());
        }
        drop(owner);
        assert_eq!((clean_in(parent.path()), alive.exists()), (1, false));
        assert_eq!(clean_in(&parent.path().join("nowhere")), 0);
    }

    #[test]
    fn a_directory_in_use_has_an_owner() {
        let scratch = Scratch::new().unwrap();
        assert!(!is_left(&scratch.path().join(OWNER)));
        assert!(is_one(scratch.path()));
        scratch.remove();
        assert!(!scratch.path().exists());
    }
}
