//! Heaps of deadlines: which entry is due first, and when.

use super::Table;
use crate::machine::entry::{Entry, Heap, NIL, Storage};
use crate::machine::kind::Kind;
use crate::machine::time::Instant;

impl<S: Storage, M: Kind> Table<S, M> {
    /// The entry that is due first, or `NIL` if none is.
    pub(crate) fn first(&self, heap: Heap) -> u16 {
        if M::INDEXED {
            return if self.len(heap) == 0 { NIL } else { self.stands(heap, 0) };
        }
        let mut first = NIL;
        for index in 0..self.capacity() {
            // The first of equal deadlines counts, and no entry is due before one that does not exist.
            if self.due(heap, index) < self.due(heap, first) {
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
            return;
        }
        self.unset(heap, index);
        let position = self.len(heap);
        if let Some(len) = self.heaps.get_mut(heap as usize) {
            *len = position.saturating_add(1);
        }
        self.place(heap, index, position);
        self.sift_up(heap, position);
    }

    /// Files an entry anew whose deadline has changed; nothing if it had none.
    pub(crate) fn refile(&mut self, heap: Heap, index: u16) {
        if M::INDEXED && self.position(heap, index) != NIL {
            self.set(heap, index);
        }
    }

    /// Takes an entry's deadline back; nothing if it had none.
    pub(crate) fn unset(&mut self, heap: Heap, index: u16) {
        if !M::INDEXED {
            return;
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
        let owes = |entry: &&Entry| M::INDEXED || entry.owes(heap);
        self.get(index).filter(owes).map_or(Instant::FAR_FUTURE, |entry| entry.due::<M>(heap))
    }
}
