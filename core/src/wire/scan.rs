//! The scanner: strict JSON, one byte at a time, without recursion and without memory beyond itself.

use core::fmt;

use super::message::{Message, Piece, message, show};

/// How deep arrays and objects may be nested for the scanner to tell one kind from the other.
///
/// Beyond it brackets are only counted, so that one monstrous value costs only itself; see [`Scanner::push`].
pub const DEPTH_MAX: u32 = 128;

/// Reads JSON (RFC 8259) byte by byte and says of each byte what it is.
///
/// It is strict about numbers, escapes, control characters and UTF-8; a lone surrogate escape is syntax, as in the
/// RFC (decoding makes it U+FFFD). Small (64 bytes on 64-bit machines), `Copy`, never allocates, never recurses.
///
/// ```
/// use downbeat_core::wire::{Mark, Scanner};
/// let mut scanner = Scanner::new();
/// assert_eq!(scanner.push(b'['), Ok(Mark::Open));
/// assert_eq!(scanner.push(b'1'), Ok(Mark::Scalar));
/// assert!(scanner.finish().is_err()); // not whole yet
/// assert_eq!(scanner.push(b']'), Ok(Mark::Close));
/// assert_eq!(scanner.finish(), Ok(()));
/// assert!(scanner.push(b'x').is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scanner {
    /// One bit per level: 1 is an object. In words, for small machines shift no wide numbers.
    objects: [u32; 4],
    at: usize,
    depth: u32,
    state: State,
}

/// What one byte is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// White space between tokens.
    Space,
    /// `{` or `[`; the depth is one more.
    Open,
    /// `}` or `]`; the depth is one less.
    Close,
    /// The opening quote of a member's name.
    Key,
    /// The closing quote of a member's name.
    KeyEnd,
    /// The opening quote of a string value.
    Text,
    /// The closing quote of a string value.
    TextEnd,
    /// The first byte of a number, `true`, `false` or `null`.
    Scalar,
    /// Within a name, a string, a number or a word.
    Inside,
    /// `:`
    Colon,
    /// `,`
    Comma,
}

/// Bytes that are not JSON, or not what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SyntaxError {
    /// The offset of the byte that does not fit, from the start of the document; its length if it ended
    /// early.
    pub at: usize,
    /// What is wrong there.
    pub kind: SyntaxKind,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SyntaxKind {
    /// The document ended in the middle.
    Ended,
    /// A value was expected.
    Value,
    /// A member's name, a string, was expected.
    Key,
    /// `:` was expected.
    Colon,
    /// `,` or the closing bracket was expected.
    Separator,
    /// Something follows the document's end.
    Trailing,
    /// A number is not as JSON writes them.
    Number,
    /// A word is not `true`, `false` or `null`.
    Word,
    /// A backslash is followed by something that is no escape.
    Escape,
    /// A control character stands unescaped in a string.
    Control,
    /// A string is not UTF-8.
    Utf8,
    /// Nested deeper than [`DEPTH_MAX`] if that is not tolerated.
    TooDeep,
    /// JSON, but neither a task nor an array of tasks.
    NotTasks,
    /// JSON, but not an object.
    NotObject,
}

impl SyntaxError {
    /// What is said of it, in four parts at most.
    pub(super) fn message(&self) -> Message {
        let what = match self.kind {
            SyntaxKind::Ended => "the document ends too early",
            SyntaxKind::Value => "a value was expected",
            SyntaxKind::Key => "a member's name was expected",
            SyntaxKind::Colon => "`:` was expected",
            SyntaxKind::Separator => "`,` or the closing bracket was expected",
            SyntaxKind::Trailing => "something follows the end of the document",
            SyntaxKind::Number => "not a number as JSON writes them",
            SyntaxKind::Word => "not `true`, `false` or `null`",
            SyntaxKind::Escape => "not an escape sequence",
            SyntaxKind::Control => "a control character must be escaped",
            SyntaxKind::Utf8 => "not UTF-8",
            SyntaxKind::TooDeep => {
                let (deeper, at) = (Piece::Text("JSON nested deeper than "), Piece::Text(" levels at byte "));
                return message(&[deeper, Piece::Number(DEPTH_MAX as usize), at, Piece::Number(self.at)]);
            }
            SyntaxKind::NotTasks => "neither a task nor an array of tasks",
            SyntaxKind::NotObject => "not an object",
        };
        let unfit = Piece::Text("unfit JSON at byte ");
        message(&[unfit, Piece::Number(self.at), Piece::Text(": "), Piece::Text(what)])
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.message(), f)
    }
}

