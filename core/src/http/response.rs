//! Reads an answer as its bytes come in.

use core::fmt;
use core::time::Duration;

use super::date::http_date;
use super::word::word;
use crate::ports::{Cause, Head};
use crate::wire::digits;

/// Header lines of the longest head that is read.
pub const HEADERS_MAX: usize = 32;
/// Bytes of the longest body that is read: as many as the server itself takes by default, and a batch of them.
pub const BODY_MAX: u64 = 1 << 30;
/// Interim answers (1xx) before the answer.
const INTERIM_MAX: u8 = 8;
/// Bytes of blank lines before the answer.
const BLANKS_MAX: u16 = 4;
/// Bytes of a chunk's size, its extensions and its line's end.
const CHUNK_LINE_MAX: u16 = 1_024;
/// Bytes of all trailers.
const TRAILERS_MAX: u16 = 4_096;

/// One answer, read piece by piece. It keeps no bytes: what it does not take stays with the caller.
///
/// The head is taken as a whole, so the caller's buffer bounds it; a body is taken in any pieces. However the bytes
/// are cut, the events say the same.
///
/// | answer | its body |
/// | --- | --- |
/// | 1xx but 101 | skipped, the next head is the answer's |
/// | 204, 304 | none |
/// | `Transfer-Encoding: chunked` | chunks; their extensions and the trailers are skipped |
/// | `Content-Length` | as long as it says |
/// | neither | up to the connection's end |
///
/// Both framings at once, two different lengths or other codings are an error (RFC 9112, section 6.3:
/// somebody smuggles).
///
/// ```
/// use downbeat_core::http::{Event, Response};
/// let mut response = Response::new();
/// let bytes = b"HTTP/1.1 200 \r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n[]";
/// let (taken, event) = response.next(bytes)?;
/// let Event::Head(head) = event else { panic!("the head") };
/// assert_eq!((head.status, head.json), (200, true));
/// assert_eq!(response.next(&bytes[taken..])?, (2, Event::Chunk(b"[]")));
/// assert_eq!(response.next(b"")?, (0, Event::End));
/// assert!(response.keeps_connection());
/// # Ok::<(), downbeat_core::http::ResponseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    state: State,
    /// The server keeps the connection open after this answer.
    keep: bool,
    interim: u8,
    /// Bytes of the present line, of blank ones before the head, or of all trailers.
    line: u16,
    /// Bytes at the input's front in which no head ends.
    searched: usize,
    /// Bytes of the body, or of the present chunk, that are still to come; while its size is read, that.
    left: u32,
    /// Bytes of the body that were announced.
    body: u32,
}

/// What some bytes of an answer are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// Nothing yet: more bytes are needed, together with those that were not taken.
    More,
    /// The head, once.
    Head(Head),
    /// The next piece of the body; not empty.
    Chunk(&'a [u8]),
    /// The answer is over. What was not taken does not belong to it.
    End,
}

/// Bytes that are no answer, or not one within bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseError {
    /// Not HTTP/1.0 or 1.1, or a line of the head is malformed.
    Syntax,
    /// More than [`HEADERS_MAX`] header lines.
    TooManyHeaders,
    /// A status outside 200 to 599, or more than a few interim answers.
    Status,
    /// `Content-Length` is no number, or is given twice with different values.
    Length,
    /// A `Transfer-Encoding` other than `chunked`, or one beside a `Content-Length`.
    Coding,
    /// A chunk's size or end is malformed, or a line of it is too long.
    Chunk,
    /// The trailers are malformed or too long.
    Trailers,
    /// The body is longer than [`BODY_MAX`].
    TooLarge,
    /// The connection ended before the answer did.
    Closed,
}

impl ResponseError {
    /// Returns the error as a transport's failure has it.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::Closed => Cause::Closed,
            Self::TooLarge => Cause::TooLarge,
            Self::Syntax
            | Self::TooManyHeaders
            | Self::Status
            | Self::Length
            | Self::Coding
            | Self::Chunk
            | Self::Trailers => Cause::Protocol,
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "the answer is not HTTP/1.1",
            Self::TooManyHeaders => "the answer has too many headers",
            Self::Status => "the answer's status is not one of 200 to 599",
            Self::Length => "the answer's Content-Length cannot be read",
            Self::Coding => "the answer's Transfer-Encoding is not just `chunked`",
            Self::Chunk => "a chunk of the answer is malformed",
            Self::Trailers => "the answer's trailers are malformed or too long",
            Self::TooLarge => "the answer's body is too long",
            Self::Closed => "the connection ended before the answer did",
        })
    }
}

