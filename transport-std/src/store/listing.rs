//! What is in a store, for people: looked at from outside, also while a runner works with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::index::Place;
use super::parts::Part;
use super::record::{self, BODY_MAX};
use super::{Bounds, Journal, Store, is_result, journal, member_of, place, recover, segment};
use crate::error::Error;

/// What a store holds.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listing {
    /// The server that it belongs to; `None`: no runner of this version has used it yet.
    pub server: Option<String>,
    /// Tasks that a runner has in hand, or had when it ended without a word.
    pub in_hand: usize,
    /// What is in it: what waits, oldest first, then dead letters, then what is damaged.
    pub letters: Vec<Letter>,
}

/// One thing in a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Letter {
    /// Its name for [`retry`] and [`drop_letters`]; the task's id does as well.
    pub id: String,
    /// What it is.
    pub part: Part,
    /// The task's id, where it can be read.
    pub task_id: Option<String>,
    /// The id of the task's workflow.
    pub workflow_id: Option<String>,
    /// The status that it reports.
    pub status: Option<String>,
    /// Bytes of the result.
    pub bytes: u64,
    /// Why it is a dead letter.
    pub why: Option<String>,
    /// When it became one, in milliseconds since 1970, by the clock of the machine.
    pub at_ms: Option<i64>,
    /// It is a result, or what a runner has set aside; anything else somebody has put there.
    is_ours: bool,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Record(PathBuf, Place),
}

/// Which letters are meant.
#[derive(Clone, Copy, Debug)]
pub enum Selected<'a> {
    /// Those with these ids, or of these tasks.
    Ids(&'a [String]),
    /// All dead letters.
    AllDead,
}

/// What became of the letters that were named.
#[derive(Debug, Default)]
pub struct Changed {
    /// The ids of those that were moved, as they are now, or dropped.
    pub done: Vec<String>,
    /// What names none.
    pub unknown: Vec<String>,
    /// The ids of those that are no results, and no runner's: somebody else's files, which are left as they are.
    pub left: Vec<String>,
}

