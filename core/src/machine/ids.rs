//! Handles: what ties an answer to its question and a result to its task.

use core::fmt;

/// An entry of the table. The generation makes a stale handle harmless.
///
/// `index` is below the capacity of the table and may index the driver's own payload array; the next task in the
/// same entry has another generation (16 bits, wraps).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(into = "(u16, u16)", from = "(u16, u16)"))]
pub struct EntryId {
    index: u16,
    generation: u16,
}

impl EntryId {
    /// Restores a handle that was kept outside (a record, another language). The machine ignores a wrong one.
    #[must_use]
    pub const fn new(index: u16, generation: u16) -> Self {
        Self { index, generation }
    }

    /// Returns the index in the table: 0 up to the capacity, exclusive.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Returns how often this entry has been used, modulo 65,536.
    #[must_use]
    pub const fn generation(self) -> u16 {
        self.generation
    }
}

/// One request, so that an answer finds its question.
///
/// Unique among the calls of one machine: a serial number (32 bits, wraps), and the lane that the call occupies,
/// so that the machine finds an answer's entry without a search.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct CallId(u64);

/// What a call of a machine is for, and the index of the entry that it is about.
///
/// Exhaustive on purpose: whoever looks at a kind of call has to look at each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallKind {
    /// A poll.
    Poll,
    /// A refresh of the token.
    Refresh,
    /// A give-back of a surplus task, which has no entry.
    GiveBack,
    /// Update or spill of the entry with this index.
    Report(u16),
    /// Lease extension of the entry with this index.
    Extend(u16),
    /// Question about the task of the entry with this index.
    Ask(u16),
}

impl CallId {
    /// Restores a handle from [`CallId::to_bits`]. The machine ignores a wrong one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the handle as one number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Returns only the serial number. It is one more with every call of the machine, and wraps after 2^32.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the serial number")]
    pub const fn serial(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn new(kind: CallKind, serial: u32) -> Self {
        let (bits, index) = match kind {
            CallKind::Poll => (0, 0),
            CallKind::Refresh => (1, 0),
            CallKind::GiveBack => (2, 0),
            CallKind::Report(index) => (3, index),
            CallKind::Extend(index) => (4, index),
            CallKind::Ask(index) => (5, index),
        };
        Self((index as u64) << 40 | bits << 32 | serial as u64)
    }

    /// What the call is for.
    ///
    /// Returns `None` for a number that no machine has made.
    ///
    /// ```
    /// use downbeat_core::machine::{CallId, CallKind};
    /// assert_eq!(CallId::from_bits(7).kind(), Some(CallKind::Poll));
    /// assert_eq!(CallId::from_bits(u64::MAX).kind(), None);
    /// ```
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the index is 16 bits wide")]
    pub const fn kind(self) -> Option<CallKind> {
        let index = (self.0 >> 40) as u16;
        match (self.0 >> 32) & 0xff {
            0 => Some(CallKind::Poll),
            1 => Some(CallKind::Refresh),
            2 => Some(CallKind::GiveBack),
            3 => Some(CallKind::Report(index)),
            4 => Some(CallKind::Extend(index)),
            5 => Some(CallKind::Ask(index)),
            _ => None,
        }
    }
}

/// A task's identity: its UUID as a number, or a 128-bit digest of an id that is not one.
///
/// ```
/// use downbeat_core::machine::TaskKey;
/// let key = TaskKey::from_id("3b7b1f6e-0000-4000-8000-00000000002a");
/// assert_eq!(key.to_u128(), 0x3b7b1f6e_0000_4000_8000_00000000002a);
/// assert_ne!(TaskKey::from_id("task-1"), TaskKey::from_id("task-2"));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TaskKey(u64, u64);

impl TaskKey {
    /// Makes a key of a number.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "split into halves")]
    pub const fn from_u128(value: u128) -> Self {
        Self((value >> 64) as u64, value as u64)
    }

    /// Returns the key as a number.
    #[must_use]
    pub const fn to_u128(self) -> u128 {
        (self.0 as u128) << 64 | self.1 as u128
    }

    /// Makes a key of a task id as the server writes it.
    ///
    /// A UUID (8-4-4-4-12 hexadecimal digits, any case) becomes its own number; any other text is digested by
    /// 128-bit FNV-1a. A collision costs one task a delay until its lease ends; it is never run as another.
    #[must_use]
    pub fn from_id(id: &str) -> Self {
        Self::from_u128(uuid(id.as_bytes()).unwrap_or_else(|| fnv1a(id.as_bytes())))
    }

    /// Reads a key as `Display` writes it: a UUID, in any case. Returns `None` if it is not one; see
    /// [`TaskKey::from_id`].
    ///
    /// ```
    /// use downbeat_core::machine::TaskKey;
    /// let key = TaskKey::from_u128(0x2a);
    /// assert_eq!(TaskKey::from_uuid("00000000-0000-0000-0000-00000000002A"), Some(key));
    /// assert_eq!(TaskKey::from_uuid("task-1"), None);
    /// ```
    #[must_use]
    pub fn from_uuid(id: &str) -> Option<Self> {
        uuid(id.as_bytes()).map(Self::from_u128)
    }

    pub(crate) const fn low(self) -> u64 {
        self.0 ^ self.1
    }
}

/// As a UUID is written: 8-4-4-4-12 hexadecimal digits.
impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.0, self.1);
        write!(f, "{:08x}-{:04x}-{:04x}", high >> 32, high >> 16 & 0xffff, high & 0xffff)?;
        write!(f, "-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
    }
}

fn uuid(id: &[u8]) -> Option<u128> {
    if id.len() != 36 {
        return None;
    }
    let mut value: u128 = 0;
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16)?;
        value = value << 4 | u128::from(digit);
    }
    Some(value)
}

fn fnv1a(id: &[u8]) -> u128 {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in id {
        hash ^= u128::from(*byte);
        hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    hash
}
