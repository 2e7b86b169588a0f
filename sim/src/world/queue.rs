//! What is going to happen, in order: by time, and by order of origin within one time.

use downbeat_core::machine::Instant;

/// A queue of events. Equal times keep the order in which they were put in, so that a run is a function of its seed.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: Heap,
    items: Vec<Option<T>>,
    free: Vec<u32>,
    sequence: u64,
}

/// Bits of a key's lowest part, the place of the item: more items do not fit in memory.
const PLACE: u32 = 28;
/// Bits of its middle part, the order of origin. It begins anew after 69 thousand million events.
const ORDER: u32 = 36;

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: Heap(Vec::new()), items: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(crate) fn put(&mut self, at: Instant, item: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(free) = self.items.get_mut(place as usize) {
            *free = Some(item);
            self.sequence = (self.sequence + 1) % (1 << ORDER);
            let low = (self.sequence << PLACE) | u64::from(place);
            self.heap.put((u128::from(at.as_micros()) << 64) | u128::from(low));
        }
    }

    pub(crate) fn take(&mut self) -> Option<(Instant, T)> {
        let key = self.heap.take()?;
        let (at, place) = ((key >> 64) as u64, key as u32 & ((1 << PLACE) - 1));
        let item = self.items.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some((Instant::from_micros(at), item))
    }
}

/// A heap in which each key has four below it. They lie side by side, in one line of the processor's cache,
/// and there are half as many levels as in a binary one. In a large fleet what takes time is memory, not
/// comparisons.
#[derive(Debug)]
struct Heap(Vec<u128>);

const BELOW: usize = 4;

impl Heap {
    fn put(&mut self, key: u128) {
        let keys = &mut self.0;
        let mut at = keys.len();
        keys.push(key);
        while at > 0 {
            let above = (at - 1) / BELOW;
            match keys.get(above).copied() {
                Some(other) if other > key => keys[at] = other,
                _ => break,
            }
            at = above;
        }
        keys[at] = key;
    }

    fn take(&mut self) -> Option<u128> {
        let keys = &mut self.0;
        let last = keys.pop()?;
        let Some(first) = keys.first().copied() else { return Some(last) };
        let mut at = 0;
        loop {
            let from = at * BELOW + 1;
            let below = keys.get(from..keys.len().min(from + BELOW)).unwrap_or_default();
            let Some((offset, least)) = below.iter().copied().enumerate().min_by_key(|(_, key)| *key) else {
                break;
            };
            if least >= last {
                break;
            }
            keys[at] = least;
            at = from + offset;
        }
        keys[at] = last;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn events_come_by_time_and_then_as_they_were_put_in() {
        let mut random = Random::stream(1, 2);
        let (mut queue, mut plain) = (Queue::new(), Vec::new());
        for number in 0..20_000_u64 {
            if random.percent(60) {
                let at = Instant::from_micros(random.below(500));
                queue.put(at, number);
                plain.push((at, number));
            } else {
                let first = plain.iter().copied().min();
                assert_eq!(queue.take(), first);
                plain.retain(|event| Some(*event) != first);
            }
        }
        plain.sort_unstable();
        for event in plain {
            assert_eq!(queue.take(), Some(event));
        }
        assert_eq!(queue.take(), None);
        queue.put(Instant::FAR_FUTURE, 7);
        assert_eq!(queue.take(), Some((Instant::FAR_FUTURE, 7)));
    }
}
