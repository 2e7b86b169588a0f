//! Strings: escapes decoded into bounded memory, and texts cut to a bound.

use core::fmt::{self, Write as _};

use heapless::{String, Vec};

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

    /// What stands between the quotes.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The text itself, where it has no escapes: nearly always.
    #[must_use]
    pub fn plain(&self) -> Option<&'a str> {
        (!self.raw.contains('\\')).then_some(self.raw)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The characters; a lone surrogate is U+FFFD.
    #[must_use]
    pub fn chars(&self) -> Chars<'a> {
        Chars { rest: self.raw.chars(), unescape: Unescape::new(), next: None }
    }

    /// The text in memory of its own, at most `N` bytes of UTF-8.
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
    /// A high surrogate that waits for its other half.
    high: Option<u16>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Plain,
    Slash,
    Hex { left: u8, unit: u16 },
}

impl Unescape {
    pub(super) const fn new() -> Self {
        Self { state: State::Plain, high: None }
    }

    /// Takes one character as written; gives up to two as meant (the first: a surrogate that stayed alone).
    pub(super) fn push(&mut self, c: char) -> [Option<char>; 2] {
        match self.state {
            State::Plain if c == '\\' => {
                self.state = State::Slash;
                [None, None]
            }
            State::Plain => [self.finish(), Some(c)],
            State::Slash if c == 'u' => {
                self.state = State::Hex { left: 4, unit: 0 };
                [None, None]
            }
            State::Slash => {
                self.state = State::Plain;
                let meant = match c {
                    '"' | '\\' | '/' => c,
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    _ => char::REPLACEMENT_CHARACTER,
                };
                [self.finish(), Some(meant)]
            }
            State::Hex { left, unit } => {
                let digit = c.to_digit(16).and_then(|digit| u16::try_from(digit).ok()).unwrap_or(0);
                let unit = unit.wrapping_shl(4) | digit;
                if left > 1 {
                    self.state = State::Hex { left: left.saturating_sub(1), unit };
                    return [None, None];
                }
                self.state = State::Plain;
                self.unit(unit)
            }
        }
    }

    /// What is left at the end: a surrogate that stayed alone.
    pub(super) fn finish(&mut self) -> Option<char> {
        self.high.take().map(|_| char::REPLACEMENT_CHARACTER)
    }

    fn unit(&mut self, unit: u16) -> [Option<char>; 2] {
        match (self.high, unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.high = None;
                let pair = char::decode_utf16([high, unit]).next();
                [pair.and_then(Result::ok), None]
            }
            (_, 0xd800..=0xdbff) => {
                let alone = self.finish();
                self.high = Some(unit);
                [alone, None]
            }
            _ => {
                let meant = char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER);
                [self.finish(), Some(meant)]
            }
        }
    }
}

/// Collects a string's bytes as they arrive, decoded, up to `N` bytes.
#[derive(Clone, Debug)]
pub(super) struct Decoder<const N: usize> {
    text: String<N>,
    unescape: Unescape,
    /// The bytes of a character that is not whole yet.
    part: Vec<u8, 4>,
    too_long: bool,
}

impl<const N: usize> Decoder<N> {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), unescape: Unescape::new(), part: Vec::new(), too_long: false }
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.unescape = Unescape::new();
        self.part.clear();
        self.too_long = false;
    }

    /// Takes bytes of the content that the scanner has passed, so that they are UTF-8 as a whole.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if byte.is_ascii() {
                self.take(char::from(*byte));
                continue;
            }
            if self.part.push(*byte).is_err() {
                self.part.clear();
            }
            let whole = core::str::from_utf8(&self.part).ok().and_then(|part| part.chars().next());
            if let Some(c) = whole {
                self.part.clear();
                self.take(c);
            }
        }
    }

    /// Ends the string.
    pub(super) fn finish(&mut self) {
        let alone = self.unescape.finish();
        self.put(alone);
    }

    /// The text, where it fitted.
    pub(super) fn text(&self) -> Option<&String<N>> {
        (!self.too_long).then_some(&self.text)
    }

    fn take(&mut self, c: char) {
        let [first, second] = self.unescape.push(c);
        self.put(first);
        self.put(second);
    }

    fn put(&mut self, c: Option<char>) {
        if let Some(c) = c {
            self.too_long = self.too_long || self.text.push(c).is_err();
        }
    }
}
