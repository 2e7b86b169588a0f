//! The hash index: which entry holds a key.

use super::Table;
use crate::machine::entry::{Entry, NIL, Storage};
use crate::machine::ids::TaskKey;
use crate::machine::kind::Kind;

impl<S: Storage, M: Kind> Table<S, M> {
    /// The entry that holds a key and has not been withdrawn.
    pub(crate) fn find(&self, key: TaskKey) -> Option<u16> {
        if !M::INDEXED {
            let holds = |entry: &Entry| entry.is_kept() && entry.key == key;
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
            return;
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

    pub(super) fn index_key(&mut self, index: u16) {
        if !M::INDEXED {
            return;
        }
        let Some(key) = self.get(index).map(|entry| entry.key) else { return };
        let bucket = self.bucket_of(key);
        let Some(head) = self.get_mut(bucket) else { return };
        let first = core::mem::replace(&mut head.links.bucket, index);
        if let Some(entry) = self.get_mut(index) {
            entry.links.chain = first;
        }
    }

    fn bucket_of(&self, key: TaskKey) -> u16 {
        let spread = key.low().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        let bucket = (spread.wrapping_mul(u64::from(self.capacity()))) >> 16;
        u16::try_from(bucket).unwrap_or(0)
    }
}
