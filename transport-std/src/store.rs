//! The store: results that the server does not take, one durable file each.
//!
//! ```text
//! DIR/lock                      held by the runner that uses the directory
//! DIR/<time>-<pid>-<n>.json     a result to be sent again: the body of POST /tasks, mode 0600
//! DIR/dead/                     what the server rejected, or did not take within 24 hours
//! DIR/damaged/                  files that are no results
//! ```
//!
//! A file is written under another name (`.new`), synchronised, and renamed: it is whole or not there. What a crash or
//! a full disk leaves under the other name is removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use downbeat_core::wire;

use crate::clock::unix_millis;
use crate::error::Error;

/// How long the server is asked to take a result before it counts as dead.
const LIFE_MILLIS: i64 = 24 * 3_600 * 1_000;
/// Bytes of the largest file that is read: a result is at most 10 MiB and its log.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// A directory of results.
pub(crate) struct Store {
    directory: PathBuf,
    serial: AtomicU64,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

/// What a stored file is.
pub(crate) enum Stored {
    /// A result to be sent. `last`: it is so old that it counts as dead if the server does not take it now.
    Result { body: Vec<u8>, last: bool },
    /// It was no result, and is set aside.
    Damaged,
    /// It is not there any more.
    Gone,
}

impl Store {
    /// Opens the directory, and makes it where it is not there.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Store { path, cause }
        };
        for path in [directory.to_owned(), directory.join("dead"), directory.join("damaged")] {
            let is_new = !path.is_dir();
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(wrong(&path))?;
            // It is there after a power cut only if its own name is durable.
            if is_new {
                let whole = path.canonicalize().map_err(wrong(&path))?;
                whole.parent().map_or(Ok(()), sync).map_err(wrong(&path))?;
            }
        }
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&path).map_err(wrong(&path))?;
        lock.try_lock().map_err(|cause| {
            let cause = match cause {
                fs::TryLockError::WouldBlock => io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another runner uses it; give each one its own",
                ),
                fs::TryLockError::Error(cause) => cause,
            };
            Error::Store { path, cause }
        })?;
        for below in [directory.to_owned(), directory.join("dead")] {
            remove_unfinished(&below).map_err(wrong(&below))?;
        }
        Ok(Self { directory: directory.to_owned(), serial: AtomicU64::new(0), _lock: lock })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a result, and answers when it is durable.
    pub(crate) fn keep(&self, body: &[u8]) -> io::Result<()> {
        self.write(&self.directory, body).map(drop)
    }

    /// Writes a result among the dead, and says where.
    pub(crate) fn bury(&self, body: &[u8]) -> io::Result<PathBuf> {
        self.write(&self.directory.join("dead"), body)
    }

    fn write(&self, directory: &Path, body: &[u8]) -> io::Result<PathBuf> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:013}-{}-{serial}", unix_millis(), std::process::id());
        let path = directory.join(format!("{name}.json"));
        let unfinished = directory.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let whole = file.write_all(body).and_then(|()| file.sync_all());
        if let Err(cause) = whole.and_then(|()| fs::rename(&unfinished, &path)) {
            // The disk is full, it may be: each try would leave a piece of a result behind.
            drop(fs::remove_file(&unfinished));
            return Err(cause);
        }
        sync(directory)?;
        Ok(path)
    }

    /// The names of the files that are to be sent, oldest first.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            names.extend(name.to_str().filter(|name| name.ends_with(".json")).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a file, and moves it away where it is not to be sent.
    pub(crate) fn read(&self, name: &str) -> io::Result<Stored> {
        let path = self.directory.join(name);
        let body = match fs::metadata(&path) {
            Ok(facts) if facts.len() > FILE_MAX => Vec::new(),
            Ok(_) => fs::read(&path)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Stored::Gone),
            Err(cause) => return Err(cause),
        };
        let written = name.split('-').next().and_then(|millis| millis.parse::<i64>().ok());
        let has = |member| matches!(wire::find(&body, member), Ok(Some(value)) if value.text().is_some());
        match written {
            Some(written) if has("taskId") && has("workflowInstanceId") && has("status") => {
                // Not dead yet, however old: the runner may have been away, and not the server.
                let last = unix_millis().saturating_sub(written) > LIFE_MILLIS;
                Ok(Stored::Result { body, last })
            }
            Some(_) | None => {
                self.move_to("damaged", name)?;
                Ok(Stored::Damaged)
            }
        }
    }

    /// Removes what the server has taken.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    /// Moves a file into one of the directories below.
    pub(crate) fn move_to(&self, below: &str, name: &str) -> io::Result<()> {
        let directory = self.directory.join(below);
        fs::rename(self.directory.join(name), directory.join(name))?;
        sync(&directory)
    }
}

/// Removes what an earlier runner did not come to rename. Only who holds the lock may.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "new") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes names in a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
