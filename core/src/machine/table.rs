//! The table of tasks and its indexes: who is free, who is due first, who holds a key.
//!
//! Nothing here scans, but for a lean machine's table: where there are a few entries, a look at each is less code than
//! an index, and no slower.

use core::marker::PhantomData;

use super::entry::{Entry, Extension, NIL, Phase, Report};
use super::ids::{SlotId, TaskKey};
use super::mutant::Mutant;
use super::time::Instant;

/// Entries in caller-chosen storage, with a free list, two heaps of deadlines and a hash index threaded through them.
///
/// Costs: taking, freeing and looking up an entry O(1) (expected, for the hash); a change of a deadline O(log n).
/// Without indexes ([`Mutant::INDEXED`]) a change of a deadline costs O(1), all else O(n); what an index would hold of
/// an entry is then the one link that says that it would be in it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "record",
    serde(bound(serialize = "S: serde::Serialize", deserialize = "S: serde::Deserialize<'de>"))
)]
pub(crate) struct Table<S, M> {
    entries: S,
    heaps: [u16; 2],
    lists: [u16; 3],
    held: u16,
    running: u16,
    #[cfg_attr(feature = "record", serde(skip))]
    kind: PhantomData<M>,
}

/// Which heap of deadlines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heap {
    Lease = 0,
    Report = 1,
}

/// Which list of entries; an entry is in one at the most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum List {
    Free = 0,
    Spent = 1,
    Spill = 2,
}

impl<S: AsRef<[Entry]> + AsMut<[Entry]>, M: Mutant> Table<S, M> {
    /// Takes over the storage, of free entries.
    pub(crate) fn new(entries: S) -> Self {
        let mut table =
            Self { entries, heaps: [0; 2], lists: [NIL; 3], held: 0, running: 0, kind: PhantomData };
        for index in (0..table.capacity()).rev() {
            table.push(List::Free, index);
        }
        table
    }

    pub(crate) fn capacity(&self) -> u16 {
        u16::try_from(self.entries.as_ref().len()).unwrap_or(NIL)
    }

    /// Entries that are not free.
    pub(crate) fn held(&self) -> u16 {
        self.held
    }

    /// Entries whose code runs.
    pub(crate) fn running(&self) -> u16 {
        self.running
    }

    pub(crate) fn free(&self) -> u16 {
        self.capacity().saturating_sub(self.held)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.entries.as_ref()
    }

    pub(crate) fn get(&self, index: u16) -> Option<&Entry> {
        self.entries.as_ref().get(usize::from(index))
    }

    pub(crate) fn get_mut(&mut self, index: u16) -> Option<&mut Entry> {
        self.entries.as_mut().get_mut(usize::from(index))
    }

    /// Takes a free entry for a task whose code runs now.
    pub(crate) fn take(&mut self, key: TaskKey) -> Option<SlotId> {
        let index = self.pop(List::Free)?;
        let entry = self.get_mut(index)?;
        entry.key = key;
        entry.generation = entry.generation.wrapping_add(1);
        entry.phase = Phase::Running;
        entry.report = Report::NONE;
        if entry.lease.in_flight == Extension::Own {
            entry.lease.in_flight = Extension::Former;
        }
        entry.lease.length = 0;
        entry.lease.refused = false;
        let slot = entry.slot(index);
        self.held = self.held.saturating_add(1);
        self.running = self.running.saturating_add(1);
        self.index_key(index);
        Some(slot)
    }

    /// The code of a running entry has ended.
    pub(crate) fn end_run(&mut self, index: u16) {
        if let Some(entry) = self.get_mut(index).filter(|entry| entry.is_running()) {
            entry.phase = Phase::Reporting;
            self.running = self.running.saturating_sub(1);
        }
    }

    /// Frees an entry. An extension in flight stays noted: its reply comes yet.
    pub(crate) fn release(&mut self, index: u16) {
        self.withdraw(index);
        if let Some(entry) = self.get_mut(index).filter(|entry| entry.phase != Phase::Free) {
            entry.phase = Phase::Free;
            self.held = self.held.saturating_sub(1);
            self.push(List::Free, index);
        }
    }

