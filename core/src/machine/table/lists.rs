//! Lists of entries: free, spent, to be spilled.

use super::{List, Table};
use crate::machine::entry::Storage;
use crate::machine::kind::Kind;

impl<S: Storage, M: Kind> Table<S, M> {
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
}