/// Lists a store, and changes nothing.
///
/// # Errors
/// It is no store, cannot be read, or is of a newer format.
pub fn list(directory: &Path) -> Result<Listing, Error> {
    let wrong = |cause| Error::Store { path: directory.to_owned(), cause };
    if !fs::metadata(directory).map_err(wrong)?.is_dir() {
        return Err(wrong(io::Error::new(io::ErrorKind::NotADirectory, "it is no directory")));
    }
    if !place::is_store(directory).map_err(wrong)? {
        let text = "no runner has used this directory as its store; name the one of `--store`";
        return Err(wrong(io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    let journaled = recover::read(directory, &mut |_| {})?;
    let mut waiting: Vec<_> = journaled.index.entries().values().filter_map(|entry| entry.result).collect();
    waiting.sort_unstable_by_key(|kept| kept.ticket);
    let mut letters = Vec::new();
    for part in Part::ALL {
        letters.extend(files(directory, part).map_err(wrong)?);
        if part == Part::Waiting {
            letters.extend(waiting.iter().filter_map(|kept| of_record(directory, kept.place)));
        }
    }
    Ok(Listing { server: journaled.server, in_hand: journaled.index.in_hand, letters })
}

fn files(directory: &Path, part: Part) -> io::Result<Vec<Letter>> {
    let below = part.of(directory);
    let names = match place::names(&below) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let named = names.into_iter().filter(|name| part.has(name));
    Ok(named.filter_map(|name| of_file(part, below.join(&name), &name)).collect())
}

/// A letter in a file; `None`: it is gone.
fn of_file(part: Part, path: PathBuf, name: &str) -> Option<Letter> {
    let bytes = fs::symlink_metadata(&path).ok()?.len();
    let body =
        if part == Part::Damaged { Vec::new() } else { place::read(&path, BODY_MAX).unwrap_or_default() };
    let reason = place::read(&path.with_extension("why"), 64 << 10).ok();
    let reason = reason.filter(|_| part == Part::Dead);
    let reason = reason.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let member = |name: &str| reason.as_ref().and_then(|reason| reason.get(name));
    let id = if part == Part::Damaged { name } else { name.trim_end_matches(".json") };
    Some(Letter {
        id: id.to_owned(),
        part,
        task_id: member_of(&body, "taskId"),
        workflow_id: member_of(&body, "workflowInstanceId"),
        status: member_of(&body, "status"),
        bytes,
        why: member("why").and_then(|why| why.as_str()).map(str::to_owned),
        at_ms: member("at").and_then(serde_json::Value::as_i64),
        is_ours: match part {
            Part::Waiting | Part::Dead => is_result(&body),
            Part::Damaged => Part::Waiting.has(name) || name.starts_with("journal-"),
        },
        source: Source::File(path),
    })
}

/// A result in the journal; `None`: it is gone.
fn of_record(directory: &Path, at: Place) -> Option<Letter> {
    let source = Source::Record(directory.to_owned(), at);
    let body = source.body().ok()?;
    let task_id = member_of(&body, "taskId")?;
    Some(Letter {
        id: task_id.clone(),
        part: Part::Waiting,
        task_id: Some(task_id),
        workflow_id: member_of(&body, "workflowInstanceId"),
        status: member_of(&body, "status"),
        bytes: super::length(&body),
        why: None,
        at_ms: None,
        is_ours: true,
        source,
    })
}

impl Source {
    fn body(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => place::read(path, segment::LENGTH_MAX),
            Self::Record(directory, at) => {
                let path = segment::path(directory, at.segment);
                let file = place::regular(fs::OpenOptions::new().read(true), &path)?;
                let bytes = journal::read(&file, *at)?;
                let record = record::decode(at.segment, &bytes);
                let changed =
                    || io::Error::new(io::ErrorKind::InvalidData, "a record has changed on the disk");
                record.map(|record| record.body.to_vec()).ok_or_else(changed)
            }
        }
    }
}

impl Letter {
    /// What it is as bytes: the result as it was to be sent. It may be as confidential as the code that made it.
    ///
    /// # Errors
    /// It is gone (a runner has sent it meanwhile), or cannot be read.
    pub fn body(&self) -> io::Result<Vec<u8>> {
        self.source.body()
    }

    fn is(&self, id: &str) -> bool {
        self.id == id || self.task_id.as_deref() == Some(id)
    }
}

impl Listing {
    /// The letter with this id, or the first of this task.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Letter> {
        self.letters
            .iter()
            .find(|letter| letter.id == id)
            .or_else(|| self.letters.iter().find(|letter| letter.is(id)))
    }

    fn selected(&self, selected: Selected<'_>, parts: &[Part]) -> (Vec<&Letter>, Changed) {
        let mut letters: Vec<&Letter> =
            self.letters.iter().filter(|letter| parts.contains(&letter.part)).collect();
        let mut changed = Changed::default();
        match selected {
            Selected::AllDead => letters.retain(|letter| letter.part == Part::Dead),
            Selected::Ids(ids) => {
                let unknown = ids.iter().filter(|id| !letters.iter().any(|letter| letter.is(id)));
                changed.unknown = unknown.cloned().collect();
                letters.retain(|letter| ids.iter().any(|id| letter.is(id)));
            }
        }
        let (ours, others): (Vec<&Letter>, Vec<&Letter>) =
            letters.into_iter().partition(|letter| letter.is_ours);
        changed.left = others.into_iter().map(|letter| letter.id.clone()).collect();
        (ours, changed)
    }
}

/// What became of a dead letter that was put back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It waits still.
    Waits,
    /// The server has taken it, or somebody has dropped it.
    Taken,
    /// It is a dead letter again, for this reason: refused again, or the task had ended already, and nothing was changed.
    DeadAgain(String),
}

