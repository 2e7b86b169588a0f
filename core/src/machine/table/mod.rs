//! The table of tasks and its indexes: who is free, who is due first, who holds a key.
//!
//! Nothing here scans, but for a lean machine's table: with few entries, a look at each is less code than an
//! index, and no slower.

mod heap;
mod keys;
mod lists;

use core::marker::PhantomData;

use super::entry::{Entry, Heap, NIL, Phase, Report, Storage};
use super::ids::{EntryId, TaskKey};
use super::kind::Kind;

/// Entries in caller-chosen storage, with a free list, four heaps of deadlines and a hash index threaded through them.
///
/// Taking, freeing and looking up an entry costs O(1) (expected, for the hash); a change of a deadline costs
/// O(log n). Without indexes ([`Kind::INDEXED`]) a change of a deadline costs nothing, all else O(n): an
/// entry's own state says what an index would hold of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "record",
    serde(bound(serialize = "S: serde::Serialize", deserialize = "S: serde::Deserialize<'de>"))
)]
pub(crate) struct Table<S, M> {
    entries: S,
    heaps: [u16; 4],
    lists: [u16; 3],
    held: u16,
    running: u16,
    #[cfg_attr(feature = "record", serde(skip))]
    kind: PhantomData<M>,
}

/// Which list of entries; an entry is in one at the most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum List {
    Free = 0,
    Spent = 1,
    Spill = 2,
}

impl<S: Storage, M: Kind> Table<S, M> {
    /// Takes over the storage, of free entries.
    pub(crate) fn new(entries: S) -> Self {
        let mut table =
            Self { entries, heaps: [0; 4], lists: [NIL; 3], held: 0, running: 0, kind: PhantomData };
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
    pub(crate) fn take(&mut self, key: TaskKey) -> Option<EntryId> {
        let index = self.pop(List::Free)?;
        let entry = self.get_mut(index)?;
        entry.key = key;
        entry.generation = entry.generation.wrapping_add(1);
        entry.phase = Phase::Running;
        entry.report = Report::NONE;
        entry.lease.length = 0;
        entry.lease.call.unauthorized = false;
        entry.outlive_calls();
        entry.ended = false;
        let id = entry.id(index);
        self.held = self.held.saturating_add(1);
        self.running = self.running.saturating_add(1);
        self.index_key(index);
        Some(id)
    }

    /// The code of a running entry has ended.
    pub(crate) fn end_run(&mut self, index: u16) {
        if let Some(entry) = self.get_mut(index).filter(|entry| entry.is_running()) {
            entry.phase = Phase::Reporting;
            self.running = self.running.saturating_sub(1);
            self.unset(Heap::Ask, index);
        }
    }

    /// Gives a held task another key: the server's retry of it goes on where it runs.
    pub(crate) fn change_key(&mut self, index: u16, key: TaskKey) -> Option<EntryId> {
        self.forget_key(index);
        let entry = self.get_mut(index)?;
        entry.key = key;
        let id = entry.id(index);
        self.index_key(index);
        Some(id)
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
        self.unset(Heap::Limit, index);
        self.unset(Heap::Ask, index);
        self.forget_key(index);
        if self.get(index).is_some_and(Entry::is_running) {
            self.running = self.running.saturating_sub(1);
        }
    }
}
