//! What the server says besides tasks: tokens and errors.

use core::fmt;

use heapless::String;

use super::scan::SyntaxError;
use super::text::{Text, bounded};
use super::value::{find, members};

/// Bytes of the longest [`ServerError::message`].
pub const MESSAGE_MAX: usize = 200;

/// Reads the answer of `POST /token`: `{"token":"…"}`. Skips other members.
///
/// The text is a secret, and `Debug` and `Display` show it: it goes into `X-Authorization` and nowhere else.
///
/// # Errors
/// See [`TokenError`].
///
/// ```
/// use downbeat_core::wire::read_token;
/// assert_eq!(read_token(br#"{"userId":"u","token":"eyJ.x.y"}"#).unwrap(), *"eyJ.x.y");
/// assert!(read_token(br#"{"token":"two\r\nlines"}"#).is_err());
/// ```
pub fn read_token(body: &[u8]) -> Result<Text<'_>, TokenError> {
    let value = find(body, "token").map_err(TokenError::Syntax)?;
    let token = value.and_then(|value| value.text()).filter(|token| !token.is_empty());
    let token = token.ok_or(TokenError::Missing)?;
    if token.chars().all(|c| c.is_ascii_graphic()) { Ok(token) } else { Err(TokenError::Unfit) }
}

/// An answer that brings no token. The text holds nothing of the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenError {
    /// Not a JSON object.
    Syntax(SyntaxError),
    /// No `token`, or it is empty or not a string.
    Missing,
    /// The token has characters that no header can carry.
    Unfit,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => {
                write!(f, "the server's answer to the token request cannot be read: {error}")
            }
            Self::Missing => f.write_str("the server's answer to the token request has no token in it"),
            Self::Unfit => f.write_str("the server's token has characters that no HTTP header can carry"),
        }
    }
}

impl core::error::Error for TokenError {}

/// What the server says of an error, as far as it could be read.
///
/// A message may quote a value of the request that it is about (a result's output), never one of a task's input
/// that was not reported.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerError {
    /// `error`, a code such as `EXPIRED_TOKEN`; empty if there is none.
    pub code: String<40>,
    /// `message`, its first [`MESSAGE_MAX`] bytes, control characters as spaces; empty if there is none.
    pub message: String<MESSAGE_MAX>,
    /// `retryable`. False is no proof: the server says it of database faults, too.
    pub retryable: Option<bool>,
}

impl ServerError {
    /// Reads an error's body, or the beginning of one: members that were cut off are missing. Never fails: a body
    /// that is not Conductor's JSON says nothing.
    ///
    /// ```
    /// use downbeat_core::wire::ServerError;
    /// let error = ServerError::read(br#"{"status":404,"message":"No such task found by id: x","retryable":false}"#);
    /// assert_eq!(error.message, "No such task found by id: x");
    /// assert_eq!(ServerError::read(b"<html>"), ServerError::default());
    /// ```
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let mut error = Self::default();
        for (key, value) in members(body).map_while(Result::ok) {
            if key == *"error" {
                error.code =
                    value.text().map(|text| bounded(format_args!("{}", Line(text)))).unwrap_or_default();
            } else if key == *"message" {
                error.message =
                    value.text().map(|text| bounded(format_args!("{}", Line(text)))).unwrap_or_default();
            } else if key == *"retryable" {
                error.retryable = value.boolean();
            }
        }
        error
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (true, true) => f.write_str("no message"),
            (true, false) => f.write_str(&self.message),
            (false, true) => f.write_str(&self.code),
            (false, false) => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

/// A text on one line.
struct Line<'a>(Text<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| fmt::Write::write_char(f, if c.is_control() { ' ' } else { c }))
    }
}
