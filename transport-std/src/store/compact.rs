//! New segments for old: what still counts moves on, and the rest of the disk is free again.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;

use super::index::{Key, Old, Place};
use super::journal::{Journal, State, of_size, process, read};
use super::place;
use super::record::{self, Kind};
use super::segment::{self, Segment};

/// Bytes of a segment that holds little but its header.
const FRESH: u64 = 64 << 10;

impl Journal {
    /// Begins a new segment. What still counts of the oldest moves into it, where that frees enough of the disk.
    pub(super) fn roll(&self, state: &mut State) -> io::Result<()> {
        state.segment += 1;
        let mut fresh = Segment::create(&self.directory, state.segment)?;
        #[cfg(test)]
        if let Some(active) = &state.active {
            fresh.room = std::sync::Arc::clone(&active.room);
        }
        state.number += 1;
        let mut header = Vec::new();
        record::encode(
            &mut header,
            fresh.number,
            Kind::Header,
            state.number,
            &place::boot(),
            &[self.server.as_bytes()],
        )
        .map_err(of_size)?;
        if let Err(cause) = fresh.append(&header, true) {
            drop(fs::remove_file(segment::path(&self.directory, fresh.number)));
            return Err(cause);
        }
        fresh.end_header();
        self.retire(state);
        state.active = Some(fresh);
        self.tidy(state);
        Ok(())
    }

    /// Removes the oldest segments for as long as nothing in them counts: on a full disk that is what makes room.
    pub(super) fn free(&self, state: &mut State) {
        while let Some(oldest) = state.index.old.front().filter(|oldest| !oldest.pinned && oldest.live == 0) {
            if !self.discard(oldest.number) {
                break;
            }
            state.index.old.pop_front();
        }
    }

    /// Removes a segment of which nothing counts, or empties it where its directory does not let it go; false: it is as it
    /// was. Then the later ones have to stay too: what they say has ended would be found in it at the next start.
    fn discard(&self, number: u64) -> bool {
        let Err(cause) = self.remove(number) else { return true };
        let emptied = self.empty(number).is_ok();
        if !emptied && !self.is_stuck.swap(true, Ordering::Relaxed) {
            let file = segment::path(&self.directory, number);
            tracing::error!(
                file = %file.display(),
                %cause,
                "a file of the store can be neither removed nor emptied; it is kept with all that follow it, and the store grows"
            );
        }
        emptied
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        #[cfg(test)]
        self.let_go(number, 1)?;
        match fs::remove_file(segment::path(&self.directory, number)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn empty(&self, number: u64) -> io::Result<()> {
        #[cfg(test)]
        self.let_go(number, 2)?;
        let path = segment::path(&self.directory, number);
        place::regular(fs::OpenOptions::new().write(true), &path)?.set_len(0)
    }

    /// Fails where a test has it so.
    #[cfg(test)]
    fn let_go(&self, number: u64, way: u8) -> io::Result<()> {
        let (held, ways) = *crate::context::lock(&self.holds_on);
        if number == held && way <= ways { Err(io::ErrorKind::ResourceBusy.into()) } else { Ok(()) }
    }

    /// Removes segments, the oldest first, so that no record outlives the one that says that it ended. One without live
    /// records goes; others are carried over once the files are twice as large as what they are for.
    fn tidy(&self, state: &mut State) {
        let mut gone = Vec::new();
        let mut carried = false;
        while let Some(oldest) = state.index.old.front().copied().filter(|oldest| !oldest.pinned) {
            if oldest.live > 0 {
                let spare = state.index.old_bytes().saturating_sub(state.index.live.saturating_mul(2));
                let few = state.index.live <= segment::LENGTH / 4;
                let end = state.active.as_ref().map_or(u64::MAX, |active| active.end);
                let fits = end < FRESH || end.saturating_add(oldest.live) <= segment::LENGTH;
                let worth_it = few || spare >= 2 * segment::LENGTH;
                if !(worth_it && fits && self.carry(state, oldest.number)) {
                    break;
                }
                carried = true;
            }
            state.index.old.pop_front();
            gone.push(Old { live: 0, ..oldest });
        }
        let synced = match &state.active {
            Some(active) if carried => self.sync(&active.file),
            Some(_) | None => Ok(()),
        };
        let mut kept = gone.into_iter().peekable();
        if synced.is_ok() {
            while kept.next_if(|oldest| self.discard(oldest.number)).is_some() {}
        }
        // What could not be made durable is still where it was, for the next start to read both.
        let kept: Vec<Old> = kept.map(|old| Old { pinned: synced.is_err(), ..old }).collect();
        for old in kept.into_iter().rev() {
            state.index.old.push_front(old);
        }
    }

    /// Writes what counts in a segment into the newest; false: not all of it could be.
    fn carry(&self, state: &mut State, number: u64) -> bool {
        let in_it = |place: &Place| place.segment == number;
        let mut moving: Vec<(u64, Key, Place)> = Vec::new();
        for (key, entry) in state.index.entries() {
            let result = entry.result.map(|kept| kept.place);
            moving.extend(
                entry.lease.into_iter().chain(result).filter(in_it).map(|place| (place.at, *key, place)),
            );
        }
        moving.sort_unstable_by_key(|(at, ..)| *at);
        let Ok(file) = self.file(state, number) else { return false };
        for (_, key, from) in moving {
            let Ok(bytes) = read(&file, from) else { return false };
            let Some(record) = record::decode(number, &bytes) else { return false };
            let Ok(to) = self.write(state, Some((record.kind, record.task, &[record.body])), true) else {
                return false;
            };
            state.index.moved(key, from, to);
            let Some(entry) = state.index.entry(key).copied() else { continue };
            let notes = match record.kind {
                Kind::Result if entry.refused_ms > 0 => {
                    vec![(Kind::Refused, entry.refused_ms.to_le_bytes().to_vec())]
                }
                Kind::Lease | Kind::EarlyLease => {
                    let process =
                        entry.process.map(|(group, began)| (Kind::Process, process(group, began).to_vec()));
                    process
                        .into_iter()
                        .chain(entry.yielding.then_some((Kind::Yielding, Vec::new())))
                        .collect()
                }
                Kind::Result
                | Kind::Header
                | Kind::Process
                | Kind::Yielding
                | Kind::Ended
                | Kind::Refused => Vec::new(),
            };
            for (kind, body) in notes {
                if self.write(state, Some((kind, record.task, &[&body])), true).is_err() {
                    return false;
                }
            }
        }
        true
    }
}
