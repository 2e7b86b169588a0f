//! The parts of a store, and how much each of them holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::place;
use crate::context::lock;

/// The most that each part of a store holds; one result is held, however large.
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

impl Bounds {
    /// Whether there is room for so many bytes more.
    pub(super) const fn admit(&self, used: Used, bytes: u64) -> bool {
        used.files == 0 || (used.files < self.files && used.bytes.saturating_add(bytes) <= self.bytes)
    }

    /// Why there is none.
    pub(super) fn full(&self, part: Part) -> io::Error {
        let Self { bytes, files } = self;
        let what = part.name();
        let text = format!(
            "what is {what} has reached its bound of {bytes} bytes or {files} results (`store_max`, `store_max_files`)"
        );
        io::Error::new(io::ErrorKind::QuotaExceeded, text)
    }
}

/// What a part holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Used {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

impl Used {
    pub(super) const fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) const fn take(&mut self, bytes: u64) {
        self.files = self.files.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), files: self.files.saturating_add(other.files) }
    }
}

/// The parts of a store.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// Results that are to be sent.
    Waiting,
    /// Results that the server does not take.
    Dead,
    /// What is no result, or has changed since it was written.
    Damaged,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Waiting, Self::Dead, Self::Damaged];

    /// The part's name, in lower case: `waiting`, `dead` or `damaged`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Damaged => "damaged",
        }
    }

    /// Where its files are.
    pub(super) fn of(self, directory: &Path) -> PathBuf {
        match self {
            Self::Waiting => directory.to_owned(),
            Self::Dead | Self::Damaged => directory.join(self.name()),
        }
    }

    /// Whether a file counts for this part.
    pub(super) fn has(self, name: &str) -> bool {
        match self {
            Self::Waiting | Self::Dead => name.ends_with(".json"),
            Self::Damaged => !name.ends_with(".why"),
        }
    }
}

/// What a part's files take, and what is being written: that is in no directory yet.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    used: Used,
    coming: Used,
}

/// The files of a store. Results in the journal are not among them.
pub(super) struct Files {
    directory: PathBuf,
    bounds: Bounds,
    room: Mutex<[Room; 3]>,
}

impl Files {
    pub(super) fn measure(directory: &Path, bounds: Bounds) -> io::Result<Self> {
        let mut room = [Room::default(); 3];
        for (part, room) in Part::ALL.into_iter().zip(&mut room) {
            room.used = measured(part, &part.of(directory))?;
        }
        Ok(Self { directory: directory.to_owned(), bounds, room: Mutex::new(room) })
    }

    pub(super) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(super) fn used(&self, part: Part) -> Used {
        self.of(part, |room| room.used)
    }

    /// Takes room; false: there is none. Where there seems to be none the directory is looked at: somebody may have
    /// tidied it up.
    pub(super) fn reserve(&self, part: Part, bytes: u64) -> bool {
        self.of(part, |room| {
            if !self.bounds.admit(room.used.and(room.coming), bytes)
                && let Ok(now) = measured(part, &part.of(&self.directory))
            {
                room.used = now;
            }
            let takes = self.bounds.admit(room.used.and(room.coming), bytes);
            if takes {
                room.coming.add(bytes);
            }
            takes
        })
    }

    /// Takes room, whether there is some or not.
    pub(super) fn expect(&self, part: Part, bytes: u64) {
        self.of(part, |room| room.coming.add(bytes));
    }

    /// What was reserved is there now, or is not to be.
    pub(super) fn arrive(&self, part: Part, bytes: u64, is_there: bool) {
        self.of(part, |room| {
            room.coming.take(bytes);
            if is_there {
                room.used.add(bytes);
            }
        });
    }

    /// A file is not there any more.
    pub(super) fn leave(&self, part: Part, bytes: u64) {
        self.of(part, |room| room.used.take(bytes));
    }

    fn of<T>(&self, part: Part, change: impl FnOnce(&mut Room) -> T) -> T {
        let [waiting, dead, damaged] = &mut *lock(&self.room);
        change(match part {
            Part::Waiting => waiting,
            Part::Dead => dead,
            Part::Damaged => damaged,
        })
    }
}

/// What the files of a part take now.
fn measured(part: Part, directory: &Path) -> io::Result<Used> {
    let mut used = Used::default();
    for name in place::names(directory)? {
        if !part.has(&name) {
            continue;
        }
        match fs::symlink_metadata(directory.join(name)) {
            Ok(facts) => used.add(facts.len()),
            // It was sent, or taken away, meanwhile.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(used)
}
