//! What the journal knows in memory: where the live records of each task are.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use super::parts::Used;

/// Where a record is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) at: u64,
    pub(super) length: u64,
}

/// What is known of one task.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// It is in hand.
    pub(super) lease: Option<Place>,
    /// The turn of that note, among the notes of all tasks.
    pub(super) delivery: u64,
    /// The process group of its command, and when that began.
    pub(super) process: Option<(i32, u64)>,
    /// A yield of it may have reached the server.
    pub(super) yielding: bool,
    pub(super) result: Option<Kept>,
    /// For how long the server has refused its result.
    pub(super) refused_ms: u64,
}

/// A result in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) place: Place,
    /// Bytes of its body.
    pub(super) bytes: u64,
    /// Its turn: grows from result to result, and stays when the record moves.
    pub(super) ticket: u64,
    /// The sender is to send it; else the runner still has it in hand.
    pub(super) waits: bool,
}

/// The key of a task: a hash that no server can make two ids agree on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key(u64, u64);

#[derive(Default)]
pub(super) struct Keys(RandomState, RandomState);

impl Keys {
    pub(super) fn of(&self, task: &[u8]) -> Key {
        Key(self.0.hash_one(task), self.1.hash_one(task))
    }
}

/// A segment that is not written to any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old {
    pub(super) number: u64,
    /// Bytes of the file.
    pub(super) length: u64,
    /// Bytes of its records that count.
    pub(super) live: u64,
    /// It has damage that could not be set aside, so it stays.
    pub(super) pinned: bool,
}

/// All live records.
#[derive(Default)]
pub(super) struct Index {
    entries: BTreeMap<Key, Entry>,
    /// Oldest first.
    pub(super) old: VecDeque<Old>,
    /// Live bytes in the segment that is written to.
    live_in_active: u64,
    /// Live bytes in all segments.
    pub(super) live: u64,
    /// Results, and their bytes.
    pub(super) results: Used,
    /// Those of them that the sender is to send.
    pub(super) waiting: Used,
    /// Tasks in hand whose result is not here yet.
    pub(super) in_hand: usize,
    tickets: u64,
    /// The turn of the newest note of a task in hand.
    pub(super) deliveries: u64,
}

impl Index {
    pub(super) fn entry(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub(super) fn entry_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    pub(super) const fn entries(&self) -> &BTreeMap<Key, Entry> {
        &self.entries
    }

    /// A task is in hand: what an earlier delivery of it did is over, but not its result. Returns the turn of this one.
    pub(super) fn lease(&mut self, key: Key, place: Place) -> u64 {
        self.deliveries += 1;
        let delivery = self.deliveries;
        let entry = self.entries.entry(key).or_default();
        let before = entry.lease.replace(place);
        (entry.process, entry.yielding, entry.delivery) = (None, false, delivery);
        let counts = before.is_none() && entry.result.is_none();
        if let Some(before) = before {
            self.less(before);
        }
        self.in_hand += usize::from(counts);
        self.more(place);
        delivery
    }

    /// A task has a result; whoever takes it over after a crash needs the note of its lease still. Returns the result's ticket.
    pub(super) fn result(&mut self, key: Key, place: Place, bytes: u64, waits: bool) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let entry = self.entries.entry(key).or_default();
        let was_in_hand = entry.lease.is_some() && entry.result.is_none();
        // Whoever has handed a result over does not take it back with a later one.
        let waits = waits || entry.result.is_some_and(|before| before.waits);
        let before = entry.result.replace(Kept { place, bytes, ticket, waits });
        (entry.process, entry.yielding) = (None, false);
        self.in_hand = self.in_hand.saturating_sub(usize::from(was_in_hand));
        if let Some(before) = before {
            self.uncount(before);
        }
        self.count(Kept { place, bytes, ticket, waits });
        ticket
    }

    /// Takes back a result that did not become durable.
    pub(super) fn take_back(&mut self, key: Key, ticket: u64) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(kept) = entry.result.take_if(|kept| kept.ticket == ticket) {
            let is_in_hand = entry.lease.is_some();
            if !is_in_hand {
                self.entries.remove(&key);
            }
            self.in_hand += usize::from(is_in_hand);
            self.uncount(kept);
        }
    }

    /// The sender is to send a result; false: there is none.
    pub(super) fn hand_over(&mut self, key: Key) -> bool {
        let Some(kept) = self.entries.get_mut(&key).and_then(|entry| entry.result.as_mut()) else {
            return false;
        };
        if !std::mem::replace(&mut kept.waits, true) {
            let bytes = kept.bytes;
            self.waiting.add(bytes);
        }
        true
    }

    /// The runner takes a result over from the sender.
    pub(super) fn take_over(&mut self, key: Key) {
        let Some(kept) = self.entries.get_mut(&key).and_then(|entry| entry.result.as_mut()) else { return };
        if std::mem::replace(&mut kept.waits, false) {
            let bytes = kept.bytes;
            self.waiting.take(bytes);
        }
    }

    /// Forgets a task; false: there was nothing.
    pub(super) fn end(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.remove(&key) else { return false };
        if let Some(lease) = entry.lease {
            self.in_hand = self.in_hand.saturating_sub(usize::from(entry.result.is_none()));
            self.less(lease);
        }
        if let Some(kept) = entry.result {
            self.uncount(kept);
        }
        true
    }

    /// A record has moved.
    pub(super) fn moved(&mut self, key: Key, from: Place, to: Place) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.lease == Some(from) {
            entry.lease = Some(to);
        } else if let Some(kept) = entry.result.as_mut().filter(|kept| kept.place == from) {
            kept.place = to;
        } else {
            return;
        }
        self.less(from);
        self.more(to);
    }

    /// The segment that was written to is not any more.
    pub(super) fn retire(&mut self, number: u64, length: u64) {
        let live = std::mem::take(&mut self.live_in_active);
        self.old.push_back(Old { number, length, live, pinned: false });
    }

    /// Whether nothing counts any more, in no segment.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.old.is_empty()
    }

    /// Bytes of all segments but the one that is written to.
    pub(super) fn old_bytes(&self) -> u64 {
        self.old.iter().map(|old| old.length).sum()
    }

    fn count(&mut self, kept: Kept) {
        self.more(kept.place);
        self.results.add(kept.bytes);
        if kept.waits {
            self.waiting.add(kept.bytes);
        }
    }

    fn uncount(&mut self, kept: Kept) {
        self.less(kept.place);
        self.results.take(kept.bytes);
        if kept.waits {
            self.waiting.take(kept.bytes);
        }
    }

    fn more(&mut self, place: Place) {
        self.live += place.length;
        let live = self.live_in(place.segment);
        *live += place.length;
    }

    fn less(&mut self, place: Place) {
        self.live = self.live.saturating_sub(place.length);
        let live = self.live_in(place.segment);
        *live = live.saturating_sub(place.length);
    }

    fn live_in(&mut self, segment: u64) -> &mut u64 {
        match self.old.binary_search_by_key(&segment, |old| old.number) {
            Ok(at) => self.old.get_mut(at).map_or(&mut self.live_in_active, |old| &mut old.live),
            Err(_) => &mut self.live_in_active,
        }
    }
}
