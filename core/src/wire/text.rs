//! Strings: escapes decoded into bounded memory, and texts cut to a bound.

use core::fmt::{self, Write as _};

use heapless::{String, Vec};

use super::ids::ID_MAX;
use super::out::Out;

/// The content of a JSON string, escapes and all, borrowed from the document.
///
/// It compares with `str` and displays by what it means, not by how it is written.
///
/// ```
/// use downbeat_core::wire::Text;
/// let text = Text::escaped(r"caf\u00e9 \ud83c\udf75");
/// assert_eq!(text, *"café 🍵");
/// assert_eq!(text.decode::<16>().unwrap(), "café 🍵");
/// assert_eq!(text.plain(), None); // it has escapes
/// ```
#[derive(Clone, Copy, Default)]
pub struct Text<'a> {
    raw: &'a str,
}

impl<'a> Text<'a> {
    /// Takes what stands between the quotes of a JSON string. Escapes that are none decode to U+FFFD.
    #[must_use]
    pub const fn escaped(raw: &'a str) -> Self {
        Self { raw }
    }

    /// Returns what stands between the quotes.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// Returns the text itself if it has no escapes, which is nearly always.
    #[must_use]
    pub fn plain(&self) -> Option<&'a str> {
        (!self.raw.contains('\\')).then_some(self.raw)
    }

    /// Returns whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Returns the characters; a lone surrogate is U+FFFD.
    #[must_use]
    pub fn chars(&self) -> Chars<'a> {
        Chars { rest: self.raw.chars(), unescape: Unescape::new(), next: None }
    }

    /// Returns the text in memory of its own, at most `N` bytes of UTF-8.
    ///
    /// # Errors
    /// [`TooLong`]: it needs more.
    pub fn decode<const N: usize>(&self) -> Result<String<N>, TooLong> {
        let mut text = String::new();
        for c in self.chars() {
            text.push(c).map_err(|_| TooLong)?;
        }
        Ok(text)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Text<'_> {}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|c| f.write_char(c))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.raw)
    }
}

/// A text is longer than its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text is longer than the place for it")
    }
}

impl core::error::Error for TooLong {}

/// The characters of a [`Text`].
#[derive(Clone, Debug)]
pub struct Chars<'a> {
    rest: core::str::Chars<'a>,
    unescape: Unescape,
    next: Option<char>,
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        if let Some(c) = self.next.take() {
            return Some(c);
        }
        for c in self.rest.by_ref() {
            match self.unescape.push(c) {
                [Some(first), second] => {
                    self.next = second;
                    return Some(first);
                }
                [None, Some(only)] => return Some(only),
                [None, None] => {}
            }
        }
        self.unescape.finish()
    }
}

/// Formats into `N` bytes and leaves out what does not fit, on a character's boundary.
///
/// ```
/// use downbeat_core::wire::bounded;
/// assert_eq!(bounded::<5>(format_args!("n = {}", "äö")), "n = "); // `ä` would need bytes 5 and 6
/// ```
#[must_use]
pub fn bounded<const N: usize>(args: fmt::Arguments<'_>) -> String<N> {
    let mut text = Vec::<u8, N>::new();
    // Only `Cut` itself could fail, and it does not: a failing `Display` of the caller leaves a shorter text.
    let _ = Cut { out: &mut text, full: false }.write_fmt(args);
    String::from_utf8(text).unwrap_or_default()
}

struct Cut<'o> {
    out: &'o mut dyn Out,
    full: bool,
}

impl fmt::Write for Cut<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            let mut utf8 = [0; 4];
            self.full = self.full || self.out.put(c.encode_utf8(&mut utf8).as_bytes()).is_err();
        }
        Ok(())
    }
}

/// Decodes escapes one character at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unescape {
    state: State,
    /// The digits of the present `\u` so far.
    unit: u16,
    /// A high surrogate that waits for its other half, or 0 for none.
    high: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Plain,
    Slash,
    Hex { left: u8 },
}

impl Unescape {
    pub(super) const fn new() -> Self {
        Self { state: State::Plain, unit: 0, high: 0 }
    }

    /// Takes one character as written, and returns up to two as meant (the first is a surrogate without its
    /// other half).
    pub(super) fn push(&mut self, c: char) -> [Option<char>; 2] {
        let meant = match self.state {
            State::Plain if c == '\\' => {
                self.state = State::Slash;
                return [None, None];
            }
            State::Plain => c,
            State::Slash if c == 'u' => {
                self.state = State::Hex { left: 4 };
                return [None, None];
            }
            State::Slash => match c {
                '"' | '\\' | '/' => c,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                _ => char::REPLACEMENT_CHARACTER,
            },
            State::Hex { left } => {
                let digit = c.to_digit(16).and_then(|digit| u16::try_from(digit).ok()).unwrap_or(0);
                self.unit = self.unit.wrapping_shl(4) | digit;
                if left > 1 {
                    self.state = State::Hex { left: left.wrapping_sub(1) };
                    return [None, None];
                }
                match self.unit {
                    0xd800..=0xdbff => {
                        self.state = State::Plain;
                        let alone = self.finish();
                        self.high = self.unit;
                        return [alone, None];
                    }
                    low @ 0xdc00..=0xdfff if self.high != 0 => {
                        let high = u32::from(core::mem::take(&mut self.high) & 0x3ff);
                        let above = high.wrapping_shl(10) | u32::from(low & 0x3ff);
                        char::from_u32(above.wrapping_add(0x1_0000)).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    unit => char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
        };
        self.state = State::Plain;
        [self.finish(), Some(meant)]
    }

    /// Whether characters but the backslash mean themselves now, and nothing waits.
    const fn is_idle(&self) -> bool {
        matches!(self.state, State::Plain) && self.high == 0
    }

    /// What is left at the end: a surrogate without its other half.
    pub(super) fn finish(&mut self) -> Option<char> {
        (core::mem::take(&mut self.high) != 0).then_some(char::REPLACEMENT_CHARACTER)
    }
}

/// Collects a string's bytes as they arrive, decoded, up to [`ID_MAX`] bytes.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    text: Vec<u8, ID_MAX>,
    unescape: Unescape,
    too_long: bool,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { text: Vec::new(), unescape: Unescape::new(), too_long: false }
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.unescape = Unescape::new();
        self.too_long = false;
    }

    /// Takes bytes of the content that the scanner has passed, so that they are UTF-8 as a whole.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.unescape.is_idle() && !bytes.contains(&b'\\') {
            return self.bytes(bytes);
        }
        for byte in bytes {
            if byte.is_ascii() {
                let [first, second] = self.unescape.push(char::from(*byte));
                self.put(first);
                self.put(second);
            } else {
                self.finish();
                self.bytes(&[*byte]);
            }
        }
    }

    /// Ends the string.
    pub(super) fn finish(&mut self) {
        let alone = self.unescape.finish();
        self.put(alone);
    }

    /// The text, if it fitted.
    pub(super) fn text(&self) -> Option<&str> {
        core::str::from_utf8(&self.text).ok().filter(|_| !self.too_long)
    }

    fn put(&mut self, c: Option<char>) {
        if let Some(c) = c {
            self.bytes(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.too_long = self.too_long || self.text.extend_from_slice(bytes).is_err();
    }
}