impl core::error::Error for ResponseError {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Head,
    Length,
    UntilClose,
    /// Before the digits of a chunk's size.
    Size,
    /// In the digits.
    Digits,
    /// Behind the digits, up to the line's end.
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    InTrailer,
    TrailerEnd,
    Over,
    Failed(ResponseError),
}

impl Default for Response {
    fn default() -> Self {
        Self::new()
    }
}

impl Response {
    /// Expects an answer.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Head, keep: false, interim: 0, line: 0, searched: 0, left: 0, body: 0 }
    }

    /// Takes bytes off the front of `input` and says how many and what they are.
    ///
    /// Call it again with what is left, until it returns [`Event::More`] or [`Event::End`]. After `More`, append
    /// what comes in to what is left: a head is taken only when it is whole.
    ///
    /// # Errors
    /// See [`ResponseError`]; every later call answers the same.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), ResponseError> {
        let mut rest = input;
        match self.advance(&mut rest) {
            Ok(event) => Ok((input.len().saturating_sub(rest.len()), event)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Tells that the connection ended, and returns whether the answer is whole.
    ///
    /// # Errors
    /// [`ResponseError::Closed`], or the error that [`Response::next`] answered before.
    pub fn finish(&mut self) -> Result<(), ResponseError> {
        if self.state == State::UntilClose {
            self.state = State::Over;
        }
        match self.state {
            State::Over => Ok(()),
            State::Failed(error) => Err(error),
            State::Head
            | State::Length
            | State::UntilClose
            | State::Size
            | State::Digits
            | State::Extension
            | State::SizeEnd
            | State::Data
            | State::DataCr
            | State::DataLf
            | State::Trailer
            | State::InTrailer
            | State::TrailerEnd => Err(self.fail(ResponseError::Closed)),
        }
    }

    /// Returns whether the answer is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Returns whether the head is still to come.
    #[must_use]
    pub const fn in_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Returns whether the next request may use the same connection, once the answer is over.
    #[must_use]
    pub const fn keeps_connection(&self) -> bool {
        self.keep && self.is_over()
    }

    const fn fail(&mut self, error: ResponseError) -> ResponseError {
        self.state = State::Failed(error);
        self.keep = false;
        error
    }

    fn advance<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Event<'a>, ResponseError> {
        loop {
            match self.state {
                State::Over => return Ok(Event::End),
                State::Failed(error) => return Err(error),
                State::Head => return Ok(self.head(rest)?.map_or(Event::More, Event::Head)),
                State::Length if self.left == 0 => self.state = State::Over,
                State::Data if self.left == 0 => self.state = State::DataCr,
                State::Length | State::Data | State::UntilClose => {
                    let piece = if self.state == State::UntilClose {
                        self.count(u64::try_from(rest.len()).unwrap_or(u64::MAX))?;
                        core::mem::take(rest)
                    } else {
                        self.piece(rest)
                    };
                    return Ok(if piece.is_empty() { Event::More } else { Event::Chunk(piece) });
                }
                State::Size
                | State::Digits
                | State::Extension
                | State::SizeEnd
                | State::DataCr
                | State::DataLf
                | State::Trailer
                | State::InTrailer
                | State::TrailerEnd => {
                    let Some((byte, tail)) = rest.split_first() else { return Ok(Event::More) };
                    *rest = tail;
                    self.state = self.framing(*byte)?;
                }
            }
        }
    }

    /// As much of the front of `rest` as is still to come.
    fn piece<'a>(&mut self, rest: &mut &'a [u8]) -> &'a [u8] {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
        let (piece, tail) = rest.split_at_checked(len).unwrap_or_default();
        *rest = tail;
        self.left = self.left.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        piece
    }

    // ---------------------------------------------------------------- head

    /// The head, once it is whole; what comes before it is skipped.
    fn head(&mut self, rest: &mut &[u8]) -> Result<Option<Head>, ResponseError> {
        loop {
            while let Some((b'\r' | b'\n', tail)) = rest.split_first() {
                // RFC 9112, section 2.2: blank lines that a server sent too many.
                self.line = self.line.saturating_add(1);
                if self.line > BLANKS_MAX {
                    return Err(ResponseError::Syntax);
                }
                *rest = tail;
            }
            if !begins_like_http(rest) {
                return Err(ResponseError::Syntax);
            }
            let from = self.searched.saturating_sub(2);
            self.searched = rest.len();
            let Some(end) = blank_line(rest, from) else { return Ok(None) };
            let (head, tail) = rest.split_at_checked(end).unwrap_or_default();
            let (minor, status, fields) = read_head(head)?;
            *rest = tail;
            self.line = 0;
            self.searched = 0;
            if matches!(status, 200..=599) {
                return self.begin(minor, status, &fields).map(Some);
            }
            self.interim = self.interim.saturating_add(1);
            if !matches!(status, 100 | 102..=199) || self.interim > INTERIM_MAX {
                return Err(ResponseError::Status);
            }
        }
    }

    fn begin(&mut self, minor: u8, status: u16, fields: &Fields) -> Result<Head, ResponseError> {
        if let Some(wrong) = fields.wrong {
            return Err(wrong);
        }
        self.keep = minor == b'1' && !fields.close;
        self.state = match fields.length {
            Some(_) if fields.chunked => return Err(ResponseError::Coding),
            _ if matches!(status, 204 | 304) => State::Length,
            None if fields.chunked => State::Size,
            Some(length) => {
                self.left = self.count(length)?;
                State::Length
            }
            None => {
                self.keep = false;
                State::UntilClose
            }
        };
        Ok(Head { status, retry_after: fields.retry_after(), json: fields.json })
    }

    /// So much more of the body is announced: its length, if all of it is within bounds.
    fn count(&mut self, more: u64) -> Result<u32, ResponseError> {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.body = self.body.saturating_add(more);
        if u64::from(self.body) > BODY_MAX { Err(ResponseError::TooLarge) } else { Ok(more) }
    }

    // ---------------------------------------------------------------- chunks

    /// One byte of what stands around the chunks.
    fn framing(&mut self, byte: u8) -> Result<State, ResponseError> {
        self.line = self.line.saturating_add(1);
        let (max, wrong) = if matches!(self.state, State::Trailer | State::InTrailer | State::TrailerEnd) {
            (TRAILERS_MAX, ResponseError::Trailers)
        } else {
            (CHUNK_LINE_MAX, ResponseError::Chunk)
        };
        if self.line > max {
            return Err(wrong);
        }
        match (self.state, byte) {
            (State::Size | State::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                // What does not fit is beyond the bound of a body.
                self.left = self.left.checked_mul(16).ok_or(ResponseError::TooLarge)? | digit;
                Ok(State::Digits)
            }
            (State::Digits | State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Digits, b';' | b' ' | b'\t') => Ok(State::Extension),
            (State::Extension, b'\n') => Err(wrong),
            (State::Extension, _) => Ok(State::Extension),
            (State::SizeEnd, b'\n') => {
                self.line = 0;
                self.count(u64::from(self.left))?;
                Ok(if self.left == 0 { State::Trailer } else { State::Data })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line = 0;
                self.left = 0;
                Ok(State::Size)
            }
            (State::Trailer, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerEnd, b'\n') => Ok(State::Over),
            (State::InTrailer, b'\n') => Ok(State::Trailer),
            (State::Trailer, b'\n') | (State::TrailerEnd, _) => Err(wrong),
            (State::Trailer | State::InTrailer, _) => Ok(State::InTrailer),
            _ => Err(wrong),
        }
    }
}

