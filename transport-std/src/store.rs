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
//!
//! Each of the three parts has a bound in bytes and in files. At it a part takes nothing more, and nothing is dropped:
//! what is not kept here stays where it was.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use downbeat_core::wire;

use crate::clock::unix_millis;
use crate::context::lock;
use crate::error::Error;

/// How long the server is asked to take a result before it counts as dead.
const LIFE_MILLIS: i64 = 24 * 3_600 * 1_000;
/// Bytes of the largest file that is read: a result is at most 10 MiB and its log.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// A directory of results.
pub(crate) struct Store {
    directory: PathBuf,
    bounds: Bounds,
    room: Mutex<[Room; 3]>,
    serial: AtomicU64,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

/// The most that each part of a store holds; one file is held, however large.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 1 << 30, files: 10_000 }
    }
}

/// What a part holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Used {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// What a part holds, and what is being written into it: that is in no directory yet.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    used: Used,
    coming: Used,
}

impl Used {
    const fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn take(&mut self, bytes: u64) {
        self.files = self.files.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The parts of a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Waiting,
    Dead,
    Damaged,
}

impl Part {
    const ALL: [Self; 3] = [Self::Waiting, Self::Dead, Self::Damaged];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Damaged => "damaged",
        }
    }

    fn of(self, directory: &Path) -> PathBuf {
        match self {
            Self::Waiting => directory.to_owned(),
            Self::Dead | Self::Damaged => directory.join(self.name()),
        }
    }
}

/// What a stored file is.
pub(crate) enum Stored {
    /// A result to be sent. `last`: it is so old that it counts as dead if the server does not take it now.
    Result { body: Vec<u8>, last: bool },
    /// It is no result. `aside`: it was moved out of the way; else there was no room for it.
    Damaged { aside: bool },
    /// It is not there any more.
    Gone,
}

