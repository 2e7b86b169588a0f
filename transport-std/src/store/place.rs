//! The directory of a store: what it may be, who holds it, and which of its files are read.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use downbeat_core::machine::Clock as _;
use rustix::fs::OFlags;

use crate::clock::StdClock;
use crate::error::Error;

/// How long a lock that somebody else holds is waited for, and how often it is tried.
const LET_GO: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(20);

/// Makes a directory if there is none, and refuses what is another kind of thing.
pub(super) fn make(path: &Path) -> Result<(), Error> {
    let wrong = |cause| Error::Store { path: path.to_owned(), cause };
    match fs::metadata(path) {
        Ok(facts) if facts.is_dir() => return Ok(()),
        Ok(facts) => {
            let text = format!("it is {}, and the store is a directory; name another path", kind(&facts));
            return Err(wrong(io::Error::new(io::ErrorKind::NotADirectory, text)));
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(wrong(cause)),
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(wrong)?;
    // It is there after a power cut only if its own name is durable.
    let whole = path.canonicalize().map_err(wrong)?;
    whole.parent().map_or(Ok(()), sync).map_err(wrong)
}

/// What is wrong with the mode of a directory: others could put files there, or take them away.
pub(super) fn doubt(path: &Path) -> io::Result<Option<String>> {
    let mode = fs::metadata(path)?.mode() & 0o7777;
    let who = match (mode & 0o002 != 0 && mode & 0o1000 == 0, mode & 0o020 != 0) {
        (true, _) => "everybody on this machine",
        (false, true) => "its group",
        (false, false) => return Ok(None),
    };
    Ok(Some(format!(
        "{who} may write to {} (mode {mode:04o}), and could add or remove results; make it 0700",
        path.display()
    )))
}

/// Which start of the machine this is; empty if nobody says. A process of an earlier one is gone, whatever has its
/// number now.
pub(super) fn boot() -> Vec<u8> {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_ascii().iter().copied().take(64).collect()
}

/// What a thing is that is no regular file, or no directory.
pub(super) fn kind(facts: &Metadata) -> &'static str {
    let of = facts.file_type();
    match () {
        () if of.is_dir() => "a directory",
        () if of.is_symlink() => "a link",
        () if of.is_fifo() => "a pipe",
        () if of.is_socket() => "a socket",
        () if of.is_char_device() || of.is_block_device() => "a device",
        () => "a file",
    }
}

/// Takes the lock of a store, for as long as the file is open.
pub(super) fn hold(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let wrong = |cause| Error::Store { path: path.clone(), cause };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let held = regular(&mut options, &path).map_err(wrong)?;
    let clock = StdClock::new();
    let until = clock.now().saturating_add(LET_GO);
    loop {
        match held.try_lock() {
            Ok(()) => return Ok(held),
            // A child of a runner that was killed holds the lock until it has become its command.
            Err(fs::TryLockError::WouldBlock) if clock.now() < until => std::thread::park_timeout(AGAIN),
            Err(fs::TryLockError::WouldBlock) => {
                let text = "another runner uses it; give each one its own";
                return Err(wrong(io::Error::new(io::ErrorKind::ResourceBusy, text)));
            }
            Err(fs::TryLockError::Error(cause)) => return Err(wrong(cause)),
        }
    }
}

/// Whether somebody holds the lock of a store.
pub(super) fn is_held(directory: &Path) -> io::Result<bool> {
    let held = match regular(OpenOptions::new().write(true), &directory.join("lock")) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        held => held?,
    };
    match held.try_lock() {
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(cause)) => Err(cause),
    }
}

/// Opens a regular file. A link is not followed, and nothing else is waited for, as a pipe would be, or read, as a
/// device would be.
pub(super) fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = options.custom_flags(flags).open(path).map_err(|cause| {
        // What a link or a socket is refused with says little.
        match fs::symlink_metadata(path) {
            Ok(facts) if !facts.is_file() => irregular(&facts),
            Ok(_) | Err(_) => cause,
        }
    })?;
    let facts = file.metadata()?;
    if facts.is_file() { Ok(file) } else { Err(irregular(&facts)) }
}

fn irregular(facts: &Metadata) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {}, and no regular file", kind(facts)))
}

/// A whole file, if it is no larger than `most`.
pub(super) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let file = regular(OpenOptions::new().read(true), path)?;
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, format!("it is larger than {most} bytes"));
    let most_bytes = u64::try_from(most).unwrap_or(u64::MAX);
    let length = file.metadata()?.len();
    if length > most_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // It may grow while it is read.
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(too_large()) } else { Ok(bytes) }
}

/// Writes a file under another name, makes it durable, and renames it: it is whole or not there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let whole = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(cause) = whole.and_then(|()| fs::rename(&unfinished, path)) {
        // The disk is full, it may be: each try would leave a piece behind.
        drop(fs::remove_file(&unfinished));
        return Err(cause);
    }
    path.parent().map_or(Ok(()), sync)
}

/// Removes what an earlier runner did not come to rename. Only who holds the lock may.
pub(super) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for name in names(directory)? {
        // Ours begin with a time or with the word for a segment; others' files and directories stay.
        let is_ours = name.starts_with("journal-") || name.starts_with(|first: char| first.is_ascii_digit());
        let path = directory.join(&name);
        if is_ours && name.ends_with(".new") && fs::symlink_metadata(&path)?.is_file() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The names in a directory, in order; those that are no text are left alone.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a runner has ever used this directory as its store.
pub(super) fn is_store(directory: &Path) -> io::Result<bool> {
    let names = names(directory)?;
    Ok(names
        .iter()
        .any(|name| matches!(name.as_str(), "lock" | "dead" | "damaged") || name.starts_with("journal-")))
}

/// Makes names in a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A name in `directory` that nothing has: `name`, or that with a number.
pub(super) fn free(directory: &Path, name: &str) -> PathBuf {
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    let dot = if end.is_empty() { "" } else { "." };
    let more = (1_u32..).map(|nth| format!("{stem}-{nth}{dot}{end}"));
    let mut all = std::iter::once(name.to_owned()).chain(more).map(|name| directory.join(name));
    all.find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_else(|| directory.join(name))
}

/// The error of a disk without room.
pub(super) fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
