//! Bytes that were read and not yet taken.

/// A window on memory of the caller's: bytes are read in at its end and taken off its front.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Inbox {
    from: usize,
    to: usize,
}

impl Inbox {
    /// Makes a window with nothing read yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { from: 0, to: 0 }
    }

    /// Makes a window that holds the `len` bytes that begin at `from`.
    #[must_use]
    pub const fn at(from: usize, len: usize) -> Self {
        Self { from, to: from.saturating_add(len) }
    }

    /// Returns what was read and not yet taken.
    #[must_use]
    pub fn bytes<'m>(&self, memory: &'m [u8]) -> &'m [u8] {
        memory.get(self.from..self.to).unwrap_or_default()
    }

    /// Returns where in the memory they begin.
    #[must_use]
    pub const fn from(&self) -> usize {
        self.from
    }

    /// Returns how many bytes that are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.to.saturating_sub(self.from)
    }

    /// Returns whether all that was read is taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the room behind what was read. If there is little, what is there moves to `start` first. Empty
    /// means that the memory from `start` on is full.
    pub fn room<'m>(&mut self, memory: &'m mut [u8], start: usize) -> &'m mut [u8] {
        if self.from > start && (self.is_empty() || self.to == memory.len()) {
            let len = self.len();
            if self.to <= memory.len() {
                memory.copy_within(self.from..self.to, start);
            }
            *self = Self::at(start, len);
        }
        memory.get_mut(self.to..).unwrap_or_default()
    }

    /// Tells that `count` bytes were read into the room.
    pub const fn filled(&mut self, count: usize) {
        self.to = self.to.saturating_add(count);
    }

    /// Takes `count` bytes off the front.
    pub const fn take(&mut self, count: usize) {
        let from = self.from.saturating_add(count);
        self.from = if from > self.to { self.to } else { from };
    }
}
