//! What is going to happen, in order: by time, and by order of origin within one time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use downbeat_core::machine::Instant;

/// A queue of events. Equal times keep the order in which they were put in, so that a run is a function of its seed.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    items: Vec<Option<T>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), items: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(crate) fn put(&mut self, at: Instant, item: T) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.items.get_mut(index as usize) {
            *place = Some(item);
            self.sequence += 1;
            self.heap.push(Reverse((at, self.sequence, index)));
        }
    }

    pub(crate) fn take(&mut self) -> Option<(Instant, T)> {
        let Reverse((at, _, index)) = self.heap.pop()?;
        let item = self.items.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some((at, item))
    }
}
