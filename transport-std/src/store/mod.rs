//! The store: what must not be lost between a task's delivery and its accepted result.
//!
//! ```text
//! DIR/lock              held by the runner that uses the directory
//! DIR/server            the address of the server that the store belongs to, should the journal's header be damaged
//! DIR/journal-<n>       tasks in hand and their results, in segments; mode 0600
//! DIR/<name>.json       a result to be sent: what an earlier version wrote, or a dead letter that was put back, and has
//!                       its <name>.why still
//! DIR/dead/<name>.json  what the server rejected, or refused for 24 hours; <name>.why says which, and when
//! DIR/damaged/          what is no result, or has changed since it was written
//! ```
//!
//! Each of the three parts has a bound in bytes and in results. At it a part takes nothing more, and nothing is dropped:
//! what is not kept here stays where it was.

mod compact;
mod index;
mod journal;
mod leavings;
mod listing;
mod note;
mod parts;
mod place;
mod record;
mod recover;
mod segment;
mod server;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use downbeat_core::wire;

use crate::clock::unix_millis;
use crate::error::Error;
use index::Key;
use journal::{Journal as Segments, State};
use parts::Files;
use place::is_full;
use record::BODY_MAX;

pub(crate) use leavings::{Process, Recovered};
pub use listing::{
    Changed, Letter, Listing, Outcome, Selected, drop_letters, is_in_use, list, outcome, retry,
};
pub(crate) use note::{LeaseNote, Left};
pub use parts::Part;
pub(crate) use parts::{Bounds, Used};

/// When a runner with a store writes a result there.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Journal {
    /// As soon as the task has finished, before the result is first reported: a crash loses none.
    #[default]
    Finish,
    /// When its first report has failed: a crash before that loses the result, and the task runs again.
    Failure,
    /// When the server has not taken it after four reports or a minute.
    Off,
}

impl Journal {
    /// The setting's word: `finish`, `failure` or `off`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Failure => "failure",
            Self::Off => "off",
        }
    }
}

impl std::str::FromStr for Journal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Finish, Self::Failure, Self::Off].into_iter().find(|journal| journal.name() == text).ok_or(())
    }
}

/// A directory of results. Its methods may be called from any thread; each that returns an error has changed nothing.
pub(crate) struct Store {
    mode: Journal,
    directory: PathBuf,
    journal: Segments,
    files: Files,
    serial: AtomicU64,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

/// Something to be sent.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Item {
    File(String),
    /// In the journal, with its turn.
    Record(u64, Key),
}

/// What a stored item is.
pub(crate) enum Stored {
    /// A result to be sent, and for how many milliseconds the server refused it in earlier runs.
    Result { body: Vec<u8>, refused_ms: u64 },
    /// It is no result. `aside`: it was moved out of the way; else there was no room for it.
    Damaged { aside: bool },
    /// It is not there any more.
    Gone,
}