/// Whether an answer may begin so: noise on the line is noticed at once, and not when the time is over.
fn begins_like_http(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/1.").all(|(is, must)| is == must)
}

/// Where the first blank line ends, of which no part ends before `from`.
fn blank_line(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match bytes.get(at..)? {
            [] => return None,
            [b'\n', b'\n', ..] => return at.checked_add(2),
            [b'\n', b'\r', b'\n', ..] => return at.checked_add(3),
            _ => at = at.checked_add(1)?,
        }
    }
}

/// Reads a head up to its blank line: the digit of `HTTP/1.x`, the status, and what the headers say.
fn read_head(head: &[u8]) -> Result<(u8, u16, Fields), ResponseError> {
    let mut rest = head;
    let (minor, status) = status_line(line(&mut rest)).ok_or(ResponseError::Syntax)?;
    let mut fields = Fields::default();
    let mut count = 0_usize;
    loop {
        let mut value = line(&mut rest);
        if value.is_empty() {
            return Ok((minor, status, fields));
        }
        count = count.wrapping_add(1);
        if count > HEADERS_MAX {
            return Err(ResponseError::TooManyHeaders);
        }
        let whole = value.len();
        let name = word(&mut value, [b':'; 3]);
        if name.len() == whole || name.is_empty() || !name.iter().all(is_token) || !value.iter().all(is_text)
        {
            return Err(ResponseError::Syntax);
        }
        fields.take(name, value.trim_ascii());
    }
}

