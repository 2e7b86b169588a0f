//! Raw values, and the members of an object.

use core::fmt;

use super::scan::{Mark, Scanner, SyntaxError, SyntaxKind};
use super::text::Text;

/// One JSON value as it is written, borrowed from a document that the scanner has passed. `Debug` shows only
/// its size.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Value<'a> {
    raw: &'a [u8],
}

impl<'a> Value<'a> {
    pub(super) const fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// Returns the value's bytes, without white space around it.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.raw == b"null"
    }

    /// Returns whether it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.raw.first() == Some(&b'{')
    }

    /// Returns the text, if it is a string.
    #[must_use]
    pub fn text(&self) -> Option<Text<'a>> {
        let content = self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        core::str::from_utf8(content).ok().map(Text::escaped)
    }

    /// Returns the number, if it is an integer of 64 bits. A fraction, an exponent, or digits in a string are
    /// none.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self.raw.split_first()? {
            (b'-', rest) => 0_i64.checked_sub_unsigned(digits(rest)?),
            _ => i64::try_from(digits(self.raw)?).ok(),
        }
    }

    /// Returns the truth value, if it is one.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match self.raw {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

/// Only digits, at least one, at most what a u64 holds.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    let (first, rest) = text.split_first()?;
    rest.iter().try_fold(digit(first)?, |value, byte| value.checked_mul(10)?.checked_add(digit(byte)?))
}

fn digit(byte: &u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte & 15))
}

/// Iterates over the members of an object, in the order of the document, duplicates included.
///
/// After an error it is over; the members before it have been given, so that the beginning of a document that was
/// cut off can be read.
#[derive(Clone)]
pub struct Members<'a> {
    body: &'a [u8],
    scanner: Scanner,
    over: bool,
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.raw.len())
    }
}

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Members(at {} of {} bytes)", self.scanner.at(), self.body.len())
    }
}

/// Starts an iteration over the members of the object `body`.
#[must_use]
pub const fn members(body: &[u8]) -> Members<'_> {
    Members { body, scanner: Scanner::new(), over: false }
}

/// Finds the member `name` of the object `body`. The last of duplicates counts, as for Jackson and
/// `serde_json`.
///
/// # Errors
/// The document is not an object, or not JSON up to its end.
///
/// ```
/// use downbeat_core::wire::find;
/// let found = find(br#"{"a": {"b": 1}, "b": 2}"#, "b").unwrap().unwrap();
/// assert_eq!(found.integer(), Some(2));
/// ```
pub fn find<'a>(body: &'a [u8], name: &str) -> Result<Option<Value<'a>>, SyntaxError> {
    let mut found = None;
    for member in members(body) {
        let (key, value) = member?;
        if key == *name {
            found = Some(value);
        }
    }
    Ok(found)
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Text<'a>, Value<'a>), SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.advance().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<'a> Members<'a> {
    fn advance(&mut self) -> Result<Option<(Text<'a>, Value<'a>)>, SyntaxError> {
        let mut key = (0, 0);
        let mut value: Option<(usize, usize)> = None;
        let mut in_value = false;
        loop {
            let at = self.scanner.at();
            let rest = self.body.get(at..).unwrap_or_default();
            if self.scanner.run(rest) > 0 {
                continue;
            }
            let Some(byte) = rest.first() else {
                return self.scanner.finish().map(|()| None);
            };
            let mark = self.scanner.push(*byte)?;
            let after = self.scanner.at();
            match (self.scanner.depth(), mark) {
                (0, Mark::Text | Mark::Scalar) => {
                    return Err(SyntaxError { at, kind: SyntaxKind::NotObject });
                }
                (1, Mark::Open) if *byte == b'[' => {
                    return Err(SyntaxError { at, kind: SyntaxKind::NotObject });
                }
                (1, Mark::Key) => key.0 = after,
                (1, Mark::KeyEnd) => key.1 = at,
                (1, Mark::Colon) => in_value = true,
                (1, Mark::Comma) | (0, Mark::Close) => {
                    let Some((from, to)) = value else { continue };
                    return Ok(Some((
                        self.key(key),
                        Value::new(self.body.get(from..to).unwrap_or_default()),
                    )));
                }
                (1, Mark::Space) => {}
                _ if in_value => {
                    value = Some((value.map_or(at, |(from, _)| from), after));
                }
                _ => {}
            }
        }
    }

    fn key(&self, (from, to): (usize, usize)) -> Text<'a> {
        let raw = self.body.get(from..to).unwrap_or_default();
        Text::escaped(core::str::from_utf8(raw).unwrap_or_default())
    }
}