impl core::error::Error for SyntaxError {}

/// Checks that `bytes` are one JSON value, at most [`DEPTH_MAX`] deep.
///
/// # Errors
/// Names the first byte that does not fit.
///
/// ```
/// use downbeat_core::wire::validate;
/// assert!(validate(br#"{"n": 123456789012345678901234567890}"#).is_ok());
/// assert_eq!(validate(b"[1,]").unwrap_err().at, 3);
/// ```
pub fn validate(bytes: &[u8]) -> Result<(), SyntaxError> {
    let mut scanner = Scanner::new();
    let mut rest = bytes;
    loop {
        let run = scanner.run(rest);
        rest = rest.get(run..).unwrap_or_default();
        let Some((byte, tail)) = rest.split_first() else { return scanner.finish() };
        scanner.push(*byte)?;
        if scanner.depth > DEPTH_MAX {
            return Err(SyntaxError { at: scanner.at.saturating_sub(1), kind: SyntaxKind::TooDeep });
        }
        rest = tail;
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    After,
    Done,
    /// Below [`DEPTH_MAX`]: brackets are counted, strings are read, the rest is let through.
    Deep,
    Str {
        key: bool,
        part: Part,
    },
    Number(Number),
    /// Which of [`WORDS`] comes next.
    Word(u8),
    Failed(SyntaxKind),
}

/// The words of JSON, each with a blank that ends it.
const WORDS: &[u8] = b"true false null ";

/// Where in a string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Plain,
    Slash,
    Hex { left: u8 },
    Utf8 { left: u8, low: u8, high: u8 },
}