/// Takes a line off the front, and its end with it.
fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let line = word(rest, [b'\n'; 3]);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// `HTTP/1.1 200 OK`, where the reason, and the blank before it, may be missing.
fn status_line(line: &[u8]) -> Option<(u8, u16)> {
    let [minor @ (b'0' | b'1'), b' ', code @ ..] = line.strip_prefix(b"HTTP/1.")? else { return None };
    let (code, reason) = code.split_at_checked(3)?;
    let parted = reason.first().is_none_or(|first| *first == b' ') && reason.iter().all(is_text);
    let status = digits(code).filter(|_| parted)?;
    Some((*minor, u16::try_from(status).ok()?))
}

/// What a header's name is made of (RFC 9110, section 5.6.2).
fn is_token(byte: &u8) -> bool {
    matches!(*byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// What a header's value, or a reason, is made of: no control characters but the tab.
const fn is_text(byte: &u8) -> bool {
    matches!(*byte, b'\t' | 0x20..=0x7e | 0x80..)
}

/// The headers that mean something here.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    json: bool,
    retry: Option<Retry>,
    date: Option<u64>,
    /// What is wrong with the framing; an interim answer's does not matter.
    wrong: Option<ResponseError>,
}

enum Retry {
    After(u64),
    At(u64),
}

impl Fields {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"content-length") {
            let length = digits(value);
            if length.is_none() || self.length.is_some_and(|before| Some(before) != length) {
                self.wrong = self.wrong.or(Some(ResponseError::Length));
            }
            self.length = length;
        } else if is(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                self.wrong = self.wrong.or(Some(ResponseError::Coding));
            }
            self.chunked = true;
        } else if is(b"connection") {
            let mut rest = value;
            while !rest.is_empty() {
                self.close |= word(&mut rest, [b','; 3]).trim_ascii().eq_ignore_ascii_case(b"close");
            }
        } else if is(b"content-type") {
            self.json = is_json(value);
        } else if is(b"retry-after") {
            self.retry = digits(value).map(Retry::After).or_else(|| http_date(value).map(Retry::At));
        } else if is(b"date") {
            self.date = http_date(value);
        }
    }

    /// A date counts from the server's own clock, which ours need not agree with.
    fn retry_after(&self) -> Option<Duration> {
        match (&self.retry, self.date) {
            (Some(Retry::After(seconds)), _) => Some(Duration::from_secs(*seconds)),
            (Some(Retry::At(at)), Some(date)) => Some(Duration::from_secs(at.saturating_sub(date))),
            (Some(Retry::At(_)) | None, _) => None,
        }
    }
}

/// `application/json`, or a kind of JSON such as `application/problem+json`.
fn is_json(value: &[u8]) -> bool {
    let mut rest = value;
    let kind = word(&mut rest, [b';'; 3]).trim_ascii();
    let ends_so = |ending: &[u8]| {
        let from = kind.len().saturating_sub(ending.len());
        kind.get(from..).is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
    };
    kind.eq_ignore_ascii_case(b"application/json") || ends_so(b"+json")
}
