//! The store: results that the server does not take, one durable file each.
//!
//! ```text
//! DIR/lock                      held by the runner that uses the directory
//! DIR/<time>-<pid>-<n>.json     a result to be sent again: the body of POST /tasks, mode 0600
//! DIR/dead/                     what the server rejected, or did not take for 24 hours
//! DIR/damaged/                  files that are no results
//! ```
//!
//! A file is written under another name, synchronised, and renamed: it is whole or not there.

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
    /// A result to be sent.
    Result(Vec<u8>),
    /// It was too old, and is among the dead now.
    Dead,
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
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(wrong(&path))?;
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
        file.write_all(body)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
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
                if unix_millis().saturating_sub(written) > LIFE_MILLIS {
                    self.move_to("dead", name)?;
                    return Ok(Stored::Dead);
                }
                Ok(Stored::Result(body))
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

/// Makes names in a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
