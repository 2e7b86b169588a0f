//! Reads what an earlier runner has left in the journal.
//!
//! After a `kill -9` the last record may be cut off: it was never confirmed, and does not count. A broken record before
//! sound ones is set aside, and the rest is read on.

use std::io;
use std::path::Path;

use super::index::{Entry, Index, Keys, Old, Place};
use super::leavings::{Process, Recovered};
use super::note::Left;
use super::parts::Part;
use super::record::{self, Found, Kind, Reading, Record};
use super::segment::{self, Beginning};
use super::{place, server};
use crate::error::Error;

/// What a journal holds.
pub(super) struct Journaled {
    pub(super) index: Index,
    pub(super) keys: Keys,
    /// Number of the newest record, and of the newest segment.
    pub(super) number: u64,
    pub(super) segment: u64,
    /// The server that the store belongs to; `None`: the journal is new.
    pub(super) server: Option<String>,
    pub(super) damages: Vec<Damage>,
    /// Which start of the machine this is, and whether the segment that is read is of the same.
    boot: Vec<u8>,
    is_of_boot: bool,
}

/// Bytes that are no record.
pub(super) struct Damage {
    pub(super) segment: u64,
    pub(super) at: usize,
    pub(super) bytes: Vec<u8>,
}

/// Reads all segments, and changes nothing. `see` is shown each record that is sound.
pub(super) fn read(directory: &Path, see: &mut dyn FnMut(&Record<'_>)) -> Result<Journaled, Error> {
    let wrong = |path: &Path, cause| Error::Store { path: path.to_owned(), cause };
    let mut all = Journaled {
        index: Index::default(),
        keys: Keys::default(),
        number: 0,
        segment: 0,
        server: None,
        damages: Vec::new(),
        boot: place::boot(),
        is_of_boot: false,
    };
    for number in segment::numbers(directory).map_err(|cause| wrong(directory, cause))? {
        let path = segment::path(directory, number);
        all.segment = number;
        let bytes = match place::read(&path, segment::LENGTH_MAX) {
            Ok(bytes) => bytes,
            // Whoever reads beside a runner may come too late for a segment: what counted of it is in a later one.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(wrong(&path, cause)),
        };
        match segment::beginning(&bytes) {
            Beginning::Version(version) if version > segment::VERSION => {
                let text = format!(
                    "it is of format {version}, and this version of downbeat reads up to {}; run the newer one, or \
                     name another directory",
                    segment::VERSION
                );
                return Err(wrong(&path, io::Error::new(io::ErrorKind::Unsupported, text)));
            }
            Beginning::Version(_) | Beginning::Empty | Beginning::Damaged => all.segment(number, &bytes, see),
        }
    }
    if all.server.is_none() {
        all.server = server::remembered(directory).map_err(|cause| wrong(directory, cause))?;
    }
    Ok(all)
}

impl Journaled {
    fn segment(&mut self, number: u64, bytes: &[u8], see: &mut dyn FnMut(&Record<'_>)) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // Its live bytes are counted while its records are read.
        self.index.old.push_back(Old { number, length, live: 0, pinned: false });
        let start = match segment::beginning(bytes) {
            Beginning::Version(_) | Beginning::Empty => usize::try_from(segment::PREAMBLE).unwrap_or(0),
            Beginning::Damaged => 0,
        };
        let mut reading = Reading::new(number, bytes, start);
        loop {
            let at = reading.at();
            match reading.next(self.number) {
                Found::Record(record) => {
                    self.number = record.number;
                    self.record(number, at, &record);
                    see(&record);
                }
                Found::Damaged(wrong) => {
                    self.damages.push(Damage { segment: number, at, bytes: wrong.to_vec() });
                }
                Found::End => break,
            }
        }
    }

    fn record(&mut self, segment: u64, at: usize, record: &Record<'_>) {
        let wide = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let place = Place { segment, at: wide(at), length: wide(record.length) };
        let key = self.keys.of(record.task);
        let change = |index: &mut Index, change: &dyn Fn(&mut Entry)| {
            index.entry_mut(key).into_iter().for_each(change);
        };
        match record.kind {
            Kind::Header => {
                self.is_of_boot = record.task == self.boot;
                let server = std::str::from_utf8(record.body)
                    .ok()
                    .filter(|server| !server.is_empty())
                    .map(str::to_owned);
                self.server = server.or_else(|| self.server.take());
            }
            Kind::Lease | Kind::EarlyLease => drop(self.index.lease(key, place)),
            // Whoever had it in hand is gone.
            Kind::Result => drop(self.index.result(key, place, wide(record.body.len()), true)),
            Kind::Ended => drop(self.index.end(key)),
            Kind::Yielding => change(&mut self.index, &|entry| entry.yielding = true),
            // The numbers of processes begin anew with the machine.
            Kind::Process if !self.is_of_boot => {}
            Kind::Process => {
                let group = record::number(record.body, 0).map(i32::from_le_bytes);
                let began = record::number(record.body, 4).map(u64::from_le_bytes);
                change(&mut self.index, &|entry| entry.process = group.zip(began));
            }
            Kind::Refused => {
                let millis = record::number(record.body, 0).map_or(0, u64::from_le_bytes);
                change(&mut self.index, &|entry| entry.refused_ms = millis);
            }
        }
    }

    /// Whether there is a record, or what may have been one.
    pub(super) fn holds_something(&self) -> bool {
        self.number > 0 || !self.damages.is_empty()
    }

    /// Sets damage aside. A segment whose damage cannot be set aside stays as it is.
    pub(super) fn set_aside(&mut self, directory: &Path, told: &mut Vec<String>) {
        let aside = Part::Damaged.of(directory);
        for Damage { segment, at, bytes } in std::mem::take(&mut self.damages) {
            let path = place::free(&aside, &format!("journal-{segment:010}-{at}.part"));
            let length = bytes.len();
            match place::write(&path, &bytes) {
                Ok(()) => told.push(format!(
                    "{length} bytes of segment {segment} of the journal are damaged; they are set aside as {}, and \
                     the rest was read",
                    path.display()
                )),
                Err(cause) => {
                    if let Some(old) = self.index.old.iter_mut().find(|old| old.number == segment) {
                        old.pinned = true;
                    }
                    told.push(format!(
                        "{length} bytes of segment {segment} of the journal are damaged, and cannot be set aside: \
                         {cause}; the segment is kept as it is"
                    ));
                }
            }
        }
    }

    /// What the runner has to see to.
    pub(super) fn recovered(&self, directory: &Path) -> io::Result<Recovered> {
        let mut recovered = Recovered { results: self.index.results.files, ..Recovered::default() };
        let mut left = Vec::new();
        for entry in self.index.entries().values() {
            left.extend(entry.lease.map(|place| (place, *entry)));
        }
        left.sort_unstable_by_key(|(place, _)| (place.segment, place.at));
        for (place, entry) in left {
            let path = segment::path(directory, place.segment);
            let file = place::regular(std::fs::OpenOptions::new().read(true), &path)?;
            let bytes = super::journal::read(&file, place)?;
            let Some(record) = record::decode(place.segment, &bytes) else { continue };
            let task_id = String::from_utf8_lossy(record.task).into_owned();
            if let Some((group, started)) = entry.process {
                recovered.processes.push(Process { task_id: task_id.clone(), group, started });
            }
            match Left::read(&record) {
                Some(note) if entry.result.is_some() => recovered.finished.push(note),
                None if entry.result.is_some() => {}
                Some(note) if entry.yielding => recovered.unsure.push(note),
                Some(note) => recovered.give_back.push(note),
                None => recovered.left_alone.push(task_id),
            }
        }
        Ok(recovered)
    }
}
