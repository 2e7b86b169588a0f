//! One record of the journal, as bytes: its frame, its checksum, and how the next one is found after a broken one.
//!
//! ```text
//! magic 4 | length of the payload 4 | number 8 | kind 1 | length of the task's id 1 | CRC-32 4 | payload
//! ```
//!
//! Numbers are little-endian. The payload begins with the task's id. The checksum covers all but the magic and itself,
//! and begins with the segment's number: a record counts only in the segment for which it was written. The magic is no
//! UTF-8, so no body, which is JSON, can hold a record.

/// The first bytes of each record.
const MAGIC: [u8; 4] = [0xFF, 0xDB, 0xFE, 0xA7];
/// Bytes before the payload.
pub(super) const HEAD: usize = 22;
/// Bytes of the largest body: a result is at most 10 MiB and its log.
pub(crate) const BODY_MAX: usize = 16 << 20;
/// Bytes of the largest payload: a body, the ids and names with it.
const PAYLOAD_MAX: usize = BODY_MAX + (64 << 10);

/// What a record says of its task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The segment's header: the start of the machine in place of a task's id, and the server that the store belongs to.
    Header,
    /// It is in hand; the body is a [`LeaseNote`](super::LeaseNote).
    Lease,
    /// The same, as format 1 noted it: without the poll count. It is only read.
    EarlyLease,
    /// A command runs for it: its process group and when that began.
    Process,
    /// A yield or give-back of it is about to be sent.
    Yielding,
    /// Its result.
    Result,
    /// The server has taken its result, or it is gone.
    Ended,
    /// For how long the server has refused its result.
    Refused,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Header,
        Self::Lease,
        Self::EarlyLease,
        Self::Process,
        Self::Yielding,
        Self::Result,
        Self::Ended,
        Self::Refused,
    ];

    const fn byte(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::EarlyLease => 2,
            Self::Process => 3,
            Self::Yielding => 4,
            Self::Result => 5,
            Self::Ended => 6,
            Self::Refused => 7,
            Self::Lease => 8,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// A record in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    /// Grows from record to record, over all segments.
    pub(super) number: u64,
    pub(super) task: &'a [u8],
    pub(super) body: &'a [u8],
    /// Bytes of the whole record.
    pub(super) length: usize,
}

/// Appends a record to `out`. The body comes in parts, so that nobody has to join them first.
pub(super) fn encode(
    out: &mut Vec<u8>,
    segment: u64,
    kind: Kind,
    number: u64,
    task: &[u8],
    body: &[&[u8]],
) -> Result<(), TooLarge> {
    let payload = task.len() + body.iter().map(|part| part.len()).sum::<usize>();
    let (Ok(id), Ok(length)) = (u8::try_from(task.len()), u32::try_from(payload)) else {
        return Err(TooLarge);
    };
    if payload > PAYLOAD_MAX {
        return Err(TooLarge);
    }
    let start = out.len();
    out.reserve(HEAD + payload);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&[kind.byte(), id]);
    let mut sum = summed(segment, out.get(start + 4..).unwrap_or_default());
    sum.update(task);
    body.iter().for_each(|part| sum.update(part));
    out.extend_from_slice(&sum.finalize().to_le_bytes());
    out.extend_from_slice(task);
    body.iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}

/// A record that is larger than any may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge;

fn summed(segment: u64, head: &[u8]) -> crc32fast::Hasher {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&segment.to_le_bytes());
    sum.update(head);
    sum
}

/// The record at the beginning of `bytes`, if there is a whole and sound one.
pub(super) fn decode(segment: u64, bytes: &[u8]) -> Option<Record<'_>> {
    claim(bytes).filter(|record| is_sound(segment, bytes, record))
}

/// The record that seems to be at the beginning of `bytes`, if it would be whole. Its checksum is not looked at.
fn claim(bytes: &[u8]) -> Option<Record<'_>> {
    let length = length(bytes)?;
    let (head, payload) = bytes.get(..length)?.split_at_checked(HEAD)?;
    let (task, body) = payload.split_at_checked(usize::from(*head.get(17)?))?;
    let kind = Kind::from_byte(*head.get(16)?)?;
    Some(Record { kind, number: u64::from_le_bytes(number(head, 8)?), task, body, length })
}