    /// Takes an entry out of all indexes, so that no obligation of it comes up again.
    pub(crate) fn withdraw(&mut self, index: u16) {
        self.unset(Heap::Lease, index);
        self.unset(Heap::Report, index);
        self.forget_key(index);
        if self.get(index).is_some_and(Entry::is_running) {
            self.running = self.running.saturating_sub(1);
        }
    }

    // ---------------------------------------------------------------- lists

    pub(crate) fn push(&mut self, list: List, index: u16) {
        let Some(head) = self.lists.get_mut(list as usize) else { return };
        let next = core::mem::replace(head, index);
        if let Some(entry) = self.get_mut(index) {
            entry.links.next = next;
        }
    }

    pub(crate) fn pop(&mut self, list: List) -> Option<u16> {
        let head = *self.lists.get(list as usize)?;
        let next = self.get(head)?.links.next;
        *self.lists.get_mut(list as usize)? = next;
        Some(head)
    }

    // ---------------------------------------------------------------- keys

    /// The entry that holds a key and has not been withdrawn.
    pub(crate) fn find(&self, key: TaskKey) -> Option<u16> {
        if !M::INDEXED {
            let holds = |entry: &Entry| entry.links.chain != NIL && entry.key == key;
            return (0..).zip(self.entries()).find(|(_, entry)| holds(entry)).map(|(index, _)| index);
        }
        let mut index = self.get(self.bucket_of(key))?.links.bucket;
        while let Some(entry) = self.get(index) {
            if entry.key == key {
                return Some(index);
            }
            index = entry.links.chain;
        }
        None
    }

    /// Takes an entry out of the hash index: its key may be held by another entry from now on.
    pub(crate) fn forget_key(&mut self, index: u16) {
        if !M::INDEXED {
            return self.link_key(index, NIL);
        }
        let Some(key) = self.get(index).map(|entry| entry.key) else { return };
        let bucket = self.bucket_of(key);
        let Some(first) = self.get(bucket).map(|entry| entry.links.bucket) else { return };
        let after = self.get(index).map_or(NIL, |entry| entry.links.chain);
        if first == index {
            if let Some(entry) = self.get_mut(bucket) {
                entry.links.bucket = after;
            }
            return;
        }
        let mut at = first;
        while let Some(entry) = self.get_mut(at) {
            if entry.links.chain == index {
                entry.links.chain = after;
                return;
            }
            at = entry.links.chain;
        }
    }

    fn index_key(&mut self, index: u16) {
        if !M::INDEXED {
            return self.link_key(index, index);
        }
        let Some(key) = self.get(index).map(|entry| entry.key) else { return };
        let bucket = self.bucket_of(key);
        let Some(head) = self.get_mut(bucket) else { return };
        let first = core::mem::replace(&mut head.links.bucket, index);
        self.link_key(index, first);
    }

    fn link_key(&mut self, index: u16, next: u16) {
        if let Some(entry) = self.get_mut(index) {
            entry.links.chain = next;
        }
    }

    fn bucket_of(&self, key: TaskKey) -> u16 {
        let spread = key.low().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        let bucket = (spread.wrapping_mul(u64::from(self.capacity()))) >> 16;
        u16::try_from(bucket).unwrap_or(0)
    }

    // ---------------------------------------------------------------- deadlines

    /// The entry that is due first; `NIL`: none is.
    pub(crate) fn first(&self, heap: Heap) -> u16 {
        if M::INDEXED {
            return if self.len(heap) == 0 { NIL } else { self.stands(heap, 0) };
        }
        let mut first = NIL;
        for index in 0..self.capacity() {
            // Of equal deadlines the first counts, and no entry is due before one that does not exist.
            if self.position(heap, index) != NIL
                && (first == NIL || self.due(heap, index) < self.due(heap, first))
            {
                first = index;
            }
        }
        first
    }

    /// When that entry is due; `FAR_FUTURE` for `NIL`.
    pub(crate) fn first_due(&self, heap: Heap) -> Instant {
        self.due(heap, self.first(heap))
    }

