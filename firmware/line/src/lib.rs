//! Frames on a serial line: one TCP connection at a time, its opening and its end, and its bytes.
//!
//! A serial line shows neither an open nor a close, and may carry garbage. So all that goes over it is a frame:
//!
//! ```text
//! 0x00 | COBS( kind, connection, sequence, payload of 0 to 128 bytes, CRC-16 of all before ) | 0x00
//! ```
//!
//! After COBS no byte of a frame is zero, so a receiver that has lost its place finds it again at the next zero.
//! Frames of [`Kind::Data`] are numbered from 0 in each direction of each connection. A frame that fails its check
//! may have been anything: the receiver takes the connection as broken, and so does it with a gap in the numbers.
//! `firmware/README.md` has the protocol between the two ends.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Bytes that one frame carries at the most.
pub const PAYLOAD_MAX: usize = 128;

/// kind, connection, sequence.
const HEADER: usize = 3;
const CHECK: usize = 2;
/// What COBS makes of the longest frame, which is below its block of 254 bytes: one byte more.
const COBS_MAX: usize = HEADER + PAYLOAD_MAX + CHECK + 1;

/// Bytes that one frame takes on the line at the most, both delimiters included.
pub const FRAME_MAX: usize = COBS_MAX + 2;

/// What a frame is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// To the bridge: connect; whatever was open before is closed.
    Open,
    /// From the bridge: connected.
    Opened,
    /// From the bridge: the server could not be reached.
    Refused,
    /// Both ways: bytes of the connection.
    Data,
    /// Both ways: the connection is closed, or is to be.
    Close,
    /// From the bridge: a word to the worker, see [`DRAIN`].
    Command,
}

/// The payload of a [`Kind::Command`] that asks the worker to take no new task, finish what it has and stop.
pub const DRAIN: &[u8] = b"drain";

impl Kind {
    const fn byte(self) -> u8 {
        self as u8 + 1
    }

    const fn parse(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Open,
            2 => Self::Opened,
            3 => Self::Refused,
            4 => Self::Data,
            5 => Self::Close,
            6 => Self::Command,
            _ => return None,
        })
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Which connection it belongs to; the firmware numbers them, wrapping.
    pub connection: u8,
    /// The number of a [`Kind::Data`] frame in its direction, wrapping; else 0.
    pub sequence: u8,
    /// At most [`PAYLOAD_MAX`] bytes; what is longer is cut off by [`Frame::encode`].
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Writes the frame as it goes onto the line and gives its length.
    pub fn encode(&self, into: &mut [u8; FRAME_MAX]) -> usize {
        let payload = self.payload.get(..PAYLOAD_MAX).unwrap_or(self.payload);
        let head = [self.kind.byte(), self.connection, self.sequence];
        *into = [0; FRAME_MAX];
        // The first delimiter, the length of the first block, and the body where COBS leaves it.
        let end = 2 + HEADER + payload.len();
        put(into, 2, &head);
        put(into, 2 + HEADER, payload);
        let check = into.get(2..end).unwrap_or_default().iter().fold(CRC_START, crc);
        put(into, end, &check.to_be_bytes());
        // Each zero becomes the way to the next, the last one the way to the delimiter. All are below 256.
        let end = end + CHECK;
        let mut way = 0_u8;
        for byte in into.get_mut(1..end).unwrap_or_default().iter_mut().rev() {
            way = way.wrapping_add(1);
            if *byte == 0 {
                *byte = core::mem::take(&mut way);
            }
        }
        end + 1
    }
}

fn put(into: &mut [u8; FRAME_MAX], at: usize, bytes: &[u8]) {
    if let Some(place) = into.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Something between two delimiters that is no frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Garbage;

/// Finds frames in the bytes of a line.
#[derive(Clone, Debug)]
pub struct Decoder {
    held: [u8; COBS_MAX],
    /// Bytes since the last delimiter; more than are held where it is no frame.
    len: usize,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { held: [0; COBS_MAX], len: 0 }
    }

    /// Takes the next byte of the line. `Some` at the end of a frame, or of what should have been one.
    pub fn push(&mut self, byte: u8) -> Option<Result<Frame<'_>, Garbage>> {
        if byte != 0 {
            if let Some(place) = self.held.get_mut(self.len) {
                *place = byte;
            }
            self.len = self.len.saturating_add(1);
            return None;
        }
        match core::mem::take(&mut self.len) {
            0 => None,
            len => Some(self.frame(len).ok_or(Garbage)),
        }
    }

    fn frame(&mut self, len: usize) -> Option<Frame<'_>> {
        let len = uncobs(self.held.get_mut(..len)?)?;
        let (body, check) = self.held.get(..len)?.split_last_chunk::<CHECK>()?;
        if body.iter().fold(CRC_START, crc) != u16::from_be_bytes(*check) {
            return None;
        }
        let (&[kind, connection, sequence], payload) = body.split_first_chunk::<HEADER>()?;
        Some(Frame { kind: Kind::parse(kind)?, connection, sequence, payload })
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Undoes COBS in place and gives the length.
fn uncobs(bytes: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0_usize, 0_usize);
    while let Some(block) = bytes.get(from).map(|block| usize::from(*block)) {
        let end = from + block;
        if block == 0 || end > bytes.len() {
            return None;
        }
        bytes.copy_within(from + 1..end, to);
        to += block - 1;
        from = end;
        if from < bytes.len() {
            *bytes.get_mut(to)? = 0;
            to += 1;
        }
    }
    Some(to)
}

const CRC_START: u16 = 0xffff;

/// CRC-16/CCITT-FALSE, bit by bit: a table would cost 512 bytes of flash.
fn crc(check: u16, byte: &u8) -> u16 {
    (0..8).fold(check ^ u16::from(*byte) << 8, |check, _| {
        if check & 0x8000 == 0 { check << 1 } else { check << 1 ^ 0x1021 }
    })
}