/// Where in a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Number {
    Minus,
    Zero,
    Digits,
    Dot,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// Makes a scanner that expects a document.
    #[must_use]
    pub const fn new() -> Self {
        Self { objects: [0; 4], at: 0, depth: 0, state: State::Value }
    }

    /// Returns how many arrays and objects are open, after the last byte.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// Returns how many bytes were taken.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Takes the next byte.
    ///
    /// Below [`DEPTH_MAX`] levels, brackets are counted and strings are checked, but `[}` and a missing comma pass;
    /// whoever minds looks at [`Scanner::depth`].
    ///
    /// # Errors
    /// The byte cannot follow what came before. From then on every call answers the same error.
    pub fn push(&mut self, byte: u8) -> Result<Mark, SyntaxError> {
        match self.advance(byte) {
            Ok(mark) => {
                self.at = self.at.saturating_add(1);
                Ok(mark)
            }
            Err(kind) => {
                self.state = State::Failed(kind);
                Err(SyntaxError { at: self.at, kind })
            }
        }
    }

    /// Takes those first bytes that are plain ASCII within a string, and says how many: each is [`Mark::Inside`].
    ///
    /// A shortcut for [`Scanner::push`]; 0 wherever else the scanner is.
    pub fn run(&mut self, bytes: &[u8]) -> usize {
        if !matches!(self.state, State::Str { part: Part::Plain, .. }) {
            return 0;
        }
        let plain = |byte: &u8| matches!(byte, 0x20..=0x7f) && !matches!(byte, b'"' | b'\\');
        let run = bytes.iter().position(|byte| !plain(byte)).unwrap_or(bytes.len());
        self.at = self.at.saturating_add(run);
        run
    }

    /// Says whether the document is whole; call it at the end of the bytes.
    ///
    /// # Errors
    /// [`SyntaxKind::Ended`], or the error that [`Scanner::push`] answered before.
    pub fn finish(&self) -> Result<(), SyntaxError> {
        let kind = match self.state {
            State::Done => return Ok(()),
            State::Number(number) if self.depth == 0 && number.is_whole() => return Ok(()),
            State::Failed(kind) => kind,
            State::Value
            | State::ValueOrEnd
            | State::Key
            | State::KeyOrEnd
            | State::Colon
            | State::After
            | State::Deep
            | State::Str { .. }
            | State::Number(_)
            | State::Word(_) => SyntaxKind::Ended,
        };
        Err(SyntaxError { at: self.at, kind })
    }

    /// Ends the document with an error that only the reader above could find; it stays.
    pub(super) const fn fail(&mut self, at: usize, kind: SyntaxKind) -> SyntaxError {
        self.at = at;
        self.state = State::Failed(kind);
        SyntaxError { at, kind }
    }

    fn advance(&mut self, byte: u8) -> Result<Mark, SyntaxKind> {
        match self.state {
            State::Str { key, part } => self.string(key, part, byte),
            State::Number(number) => match number.next(byte) {
                Some(next) => {
                    self.state = State::Number(next);
                    Ok(Mark::Inside)
                }
                None if number.is_whole() => {
                    self.state = self.after();
                    self.between(byte)
                }
                None => Err(SyntaxKind::Number),
            },
            State::Word(at) => match WORDS.get(usize::from(at)..) {
                Some([first, next, ..]) if *first == byte => {
                    self.state = if *next == b' ' { self.after() } else { State::Word(at.wrapping_add(1)) };
                    Ok(Mark::Inside)
                }
                _ => Err(SyntaxKind::Word),
            },
            State::Failed(kind) => Err(kind),
            State::Value
            | State::ValueOrEnd
            | State::Key
            | State::KeyOrEnd
            | State::Colon
            | State::After
            | State::Done
            | State::Deep => self.between(byte),
        }
    }

    fn between(&mut self, byte: u8) -> Result<Mark, SyntaxKind> {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(Mark::Space);
        }
        match (self.state, byte) {
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => Ok(self.close()),
            (State::Value | State::ValueOrEnd, _) => self.value(byte),
            (State::Key | State::KeyOrEnd, b'"') => {
                self.state = State::Str { key: true, part: Part::Plain };
                Ok(Mark::Key)
            }
            (State::Key | State::KeyOrEnd, _) => Err(SyntaxKind::Key),
            (State::Colon, b':') => {
                self.state = State::Value;
                Ok(Mark::Colon)
            }
            (State::Colon, _) => Err(SyntaxKind::Colon),
            (State::After, b',') => {
                self.state = if self.in_object() { State::Key } else { State::Value };
                Ok(Mark::Comma)
            }
            (State::After, b'}') if self.in_object() => Ok(self.close()),
            (State::After, b']') if !self.in_object() => Ok(self.close()),
            (State::After, _) => Err(SyntaxKind::Separator),
            (State::Done, _) => Err(SyntaxKind::Trailing),
            (State::Deep, _) => self.deep(byte),
            (State::Failed(kind), _) => Err(kind),
            (State::Str { .. } | State::Number(_) | State::Word(_), _) => Err(SyntaxKind::Value),
        }
    }

    fn value(&mut self, byte: u8) -> Result<Mark, SyntaxKind> {
        self.state = match byte {
            b'{' => return self.open(true),
            b'[' => return self.open(false),
            b'"' => {
                self.state = State::Str { key: false, part: Part::Plain };
                return Ok(Mark::Text);
            }
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Digits),
            b't' => State::Word(1),
            b'f' => State::Word(6),
            b'n' => State::Word(12),
            _ => return Err(SyntaxKind::Value),
        };
        Ok(Mark::Scalar)
    }

    /// One byte below the depth that has bits: only what is needed to find the way back up.
    fn deep(&mut self, byte: u8) -> Result<Mark, SyntaxKind> {
        match byte {
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'}' | b']' => Ok(self.close()),
            b'"' => {
                self.state = State::Str { key: false, part: Part::Plain };
                Ok(Mark::Text)
            }
            b',' => Ok(Mark::Comma),
            b':' => Ok(Mark::Colon),
            b'+' | b'-' | b'.' | b'E' | b'0'..=b'9' | b'a'..=b'z' => Ok(Mark::Inside),
            _ => Err(SyntaxKind::Value),
        }
    }

    fn open(&mut self, object: bool) -> Result<Mark, SyntaxKind> {
        let (word, bit) = level(self.depth);
        if let Some(word) = self.objects.get_mut(word) {
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth = self.depth.checked_add(1).ok_or(SyntaxKind::TooDeep)?;
        self.state = if self.depth > DEPTH_MAX {
            State::Deep
        } else if object {
            State::KeyOrEnd
        } else {
            State::ValueOrEnd
        };
        Ok(Mark::Open)
    }

    const fn close(&mut self) -> Mark {
        self.depth = self.depth.saturating_sub(1);
        self.state = self.after();
        Mark::Close
    }

    const fn after(&self) -> State {
        match self.depth {
            0 => State::Done,
            1..=DEPTH_MAX => State::After,
            _ => State::Deep,
        }
    }

    fn in_object(&self) -> bool {
        let (word, bit) = level(self.depth.saturating_sub(1));
        self.objects.get(word).is_some_and(|word| word & bit != 0)
    }

    fn string(&mut self, key: bool, part: Part, byte: u8) -> Result<Mark, SyntaxKind> {
        let part = match (part, byte) {
            (Part::Plain, b'"') => {
                self.state = if key { State::Colon } else { self.after() };
                return Ok(if key { Mark::KeyEnd } else { Mark::TextEnd });
            }
            (Part::Plain, b'\\') => Part::Slash,
            (Part::Plain, 0x00..=0x1f) => return Err(SyntaxKind::Control),
            (Part::Plain, 0x20..=0x7f) => Part::Plain,
            (Part::Plain, _) => Part::lead(byte)?,
            (Part::Slash, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Part::Plain,
            (Part::Slash, b'u') => Part::Hex { left: 4 },
            (Part::Slash, _) => return Err(SyntaxKind::Escape),
            (Part::Hex { left }, _) if byte.is_ascii_hexdigit() => match left.saturating_sub(1) {
                0 => Part::Plain,
                left => Part::Hex { left },
            },
            (Part::Hex { .. }, _) => return Err(SyntaxKind::Escape),
            (Part::Utf8 { left, low, high }, _) if (low..=high).contains(&byte) => {
                match left.saturating_sub(1) {
                    0 => Part::Plain,
                    left => Part::Utf8 { left, low: 0x80, high: 0xbf },
                }
            }
            (Part::Utf8 { .. }, _) => return Err(SyntaxKind::Utf8),
        };
        self.state = State::Str { key, part };
        Ok(Mark::Inside)
    }
}

impl Part {
    /// The first byte of a longer UTF-8 sequence (RFC 3629, section 4).
    const fn lead(byte: u8) -> Result<Self, SyntaxKind> {
        let (left, low, high) = match byte {
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xe1..=0xec | 0xee | 0xef => (2, 0x80, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => return Err(SyntaxKind::Utf8),
        };
        Ok(Self::Utf8 { left, low, high })
    }
}

impl Number {
    const fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Some(Self::Digits),
            (Self::Zero | Self::Digits, b'.') => Some(Self::Dot),
            (Self::Dot | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::Sign),
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    const fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Digits | Self::Fraction | Self::Exponent)
    }
}

/// Which word of [`Scanner::objects`] a level is in, and which bit of it.
const fn level(depth: u32) -> (usize, u32) {
    ((depth / 32) as usize, 1 << (depth % 32))
}