/// Says what became of a letter that [`retry`] has put back under this id.
///
/// # Errors
/// The store cannot be read.
pub fn outcome(directory: &Path, id: &str) -> Result<Outcome, Error> {
    let wrong = |cause| Error::Store { path: directory.to_owned(), cause };
    let name = format!("{id}.json");
    // In the order in which it moves, so that it is seen where it has come to.
    if directory.join(&name).try_exists().map_err(wrong)? {
        return Ok(Outcome::Waits);
    }
    let dead = of_file(Part::Dead, Part::Dead.of(directory).join(&name), &name);
    Ok(dead.map_or(Outcome::Taken, |letter| Outcome::DeadAgain(letter.why.unwrap_or_default())))
}

/// Says whether a runner works with the store.
///
/// # Errors
/// Its lock cannot be read.
pub fn is_in_use(directory: &Path) -> Result<bool, Error> {
    place::is_held(directory).map_err(|cause| Error::Store { path: directory.to_owned(), cause })
}

/// Puts dead letters back among the results that wait: the runner that works with the store sends them within a minute,
/// else the next one, and [`outcome`] says what came of it. It asks the server first: of a task that has ended the letter
/// is a dead one again, because the server would answer well and change nothing. So is what the server refuses again.
///
/// # Errors
/// As [`list`], or a file cannot be moved.
pub fn retry(directory: &Path, selected: Selected<'_>) -> Result<Changed, Error> {
    let listing = list(directory)?;
    let (letters, mut changed) = listing.selected(selected, &[Part::Dead]);
    for letter in letters {
        let Source::File(path) = &letter.source else { continue };
        let wrong = |cause| Error::Store { path: path.clone(), cause };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let to = place::free(directory, name);
        // Before the result: by it the sender knows that a person waits for an answer.
        let reason = to.with_extension("why");
        fs::rename(path.with_extension("why"), &reason)
            .or_else(|_| place::write(&reason, b"{}"))
            .map_err(wrong)?;
        fs::rename(path, &to).map_err(wrong)?;
        changed.done.extend(to.file_stem().map(|id| id.to_string_lossy().into_owned()));
    }
    place::sync(directory).map_err(|cause| Error::Store { path: directory.to_owned(), cause })?;
    Ok(changed)
}

/// Deletes letters for good: results, and what a runner has set aside, but no file that somebody else has put there.
/// Results that wait are deleted only while no runner works with the store.
///
/// # Errors
/// As [`list`], a file cannot be deleted, or a result that waits is among them and a runner works with the store:
/// nothing is deleted then.
pub fn drop_letters(directory: &Path, selected: Selected<'_>) -> Result<Changed, Error> {
    let listing = list(directory)?;
    let (letters, mut changed) = listing.selected(selected, &Part::ALL);
    let waits = |letter: &&&Letter| letter.part == Part::Waiting;
    let in_journal = letters.iter().any(|letter| matches!(letter.source, Source::Record(..)));
    let store = match &listing.server {
        Some(server) if in_journal => {
            Some(Store::open(directory, server, Bounds::default(), Journal::Off)?.0)
        }
        Some(_) | None => None,
    };
    let _held = match letters.iter().find(waits) {
        Some(_) if store.is_none() => Some(place::hold(directory)?),
        Some(_) | None => None,
    };
    for letter in letters {
        match (&letter.source, &store) {
            (Source::File(path), _) => {
                fs::remove_file(path).map_err(|cause| Error::Store { path: path.clone(), cause })?;
                if letter.part == Part::Dead {
                    drop(fs::remove_file(path.with_extension("why")));
                }
            }
            (Source::Record(..), Some(store)) => store.ended(&letter.id),
            (Source::Record(..), None) => continue,
        }
        changed.done.push(letter.id.clone());
    }
    Ok(changed)
}