impl Store {
    /// Opens the directory, and makes it where it is not there.
    pub(crate) fn open(directory: &Path, bounds: Bounds) -> Result<Self, Error> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Store { path, cause }
        };
        for path in Part::ALL.map(|part| part.of(directory)) {
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
        let held = options.open(&path).map_err(wrong(&path))?;
        held.try_lock().map_err(|cause| {
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
        let mut room = [Room::default(); 3];
        for (part, room) in Part::ALL.into_iter().zip(&mut room) {
            let path = part.of(directory);
            room.used = measured(&path).map_err(wrong(&path))?;
        }
        let (directory, room) = (directory.to_owned(), Mutex::new(room));
        Ok(Self { directory, bounds, room, serial: AtomicU64::new(0), _lock: held })
    }

    /// Shows what each part holds, to one at a time: whoever looks later sees what is newer.
    pub(crate) fn look<T>(&self, mut look: impl FnMut(Part, Used) -> T) -> [T; 3] {
        let [waiting, dead, damaged] = &*lock(&self.room);
        [look(Part::Waiting, waiting.used), look(Part::Dead, dead.used), look(Part::Damaged, damaged.used)]
    }

    /// Writes a result, and answers when it is durable. `beyond`: also beyond the bound.
    pub(crate) fn keep(&self, body: &[u8], beyond: bool) -> io::Result<()> {
        self.write(Part::Waiting, body, beyond).map(drop)
    }

    /// Writes a result among the dead, where there is no room among those that wait, and says where.
    pub(crate) fn bury(&self, body: &[u8]) -> io::Result<PathBuf> {
        self.write(Part::Dead, body, false).or_else(|_| self.write(Part::Waiting, body, false))
    }

    /// Words for an error of this store.
    pub(crate) fn said(&self, cause: &io::Error) -> String {
        format!("{}: {cause}", self.directory.display())
    }

    /// Takes room; false: there is none (`beyond`: then more is taken than there is). Where there seems to be none the directory is looked at: somebody may have
    /// tidied it up.
    fn reserve(&self, part: Part, bytes: u64, beyond: bool) -> bool {
        let fits = |Room { used, coming }: &Room| {
            let files = used.files + coming.files;
            let all = used.bytes.saturating_add(coming.bytes).saturating_add(bytes);
            files == 0 || (files < self.bounds.files && all <= self.bounds.bytes)
        };
        self.of(part, |room| {
            if !fits(room)
                && let Ok(now) = measured(&part.of(&self.directory))
            {
                room.used = now;
            }
            let takes = fits(room) || beyond;
            if takes {
                room.coming.add(bytes);
            }
            takes
        })
    }

    /// What was reserved is there now, or is not to be.
    fn arrive(&self, part: Part, bytes: u64, is_there: bool) {
        self.of(part, |room| {
            room.coming.take(bytes);
            if is_there {
                room.used.add(bytes);
            }
        });
    }

    /// Looks at a part's room, or changes it.
    fn of<T>(&self, part: Part, change: impl FnOnce(&mut Room) -> T) -> T {
        let [waiting, dead, damaged] = &mut *lock(&self.room);
        change(match part {
            Part::Waiting => waiting,
            Part::Dead => dead,
            Part::Damaged => damaged,
        })
    }

    fn full(&self, part: Part) -> io::Error {
        let Bounds { bytes, files } = self.bounds;
        let what = part.name();
        let text = format!(
            "what is {what} has reached its bound of {bytes} bytes or {files} files (`store_max`, `store_max_files`)"
        );
        io::Error::new(io::ErrorKind::QuotaExceeded, text)
    }

    fn write(&self, part: Part, body: &[u8], beyond: bool) -> io::Result<PathBuf> {
        let bytes = length(body);
        if !self.reserve(part, bytes, beyond) {
            return Err(self.full(part));
        }
        let written = self.write_file(&part.of(&self.directory), body);
        self.arrive(part, bytes, written.is_ok());
        written
    }

    fn write_file(&self, directory: &Path, body: &[u8]) -> io::Result<PathBuf> {
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
                let aside = self.move_to(Part::Damaged, name, length(&body))?;
                Ok(Stored::Damaged { aside })
            }
        }
    }

    /// Removes what the server has taken.
    pub(crate) fn remove(&self, name: &str, body: &[u8]) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))?;
        self.of(Part::Waiting, |room| room.used.take(length(body)));
        Ok(())
    }

    /// Moves a result among the dead; false: there is no room, and it stays.
    pub(crate) fn retire(&self, name: &str, body: &[u8]) -> io::Result<bool> {
        self.move_to(Part::Dead, name, length(body))
    }

    fn move_to(&self, part: Part, name: &str, bytes: u64) -> io::Result<bool> {
        if !self.reserve(part, bytes, false) {
            return Ok(false);
        }
        let directory = part.of(&self.directory);
        let moved = fs::rename(self.directory.join(name), directory.join(name));
        self.arrive(part, bytes, moved.is_ok());
        moved?;
        self.of(Part::Waiting, |room| room.used.take(bytes));
        sync(&directory)?;
        Ok(true)
    }
}

fn length(body: &[u8]) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

/// What a directory holds now.
fn measured(directory: &Path) -> io::Result<Used> {
    let mut used = Used::default();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| name.ends_with(".json")) {
            continue;
        }
        match entry.metadata() {
            Ok(facts) => {
                used.files += 1;
                used.bytes = used.bytes.saturating_add(facts.len());
            }
            // It was sent, or taken away, meanwhile.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(used)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_nothing_beyond_its_bound_and_looks_again_for_room() {
        let directory = std::env::temp_dir().join(format!("downbeat-bounds-{}", std::process::id()));
        let store = Store::open(&directory, Bounds { bytes: 10, files: 2 }).unwrap();
        let used = || store.look(|_, used| (used.files, used.bytes));
        assert_eq!(used(), [(0, 0); 3]);
        // One is taken, however large.
        store.keep(&[b'x'; 11], false).unwrap();
        let error = store.keep(b"x", false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert!(
            error.to_string().contains("what is waiting has reached its bound of 10 bytes or 2 files"),
            "{error}"
        );
        store.keep(b"x", true).unwrap();
        assert_eq!(used(), [(2, 12), (0, 0), (0, 0)]);
        let first = store.bury(b"12345").unwrap();
        store.bury(b"12345").unwrap();
        assert!(first.starts_with(directory.join("dead")));
        assert_eq!(store.bury(b"x").unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        let name = store.names().unwrap().remove(0);
        assert!(!store.retire(&name, b"x").unwrap());
        fs::remove_file(first).unwrap();
        assert!(store.retire(&name, &[b'x'; 5]).unwrap());
        drop(store);
        let store = Store::open(&directory, Bounds::default()).unwrap();
        assert_eq!(store.look(|_, used| used.files), [1, 2, 0]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