/// Whether the checksum of the record at the beginning of `bytes` is right.
fn is_sound(segment: u64, bytes: &[u8], record: &Record<'_>) -> bool {
    #[cfg(test)]
    tests::HASHED.with(|hashed| hashed.set(hashed.get() + record.length));
    let mut sum = summed(segment, bytes.get(4..18).unwrap_or_default());
    sum.update(record.task);
    sum.update(record.body);
    number(bytes, 18).map(u32::from_le_bytes) == Some(sum.finalize())
}

/// Bytes of the record that seems to begin here.
fn length(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(&MAGIC) {
        return None;
    }
    let payload = usize::try_from(u32::from_le_bytes(number(bytes, 4)?)).ok()?;
    (payload <= PAYLOAD_MAX).then_some(HEAD + payload)
}

/// The bytes of a number.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// What is at a place of a segment.
pub(super) enum Found<'a> {
    Record(Record<'a>),
    /// These bytes are no record; after them there is one, or nothing.
    Damaged(&'a [u8]),
    /// Nothing more. What is left, if anything, is a record that was cut off while it was written.
    End,
}

/// How many times the segment's bytes may be summed in vain, while a sound record is looked for after damage. Damage by
/// chance takes one; more is a file that was made to take long, and its rest is damage as a whole.
const IN_VAIN: usize = 4;

/// Reads a segment record by record, in time that is linear in its bytes, whatever they are.
pub(super) struct Reading<'a> {
    segment: u64,
    bytes: &'a [u8],
    at: usize,
    /// The end of what is written: what was preallocated and never written is zero.
    written: usize,
    /// Bytes that may still be summed in vain.
    in_vain: usize,
}

impl<'a> Reading<'a> {
    /// Begins at the byte `at`.
    pub(super) fn new(segment: u64, bytes: &'a [u8], at: usize) -> Self {
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self { segment, bytes, at, written, in_vain: bytes.len().saturating_mul(IN_VAIN) }
    }

    /// Where the next thing is.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Looks at what is next, and goes on after it. `after`: the number of the newest record; one that is not above it is
    /// what an earlier write has left behind, and does not count.
    pub(super) fn next(&mut self, after: u64) -> Found<'a> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let first = claim(rest).filter(|record| record.number > after);
        if let Some(record) = first.filter(|record| is_sound(self.segment, rest, record)) {
            self.at += record.length;
            return Found::Record(record);
        }
        self.in_vain = self.in_vain.saturating_sub(first.map_or(0, |record| record.length));
        let length = match self.search(after) {
            Some(at) => at - self.at,
            None => {
                let wrong = whole(rest);
                // There is no sound record in what is left.
                self.at = self.bytes.len();
                if wrong == 0 {
                    return Found::End;
                }
                return Found::Damaged(rest.get(..wrong).unwrap_or(rest));
            }
        };
        self.at += length;
        Found::Damaged(rest.get(..length).unwrap_or(rest))
    }

    /// Where the next sound record is, or the end of what is written once too much was summed in vain.
    fn search(&mut self, after: u64) -> Option<usize> {
        for at in self.at + 1..self.written {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let Some(record) = claim(rest).filter(|record| record.number > after) else { continue };
            if record.length > self.in_vain {
                return Some(self.written);
            }
            if is_sound(self.segment, rest, &record) {
                return Some(at);
            }
            self.in_vain -= record.length;
        }
        None
    }
}

