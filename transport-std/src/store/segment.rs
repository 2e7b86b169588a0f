//! A file of the journal: preallocated in steps, written at its end, read anywhere.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{self, is_full};
use super::record;
use super::record::BODY_MAX;

/// The first bytes of a segment, before the version.
const MAGIC: &[u8; 8] = b"downbeat";
/// The version that is written, and the newest that is read.
pub(super) const VERSION: u32 = 2;
/// Bytes before the first record.
pub(super) const PREAMBLE: u64 = 12;
/// From this length on the next record begins a new segment.
pub(super) const LENGTH: u64 = 16 << 20;
/// Bytes of the longest file that can be a segment: one more record may begin just before [`LENGTH`].
pub(super) const LENGTH_MAX: usize = (16 << 20) + BODY_MAX + (1 << 20);
/// Bytes that are preallocated at first, and later at a time.
const STEPS: (u64, u64) = (256 << 10, 4 << 20);
/// Bytes that only small records may use: on a full disk it can still be noted that a result was taken.
const RESERVE: u64 = 16 << 10;

/// A segment that is written to.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Where the header ends.
    header: u64,
    /// The end of the room that is certain.
    allocated: u64,
    /// A write failed: what is after `end` is unknown.
    pub(super) is_broken: bool,
    /// Makes writing fail, for tests.
    #[cfg(test)]
    pub(super) room: Arc<std::sync::atomic::AtomicU64>,
}

/// The file of a segment.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number:010}"))
}

/// The number of a segment, from its file's name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?;
    let known = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| known)
}

/// The numbers of all segments, in order.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = place::names(directory)?.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Segment {
    /// Makes a segment; its name is durable then.
    pub(super) fn create(directory: &Path, number: u64) -> io::Result<Self> {
        let path = path(directory, number);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let mut preamble = MAGIC.to_vec();
        preamble.extend_from_slice(&VERSION.to_le_bytes());
        if let Err(cause) = file.write_all_at(&preamble, 0).and_then(|()| place::sync(directory)) {
            drop(fs::remove_file(&path));
            return Err(cause);
        }
        Ok(Self {
            number,
            file: Arc::new(file),
            end: PREAMBLE,
            header: PREAMBLE,
            allocated: PREAMBLE,
            is_broken: false,
            #[cfg(test)]
            room: Arc::new(u64::MAX.into()),
        })
    }

    /// Writes at the end, and says where. `small`: it may use the room that is kept for such records.
    pub(super) fn append(&mut self, bytes: &[u8], small: bool) -> io::Result<u64> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.allocate(length, small)?;
        if let Err(cause) = self.file.write_all_at(bytes, self.end) {
            self.is_broken = true;
            return Err(cause);
        }
        let at = self.end;
        self.end = at.saturating_add(length);
        Ok(at)
    }

    /// Sees to it that there is room.
    fn allocate(&mut self, length: u64, small: bool) -> io::Result<()> {
        let needed = self.end.saturating_add(length);
        let wanted = needed.saturating_add(RESERVE);
        if wanted <= self.allocated {
            return Ok(());
        }
        let step = if self.end == PREAMBLE { STEPS.0 } else { STEPS.1 };
        // If there is no room for a whole step there may be some for this record.
        let took = self.extend(wanted.saturating_add(step));
        let took = took.or_else(|cause| if is_full(&cause) { self.extend(wanted) } else { Err(cause) });
        match took {
            // A file system that cannot preallocate has room, or says so when it is written to.
            Err(cause) if cause.kind() == io::ErrorKind::Unsupported => Ok(()),
            Err(_) if small && needed <= self.allocated => Ok(()),
            took => took,
        }
    }

    fn extend(&mut self, to: u64) -> io::Result<()> {
        #[cfg(test)]
        if to > self.room.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let more = to.saturating_sub(self.allocated);
        rustix::fs::fallocate(&*self.file, rustix::fs::FallocateFlags::empty(), self.allocated, more)?;
        self.allocated = to;
        Ok(())
    }

    /// What is written so far is the header.
    pub(super) const fn end_header(&mut self) {
        self.header = self.end;
    }

    /// Begins anew after the header: nothing in it counts any more.
    pub(super) fn reset(&mut self) {
        (self.end, self.allocated) = (self.header, self.header);
        self.trim();
    }

    /// Gives back what was preallocated and not used, and what a failed write has left.
    pub(super) fn trim(&self) {
        drop(self.file.set_len(self.end));
    }
}

/// What the beginning of a segment says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Beginning {
    Version(u32),
    /// A crash came before the first byte.
    Empty,
    Damaged,
}

pub(super) fn beginning(bytes: &[u8]) -> Beginning {
    let version = bytes.strip_prefix(MAGIC).and_then(|rest| record::number(rest, 0)).map(u32::from_le_bytes);
    match version {
        Some(version) => Beginning::Version(version),
        None if bytes.iter().all(|byte| *byte == 0) || MAGIC.starts_with(bytes) => Beginning::Empty,
        None if bytes.len() < 12 && bytes.starts_with(MAGIC) => Beginning::Empty,
        None => Beginning::Damaged,
    }
}