impl Store {
    /// Opens the directory for this server, and makes it where it is not there.
    pub(crate) fn open(
        directory: &Path,
        server: &str,
        bounds: Bounds,
        mode: Journal,
    ) -> Result<(Self, Recovered), Error> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Store { path, cause }
        };
        for part in Part::ALL {
            place::make(&part.of(directory))?;
        }
        let held = place::hold(directory)?;
        let mut warnings: Vec<String> =
            place::doubt(directory).map_err(wrong(directory))?.into_iter().collect();
        for below in Part::ALL.map(|part| part.of(directory)) {
            place::remove_unfinished(&below).map_err(wrong(&below))?;
        }
        set_irregular_aside(directory, &mut warnings).map_err(wrong(directory))?;
        let mut journaled = recover::read(directory, &mut |_| {})?;
        let ours = server::normal(server);
        if journaled.server.is_none() && journaled.holds_something() {
            let belongs_to = "a server whose name is damaged (its address, written by hand into the file `server` \
                              there, settles it; `downbeat store export` shows what waits)";
            let (path, belongs_to) = (directory.to_owned(), belongs_to.to_owned());
            return Err(Error::StoreServer { path, belongs_to, server: ours });
        }
        if let Some(theirs) = journaled.server.take().filter(|theirs| *theirs != ours) {
            let path = directory.to_owned();
            return Err(Error::StoreServer { path, belongs_to: theirs, server: ours });
        }
        server::remember(directory, &ours).map_err(wrong(directory))?;
        journaled.set_aside(directory, &mut warnings);
        let recovered = journaled.recovered(directory).map_err(wrong(directory))?;
        let state = State::new(journaled.index, journaled.number, journaled.segment);
        let journal = Segments::new(directory, ours, journaled.keys, state);
        journal.free(&mut journal.state());
        match journal.roll(&mut journal.state()) {
            Ok(()) => {}
            // What waits can be sent all the same, and that makes room.
            Err(cause) if is_full(&cause) => {
                warnings.push(format!("nothing can be written to {}: {cause}", directory.display()));
            }
            Err(cause) => return Err(wrong(directory)(cause)),
        }
        let files = Files::measure(directory, bounds).map_err(wrong(directory))?;
        let store = Self {
            mode,
            directory: directory.to_owned(),
            journal,
            files,
            serial: AtomicU64::new(0),
            _lock: held,
        };
        let results = recovered.results + store.files.used(Part::Waiting).files;
        Ok((store, Recovered { warnings, results, ..recovered }))
    }

    /// When results are to be written here.
    pub(crate) const fn mode(&self) -> Journal {
        self.mode
    }

    /// Shows what each part holds, to one at a time: whoever looks later sees what is newer.
    pub(crate) fn look<T>(&self, mut look: impl FnMut(Part, Used) -> T) -> [T; 3] {
        let state = self.journal.state();
        let waiting = state.index.waiting.and(self.files.used(Part::Waiting));
        [
            look(Part::Waiting, waiting),
            look(Part::Dead, self.files.used(Part::Dead)),
            look(Part::Damaged, self.files.used(Part::Damaged)),
        ]
    }

    /// How often the disk was asked to make results durable: one time for many.
    pub(crate) fn syncs(&self) -> u64 {
        self.journal.syncs()
    }

    /// Words for an error of this store.
    pub(crate) fn said(&self, cause: &io::Error) -> String {
        format!("{}: {cause}", self.directory.display())
    }

    // ---------------------------------------------------------------- tasks in hand

    /// Notes a task that was leased. A `kill -9` does not lose the note; a power cut may. Returns the turn of this delivery.
    pub(crate) fn lease(&self, note: &LeaseNote<'_>) -> io::Result<u64> {
        if self.mode == Journal::Off { Ok(0) } else { self.journal.lease(note) }
    }

    /// The turn of the newest delivery that is noted, an earlier runner's too.
    pub(crate) fn deliveries(&self) -> u64 {
        self.journal.deliveries()
    }

    /// Notes the process group of a task's command, and when that began. As durable as the lease.
    pub(crate) fn process(&self, task_id: &str, group: i32, started: u64) -> io::Result<()> {
        self.journal.process(task_id, group, started)
    }

    /// Notes that a yield or a give-back is about to be sent: from now on nobody else may give the task back (S4). As
    /// durable as the lease. After an error it is better not sent.
    pub(crate) fn yielding(&self, task_id: &str) -> io::Result<()> {
        self.journal.yielding(task_id)
    }

    /// Writes a result that is about to be reported, and returns once it is durable. At the bound, on a full disk and
    /// above 16 MiB there is an error, and the result is only where it was.
    pub(crate) fn result(&self, task_id: &str, body: &[u8]) -> io::Result<()> {
        self.write(task_id, body, false, false)
    }

    /// Forgets a task: the server has taken its result, or has given it to somebody else. It is not durable at once: a
    /// result may be sent again after a crash.
    pub(crate) fn ended(&self, task_id: &str) {
        self.journal.ended(task_id, u64::MAX);
    }

    /// Forgets a delivery of a task. A yield may have brought the task here again before its answer was read: what is
    /// noted of that later delivery stays.
    pub(crate) fn delivery_ended(&self, task_id: &str, delivery: u64) {
        self.journal.ended(task_id, delivery);
    }

    /// Hands a result over to the sender; returns when it is durable. `beyond`: also beyond the bound.
    pub(crate) fn keep(&self, task_id: &str, body: &[u8], beyond: bool) -> io::Result<()> {
        if self.journal.hand_over(task_id) { Ok(()) } else { self.write(task_id, body, true, beyond) }
    }

    /// Takes the result of a task over from the sender; `None`: the sender keeps it.
    pub(crate) fn take_over(&self, task_id: &str) -> Option<Vec<u8>> {
        self.journal.take_over(task_id)
    }

    /// Files a result among the dead letters, or if there is no room for it among those that wait; returns where.
    pub(crate) fn bury(&self, task_id: &str, body: &[u8], why: &str) -> io::Result<PathBuf> {
        match self.letter(body, why) {
            Ok(path) => {
                self.journal.ended(task_id, u64::MAX);
                Ok(path)
            }
            Err(_) => self.keep(task_id, body, false).map(|()| self.directory.clone()),
        }
    }

    fn write(&self, task_id: &str, body: &[u8], waits: bool, beyond: bool) -> io::Result<()> {
        let files = self.files.used(Part::Waiting);
        let bounds = self.files.bounds();
        let bytes = length(body);
        self.journal.result(task_id, body, waits, |journaled| {
            let has_room = beyond || bounds.admit(journaled.and(files), bytes);
            if has_room { Ok(()) } else { Err(bounds.full(Part::Waiting)) }
        })
    }

    /// Writes a dead letter: the result as it was to be sent, and beside it why.
    fn letter(&self, body: &[u8], why: &str) -> io::Result<PathBuf> {
        let bytes = length(body);
        if !self.files.reserve(Part::Dead, bytes) {
            return Err(self.files.bounds().full(Part::Dead));
        }
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:013}-{}-{serial}.json", unix_millis(), std::process::id());
        let path = Part::Dead.of(&self.directory).join(name);
        let written = explain(&path, why).and_then(|()| place::write(&path, body));
        self.files.arrive(Part::Dead, bytes, written.is_ok());
        written.map(|()| path)
    }

    // ---------------------------------------------------------------- the sender's

    /// What is to be sent, oldest first.
    pub(crate) fn items(&self) -> io::Result<Vec<Item>> {
        let names = place::names(&self.directory)?;
        let mut items: Vec<Item> =
            names.into_iter().filter(|name| Part::Waiting.has(name)).map(Item::File).collect();
        let state = self.journal.state();
        let waiting = state.index.entries().iter().filter_map(|(key, entry)| {
            entry.result.filter(|kept| kept.waits).map(|kept| Item::Record(kept.ticket, *key))
        });
        items.extend(waiting);
        drop(state);
        items.sort_unstable();
        Ok(items)
    }

    /// Reads an item, and moves it away where it is not to be sent.
    pub(crate) fn read(&self, item: &Item) -> io::Result<Stored> {
        match item {
            Item::File(name) => self.read_file(name),
            Item::Record(_, key) => match self.journal.waiting(*key) {
                Ok(Some((body, refused_ms))) => Ok(Stored::Result { body, refused_ms }),
                Ok(None) => Ok(Stored::Gone),
                Err(cause) if cause.kind() == io::ErrorKind::InvalidData => self.set_record_aside(*key),
                Err(cause) => Err(cause),
            },
        }
    }

    fn read_file(&self, name: &str) -> io::Result<Stored> {
        let path = self.directory.join(name);
        let (body, bytes) = match place::read(&path, BODY_MAX) {
            Ok(body) => {
                let bytes = length(&body);
                (body, bytes)
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Stored::Gone),
            // It is too large, or no regular file. No bound keeps it here, where it would take the room of results; on
            // the disk it takes no more than before.
            Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => {
                let bytes = fs::symlink_metadata(&path)?.len();
                self.files.expect(Part::Damaged, bytes);
                return self.moved(Part::Damaged, name, bytes).map(|()| Stored::Damaged { aside: true });
            }
            Err(cause) => return Err(cause),
        };
        if is_result(&body) {
            return Ok(Stored::Result { body, refused_ms: 0 });
        }
        self.move_to(Part::Damaged, name, bytes).map(|aside| Stored::Damaged { aside })
    }

    fn set_record_aside(&self, key: Key) -> io::Result<Stored> {
        let Some(bytes) = self.journal.raw(key)? else { return Ok(Stored::Gone) };
        if !self.files.reserve(Part::Damaged, length(&bytes)) {
            return Ok(Stored::Damaged { aside: false });
        }
        let aside = Part::Damaged.of(&self.directory);
        let written = place::write(&place::free(&aside, "journal-record.part"), &bytes);
        self.files.arrive(Part::Damaged, length(&bytes), written.is_ok());
        written?;
        self.journal.drop_from_index(key);
        Ok(Stored::Damaged { aside: true })
    }

    /// Notes for how long the server has refused a result, for later runs.
    pub(crate) fn refused(&self, item: &Item, body: &[u8], millis: u64) -> io::Result<()> {
        match item {
            Item::File(_) => Ok(()),
            Item::Record(_, key) => self.journal.refused(*key, &task_id(body), millis),
        }
    }

    /// Whether an item is a dead letter that a person has put back, and wants to hear of.
    pub(crate) fn is_put_back(&self, item: &Item) -> bool {
        match item {
            Item::File(name) => self.directory.join(name).with_extension("why").exists(),
            Item::Record(..) => false,
        }
    }

    /// Removes what the server has taken.
    pub(crate) fn remove(&self, item: &Item, body: &[u8]) -> io::Result<()> {
        match item {
            Item::File(name) => {
                let path = self.directory.join(name);
                fs::remove_file(&path)?;
                drop(fs::remove_file(path.with_extension("why")));
                self.files.leave(Part::Waiting, length(body));
            }
            Item::Record(..) => self.journal.ended(&task_id(body), u64::MAX),
        }
        Ok(())
    }

    /// Moves a result among the dead letters; false: there is no room, and it stays.
    pub(crate) fn retire(&self, item: &Item, body: &[u8], why: &str) -> io::Result<bool> {
        match item {
            Item::File(name) => {
                explain(&Part::Dead.of(&self.directory).join(name), why)?;
                self.move_to(Part::Dead, name, length(body))
            }
            Item::Record(..) => match self.letter(body, why) {
                Ok(_) => {
                    self.journal.ended(&task_id(body), u64::MAX);
                    Ok(true)
                }
                Err(cause) if cause.kind() == io::ErrorKind::QuotaExceeded => Ok(false),
                Err(cause) => Err(cause),
            },
        }
    }

    fn move_to(&self, part: Part, name: &str, bytes: u64) -> io::Result<bool> {
        if !self.files.reserve(part, bytes) {
            return Ok(false);
        }
        self.moved(part, name, bytes).map(|()| true)
    }

    /// Moves a file for which there is room.
    fn moved(&self, part: Part, name: &str, bytes: u64) -> io::Result<()> {
        let directory = part.of(&self.directory);
        let moved = fs::rename(self.directory.join(name), place::free(&directory, name));
        self.files.arrive(part, bytes, moved.is_ok());
        moved?;
        // It was a dead letter that was put back, it may be.
        drop(fs::remove_file(self.directory.join(name).with_extension("why")));
        self.files.leave(Part::Waiting, bytes);
        place::sync(&directory)
    }
}