/// Bytes of the records at the beginning of `bytes` that were written to their last byte: if they are wrong all the same,
/// they were not cut off.
fn whole(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(rest) = bytes.get(end..)
        && let Some(record) = length(rest).and_then(|length| rest.get(..length))
        && record.last().is_some_and(|last| *last != 0)
    {
        end += record.len();
    }
    end
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Bytes that this thread has summed up.
        pub(super) static HASHED: Cell<usize> = const { Cell::new(0) };
    }

    fn encoded(number: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, 7, Kind::Result, number, b"task", &[body]).unwrap();
        out
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_in_its_own_segment_alone() {
        let bytes = encoded(3, b"{}");
        let record = decode(7, &bytes).unwrap();
        assert_eq!((record.kind, record.number, record.length), (Kind::Result, 3, bytes.len()));
        assert_eq!((record.task, record.body), (&b"task"[..], &b"{}"[..]));
        assert!(decode(8, &bytes).is_none());
        for kind in Kind::ALL {
            assert_eq!(Kind::from_byte(kind.byte()), Some(kind));
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = encoded(3, br#"{"a":1}"#);
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            assert!(decode(7, &wrong).is_none(), "byte {at}");
            assert!(decode(7, &bytes[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn after_a_broken_record_the_next_one_is_found() {
        let mut bytes = encoded(3, br#"{"a":1}"#);
        let first = bytes.len();
        bytes.extend(encoded(4, br#"{"b":2}"#));
        bytes[30] ^= 1;
        let mut reading = Reading::new(7, &bytes, 0);
        let Found::Damaged(wrong) = reading.next(2) else { panic!("the first is broken") };
        assert_eq!((wrong.len(), reading.at()), (first, first));
        let Found::Record(record) = reading.next(2) else { panic!("the second is sound") };
        assert_eq!(record.number, 4);
        assert!(matches!(reading.next(4), Found::End));
        // What an earlier write left behind is no record.
        assert!(matches!(Reading::new(7, &bytes, first).next(3), Found::Record(_)));
        assert!(!matches!(Reading::new(7, &bytes, first).next(4), Found::Record(_)));
    }

    #[test]
    fn wrong_records_at_the_end_are_one_damage_and_what_was_cut_off_is_none() {
        let mut bytes = [encoded(3, b"{}"), encoded(4, b"{}")].concat();
        let wrong = bytes.len();
        bytes[18] ^= 1;
        bytes[wrong / 2 + 18] ^= 1;
        let cut = encoded(5, b"{}");
        bytes.extend(&cut[..cut.len() - 1]);
        let mut reading = Reading::new(7, &bytes, 0);
        assert!(matches!(reading.next(2), Found::Damaged(damage) if damage.len() == wrong));
        assert!(matches!(reading.next(2), Found::End));
    }

    /// Reads all of a segment; returns how many records and bytes of damage there are, and how many bytes were summed.
    fn read_all(bytes: &[u8]) -> (usize, usize, usize) {
        HASHED.set(0);
        let mut reading = Reading::new(7, bytes, 0);
        let (mut records, mut damaged) = (0, 0);
        loop {
            match reading.next(u64::try_from(records).unwrap()) {
                Found::Record(_) => records += 1,
                Found::Damaged(wrong) => damaged += wrong.len(),
                Found::End => return (records, damaged, HASHED.get()),
            }
        }
    }

    #[test]
    fn a_segment_full_of_beginnings_is_read_in_linear_time() {
        // Each seems to be a record that takes a quarter of the segment.
        let size = 1 << 20;
        let mut beginning = encoded(u64::MAX, b"");
        beginning[4..8].copy_from_slice(&u32::to_le_bytes(1 << 18));
        let mut bytes: Vec<u8> = beginning.iter().copied().cycle().take(size).collect();
        let (records, damaged, hashed) = read_all(&bytes);
        assert_eq!(records, 0);
        assert!(damaged >= size - (1 << 18), "{damaged} bytes");
        assert!(hashed <= (IN_VAIN + 1) * size, "{hashed} bytes were summed of {size}");
        // Sound records between them are read for as long as there is reason to.
        let sound = encoded(1, b"{}");
        bytes[..sound.len()].copy_from_slice(&sound);
        bytes[200..200 + sound.len()].copy_from_slice(&encoded(2, b"{}"));
        let (records, _, hashed) = read_all(&bytes);
        assert_eq!(records, 2);
        assert!(hashed <= (IN_VAIN + 1) * size, "{hashed} bytes were summed of {size}");
    }

    #[test]
    fn a_segment_full_of_small_wrong_records_is_summed_once() {
        let size = 1 << 20;
        let mut wrong = encoded(u64::MAX, b"");
        wrong[18] ^= 1;
        let bytes: Vec<u8> = wrong.iter().copied().cycle().take(size).collect();
        let (records, damaged, hashed) = read_all(&bytes);
        assert_eq!((records, damaged / wrong.len()), (0, size / wrong.len()));
        assert!(hashed <= size, "{hashed} bytes were summed of {size}");
    }

    #[test]
    fn nothing_is_larger_than_its_bound() {
        let body = vec![b'x'; PAYLOAD_MAX - 4];
        assert!(encode(&mut Vec::new(), 7, Kind::Result, 1, b"task", &[&body]).is_ok());
        assert!(encode(&mut Vec::new(), 7, Kind::Result, 1, b"tasks", &[&body]).is_err());
        assert!(encode(&mut Vec::new(), 7, Kind::Result, 1, &[b't'; 256], &[]).is_err());
    }
}
