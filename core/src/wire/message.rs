//! Messages without the formatting machinery, which is a tenth of a small image.

use core::fmt;

use super::out::{Full, Out, SliceBuffer, put_number};

/// A part of a message.
#[derive(Clone, Copy)]
pub(crate) enum Piece {
    Text(&'static str),
    Number(usize),
}

/// A message: its parts in a row, where an empty text is none.
pub(crate) type Message = [Piece; 5];

/// Fills a message up with empty parts; what is beyond the fifth is left out.
pub(crate) fn message(parts: &[Piece]) -> Message {
    let mut message = [Piece::Text(""); 5];
    for (place, part) in message.iter_mut().zip(parts) {
        *place = *part;
    }
    message
}

/// Shows a message, for `Display`.
pub(super) fn show(message: &Message, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    message.iter().try_for_each(|part| match part {
        Piece::Text(text) => f.write_str(text),
        Piece::Number(number) => write!(f, "{number}"),
    })
}

/// Writes a message to the end of `out`, and leaves out what does not fit. Messages are ASCII: any byte is a boundary.
pub(crate) fn put_message(message: &Message, out: &mut dyn Out) {
    let _: Result<(), Full> = message.iter().try_for_each(|part| match part {
        Piece::Text(text) => put_bytes(text.as_bytes(), out),
        Piece::Number(number) => {
            let mut memory = [0; 20];
            let mut digits = SliceBuffer::new(&mut memory);
            put_number(u64::try_from(*number).unwrap_or(u64::MAX), &mut digits)?;
            put_bytes(digits.into_bytes(), out)
        }
    });
}

fn put_bytes(bytes: &[u8], out: &mut dyn Out) -> Result<(), Full> {
    bytes.chunks(1).try_for_each(|byte| out.put(byte))
}