/// Sets aside what has the name of a result or a segment, and is no regular file, or too large for one. It is renamed,
/// whatever its size, and so neither read nor held back by a bound.
fn set_irregular_aside(directory: &Path, told: &mut Vec<String>) -> io::Result<()> {
    let aside = Part::Damaged.of(directory);
    for name in place::names(directory)? {
        if !Part::Waiting.has(&name) && segment::number(&name).is_none() {
            continue;
        }
        let path = directory.join(&name);
        let facts = fs::symlink_metadata(&path)?;
        let is_above = |most: usize| facts.len() > u64::try_from(most).unwrap_or(u64::MAX);
        let what = match segment::number(&name) {
            _ if !facts.is_file() => place::kind(&facts),
            Some(_) if is_above(segment::LENGTH_MAX) => "too large for a segment of the journal",
            None if is_above(BODY_MAX) => "too large for a result",
            Some(_) | None => continue,
        };
        let to = place::free(&aside, &name);
        fs::rename(&path, &to)?;
        told.push(format!("{} is {what}; it is not read, and set aside as {}", path.display(), to.display()));
    }
    Ok(())
}

/// Writes beside a dead letter why it is one.
fn explain(letter: &Path, why: &str) -> io::Result<()> {
    let text = serde_json::json!({ "at": unix_millis(), "why": why }).to_string();
    let path = letter.with_extension("why");
    // What an earlier attempt has left.
    drop(fs::remove_file(&path));
    place::write(&path, text.as_bytes())
}

/// Whether a body is a result that can be sent.
fn is_result(body: &[u8]) -> bool {
    ["taskId", "workflowInstanceId", "status"].into_iter().all(|member| member_of(body, member).is_some())
}

fn member_of(body: &[u8], member: &str) -> Option<String> {
    let value = wire::find(body, member).ok().flatten()?;
    value.text().map(|text| text.chars().collect())
}

/// The id of a result's task.
pub(crate) fn task_id(body: &[u8]) -> String {
    member_of(body, "taskId").unwrap_or_default()
}

fn length(body: &[u8]) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}
