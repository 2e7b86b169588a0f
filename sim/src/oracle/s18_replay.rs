//! S18: the same scenario gives the same record. The world compares each step with a clone's; this digests a run.

use std::fmt::Write as _;

use crate::event::{Event, Watcher};

/// Digests the events of a run, one after another, so that two runs can be compared and their first difference found.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    /// The digest of all events so far: 64-bit FNV-1a of their texts.
    pub hash: u64,
    /// How many there were.
    pub events: u64,
    text: String,
}

impl Watcher for Digest {
    fn on(&mut self, event: &Event) -> bool {
        self.text.clear();
        // Writing to a string does not fail.
        let _ = write!(self.text, "{event:?}");
        for byte in self.text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.events += 1;
        true
    }
}
