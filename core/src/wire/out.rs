//! Where bytes are written to.

use core::fmt;

/// Takes bytes, all or none of a piece.
pub trait Out {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Full`] if there is not room for all of them; nothing of them was written.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full>;
}

/// Takes bytes and gives them back: what a [`TaskFilter`](super::TaskFilter) keeps tasks in.
pub trait Buffer: Out {
    /// Empties the buffer.
    fn clear(&mut self);
    /// What was put since.
    fn bytes(&self) -> &[u8];
    /// How many bytes it holds at the most.
    fn room(&self) -> usize;
}

impl<O: Out + ?Sized> Out for &mut O {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        (**self).put(bytes)
    }
}

impl<B: Buffer + ?Sized> Buffer for &mut B {
    fn clear(&mut self) {
        (**self).clear();
    }

    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }

    fn room(&self) -> usize {
        (**self).room()
    }
}

/// There is no room for what was to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the buffer is too small for what is to be written into it")
    }
}

impl core::error::Error for Full {}

/// Writes into memory that the caller owns.
///
/// ```
/// use downbeat_core::wire::{Buffer, Out, SliceBuffer};
/// let mut memory = [0; 4];
/// let mut buffer = SliceBuffer::new(&mut memory);
/// assert!(buffer.put(b"abc").is_ok());
/// assert!(buffer.put(b"de").is_err()); // all or nothing
/// assert_eq!(buffer.bytes(), b"abc");
/// ```
pub struct SliceBuffer<'b> {
    memory: &'b mut [u8],
    len: usize,
}

impl<'b> SliceBuffer<'b> {
    /// Starts empty.
    #[must_use]
    pub const fn new(memory: &'b mut [u8]) -> Self {
        Self { memory, len: 0 }
    }

    /// Returns how many bytes were written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns what was written, for as long as the memory lives.
    #[must_use]
    pub fn into_bytes(self) -> &'b mut [u8] {
        let len = self.len;
        self.memory.get_mut(..len).unwrap_or_default()
    }

    /// The memory that is still free; [`SliceBuffer::grow`] makes what is written there part of the buffer.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.len..).unwrap_or_default()
    }

    pub(super) fn grow(&mut self, by: usize) {
        self.len = self.len.saturating_add(by).min(self.memory.len());
    }
}

/// Shows how much is written, not what: bodies may hold secrets.
impl fmt::Debug for SliceBuffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SliceBuffer({} of {} bytes)", self.len, self.memory.len())
    }
}

impl Out for SliceBuffer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len.checked_add(bytes.len()).ok_or(Full)?;
        self.memory.get_mut(self.len..end).ok_or(Full)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

impl Buffer for SliceBuffer<'_> {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }

    fn room(&self) -> usize {
        self.memory.len()
    }
}

impl<const N: usize> Out for heapless::Vec<u8, N> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.extend_from_slice(bytes).map_err(|_| Full)
    }
}

impl<const N: usize> Buffer for heapless::Vec<u8, N> {
    fn clear(&mut self) {
        Self::clear(self);
    }

    fn bytes(&self) -> &[u8] {
        self.as_slice()
    }

    fn room(&self) -> usize {
        N
    }
}

/// Writes a number in decimal digits, without the formatting machinery.
pub(crate) fn put_number(value: u64, out: &mut dyn Out) -> Result<(), Full> {
    let mut digits = [b'0'; 20];
    let (mut rest, mut first) = (value, digits.len());
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0'.wrapping_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        first = at;
        if rest == 0 {
            break;
        }
    }
    out.put(digits.get(first..).unwrap_or_default())
}

/// Counts what would be written: the length of a body before it is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counter {
    /// Bytes so far; saturates.
    pub len: usize,
}

impl Out for Counter {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.len = self.len.saturating_add(bytes.len());
        Ok(())
    }
}