    /// The entry that is due first, if it is due by then.
    pub(crate) fn due_by(&self, heap: Heap, now: Instant) -> Option<u16> {
        let first = self.first(heap);
        (self.due(heap, first) <= now).then_some(first)
    }

    /// Makes an entry due; its deadline is read from it.
    pub(crate) fn set(&mut self, heap: Heap, index: u16) {
        if !M::INDEXED {
            return self.set_position(heap, index, 0);
        }
        self.unset(heap, index);
        let position = self.len(heap);
        if let Some(len) = self.heaps.get_mut(heap as usize) {
            *len = position.saturating_add(1);
        }
        self.place(heap, index, position);
        self.sift_up(heap, position);
    }

    /// Takes an entry's deadline back; nothing if it had none.
    pub(crate) fn unset(&mut self, heap: Heap, index: u16) {
        if !M::INDEXED {
            return self.set_position(heap, index, NIL);
        }
        let position = self.position(heap, index);
        if position == NIL {
            return;
        }
        let last = self.len(heap).saturating_sub(1);
        let moved = self.stands(heap, last);
        if let Some(len) = self.heaps.get_mut(heap as usize) {
            *len = last;
        }
        self.set_position(heap, index, NIL);
        if position != last {
            self.place(heap, moved, position);
            self.sift_up(heap, position);
            self.sift_down(heap, self.position(heap, moved));
        }
    }

    fn sift_up(&mut self, heap: Heap, mut position: u16) {
        while position > 0 {
            let parent = position.saturating_sub(1) / 2;
            if !self.before(heap, position, parent) {
                return;
            }
            self.swap(heap, position, parent);
            position = parent;
        }
    }

    fn sift_down(&mut self, heap: Heap, mut position: u16) {
        loop {
            let left = position.saturating_mul(2).saturating_add(1);
            let right = left.saturating_add(1);
            let mut first = position;
            for child in [left, right] {
                if child < self.len(heap) && self.before(heap, child, first) {
                    first = child;
                }
            }
            if first == position {
                return;
            }
            self.swap(heap, position, first);
            position = first;
        }
    }

    /// Whether the entry at one position is due before the one at another; equal deadlines go by index.
    fn before(&self, heap: Heap, a: u16, b: u16) -> bool {
        let (a, b) = (self.stands(heap, a), self.stands(heap, b));
        (self.due(heap, a), a) < (self.due(heap, b), b)
    }

    fn swap(&mut self, heap: Heap, a: u16, b: u16) {
        let (at_a, at_b) = (self.stands(heap, a), self.stands(heap, b));
        self.place(heap, at_a, b);
        self.place(heap, at_b, a);
    }

    fn place(&mut self, heap: Heap, index: u16, position: u16) {
        if let Some(stands) =
            self.get_mut(position).and_then(|entry| entry.links.stands.get_mut(heap as usize))
        {
            *stands = index;
        }
        self.set_position(heap, index, position);
    }

    fn set_position(&mut self, heap: Heap, index: u16, position: u16) {
        if let Some(entry) = self.get_mut(index).and_then(|entry| entry.links.position.get_mut(heap as usize))
        {
            *entry = position;
        }
    }

    fn position(&self, heap: Heap, index: u16) -> u16 {
        self.get(index).and_then(|entry| entry.links.position.get(heap as usize)).copied().unwrap_or(NIL)
    }

    fn stands(&self, heap: Heap, position: u16) -> u16 {
        self.get(position).and_then(|entry| entry.links.stands.get(heap as usize)).copied().unwrap_or(NIL)
    }

    fn len(&self, heap: Heap) -> u16 {
        self.heaps.get(heap as usize).copied().unwrap_or(0)
    }

    fn due(&self, heap: Heap, index: u16) -> Instant {
        self.get(index).map_or(Instant::FAR_FUTURE, |entry| match heap {
            Heap::Lease => entry.lease.due,
            Heap::Report => entry.report.due,
        })
    }
}
