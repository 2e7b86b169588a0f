//! Writes a request's head.

use core::fmt;

use crate::ports::{Cause, Content, Method, Request};
use crate::wire::{Full, Out, put_number};

/// Where the server is, as every request names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Site<'a> {
    /// The value of `Host`: name, and port if it is not the scheme's own (`localhost:8080`).
    pub host: &'a str,
    /// The path of the API, without a slash at its end, such as `/api`; may be empty.
    pub base: &'a str,
}

/// A head that cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeadError {
    /// It does not fit into the memory.
    Full,
    /// The host, the path or the token has blanks or control characters, which would begin another line.
    Unfit,
}

impl HeadError {
    /// Returns the error as a transport's failure has it.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::Full => Cause::RequestTooLarge,
            Self::Unfit => Cause::Protocol,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the request does not fit into the send buffer; enlarge it",
            Self::Unfit => "the request's host, path or token has characters that no head can carry",
        })
    }
}

impl core::error::Error for HeadError {}

impl From<Full> for HeadError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// Writes the head of `request`, blank line and all; a body of `body` bytes must follow it.
///
/// Length: at most 150 bytes, and those of host, base, target and token.
///
/// # Errors
/// See [`HeadError`]; `out` then holds a part of it, which must not be sent.
///
/// ```
/// use downbeat_core::http::{Site, write_head};
/// use downbeat_core::ports::{Content, Method, Request};
/// use downbeat_core::wire::SliceBuffer;
///
/// let site = Site { host: "localhost:8080", base: "/api" };
/// let target = "/tasks/poll/batch/greet?count=1";
/// let request = Request { method: Method::Get, target, content: Content::None, body: b"", token: None };
/// let mut memory = [0; 128];
/// let mut out = SliceBuffer::new(&mut memory);
/// write_head(&site, &request, 0, &mut out).unwrap();
/// assert_eq!(
///     &*out.into_bytes(),
///     b"GET /api/tasks/poll/batch/greet?count=1 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: downbeat\r\n\r\n"
/// );
/// ```
pub fn write_head(
    site: &Site<'_>,
    request: &Request<'_>,
    body: usize,
    out: &mut dyn Out,
) -> Result<(), HeadError> {
    let token = request.token.unwrap_or_default();
    let fit = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if ![site.host, site.base, request.target, token].into_iter().all(fit) {
        return Err(HeadError::Unfit);
    }
    let method = match request.method {
        Method::Get => "GET ",
        Method::Post => "POST ",
        Method::Put => "PUT ",
    };
    let start = [method, site.base, request.target, " HTTP/1.1\r\nHost: ", site.host];
    start.iter().try_for_each(|part| out.put(part.as_bytes()))?;
    out.put(b"\r\nUser-Agent: downbeat\r\n")?;
    if !token.is_empty() {
        ["X-Authorization: ", token, "\r\n"].iter().try_for_each(|part| out.put(part.as_bytes()))?;
    }
    match request.content {
        Content::None => {}
        Content::Json => out.put(b"Content-Type: application/json\r\n")?,
        Content::Text => out.put(b"Content-Type: text/plain;charset=UTF-8\r\n")?,
    }
    if request.method != Method::Get || body > 0 {
        out.put(b"Content-Length: ")?;
        put_number(u64::try_from(body).unwrap_or(u64::MAX), out)?;
        out.put(b"\r\n")?;
    }
    out.put(b"\r\n")?;
    Ok(())
}
