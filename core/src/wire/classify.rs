//! What an answer's status means for the machine.

use super::value::members;
use crate::machine::{CallError, Fault};
use crate::ports::Head;

/// How much of an answer's body [`classify`] wants to see, in bytes: the beginning is enough.
pub const PREFIX: usize = 512;

/// What a call was for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallKind {
    /// A poll, single or batch.
    Poll,
    /// A report, a heartbeat or a give-back: `POST /tasks`.
    Update,
    /// A report by `POST /tasks/update-v2`.
    UpdateV2,
    /// `POST /token`.
    Token,
    /// Anything else: logs, definitions, queue sizes.
    Other,
}

/// What an accepted call's body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// JSON that the call was made for: read it. If it cannot be read, the fault is [`Fault::Unknown`].
    Body,
    /// Nothing that must be read (no task, or a report's bare acknowledgement).
    Empty,
    /// The server wants no token: [`Answer::NoAuth`](crate::machine::Answer::NoAuth).
    NoAuth,
}

/// Says what an answer means.
///
/// `prefix` is the beginning of the body, up to [`PREFIX`] bytes; for a 2xx with tasks it may be empty, as those are
/// read as they arrive.
///
/// | status | call | meaning |
/// | --- | --- | --- |
/// | 2xx with a body of JSON | poll, update-v2, token | [`Accepted::Body`] |
/// | 204, or 2xx without a body or with `null` | poll, update-v2 | [`Accepted::Empty`]: no task |
/// | 204 | token | `Unknown`: no token in it |
/// | 2xx, not JSON | poll, update-v2, token | `Unknown`: a proxy's page, and tasks may have been taken |
/// | 2xx, a body that begins with `<` | update, other | `Unknown`: a proxy's page is no acknowledgement |
/// | other 2xx | update, other | [`Accepted::Empty`] |
/// | 404 | token | [`Accepted::NoAuth`], as in the SDKs |
/// | 401; `EXPIRED_TOKEN` or `INVALID_TOKEN` with any 4xx but 429 | all | `Unauthorized` |
/// | 403 without such a code | all | `Forbidden` |
/// | 404, "No such task found", "Task not found" (a read) or "No such workflow found" | all but token | `Gone`: Conductor's own word |
/// | 404, 405, or 4xx or 5xx with "Request method 'POST' (is) not supported" | update-v2 | `Unsupported`: use the older call |
/// | other 404 (a gateway without a route, a proxy without its back end) | poll, update, other | `Server`, with its `Retry-After` |
/// | 429, or 503 that is not Envoy's "upstream connect error or disconnect/reset" | all | `Throttled`, with its `Retry-After`: nothing took effect |
/// | 500, 501, 505 to 511 | all | `Internal`, with its `Retry-After`: it may be about this very request |
/// | other 5xx | all | `Server`, with its `Retry-After` |
/// | 408, 425 | all | `Server`: the server did not process it |
/// | 413 | all | `TooLarge` |
/// | other 4xx | all | `Rejected` |
/// | anything else (a redirect) | all | `Unknown`: somebody else answered |
///
/// Rows further up go first. A body of JSON that comes in pieces is not in `prefix`: that it is empty or `null` is for
/// its reader to see, and a [`TaskFilter`](super::TaskFilter) does. Conductor before 3.21.12 answers 500 to update-v2,
/// because the path belongs to another method.
///
/// # Errors
/// As in the table.
pub fn classify(kind: CallKind, head: &Head, prefix: &[u8]) -> Result<Accepted, CallError> {
    let fault = match head.status {
        200..=299 => return accepted(kind, head, prefix).map_err(CallError::new),
        404 if kind == CallKind::Token => return Ok(Accepted::NoAuth),
        429 => Fault::Throttled,
        400..=599 => failure(kind, head.status, prefix),
        _ => Fault::Unknown,
    };
    let asks = matches!(fault, Fault::Throttled | Fault::Server | Fault::Internal)
        && !matches!(head.status, 408 | 425);
    Err(CallError { fault, retry_after: if asks { head.retry_after } else { None } })
}

fn accepted(kind: CallKind, head: &Head, prefix: &[u8]) -> Result<Accepted, Fault> {
    let json = head.json && head.status != 204;
    match kind {
        CallKind::Poll | CallKind::UpdateV2 if head.status == 204 || is_nothing(prefix, json) => {
            Ok(Accepted::Empty)
        }
        CallKind::Poll | CallKind::UpdateV2 | CallKind::Token if json => Ok(Accepted::Body),
        CallKind::Poll | CallKind::UpdateV2 | CallKind::Token => Err(Fault::Unknown),
        CallKind::Update | CallKind::Other if prefix.trim_ascii_start().starts_with(b"<") => {
            Err(Fault::Unknown)
        }
        CallKind::Update | CallKind::Other => Ok(Accepted::Empty),
    }
}

/// Whether a body says that there is no task. Nothing is known about JSON without a beginning: it is read
/// elsewhere.
fn is_nothing(prefix: &[u8], json: bool) -> bool {
    match prefix.trim_ascii() {
        b"null" => true,
        // A page may begin with blank lines, however many.
        b"" => !json && prefix.len() < PREFIX,
        _ => false,
    }
}

fn failure(kind: CallKind, status: u16, prefix: &[u8]) -> Fault {
    let said = |words: &[u8]| prefix.windows(words.len()).any(|window| window == words);
    let v2 = kind == CallKind::UpdateV2;
    let wrong_method = || v2 && said(b"Request method") && said(b"not supported");
    match status {
        500.. if wrong_method() => Fault::Unsupported,
        500 | 501 | 505..=511 => Fault::Internal,
        // Envoy says it also if the connection broke after the request was handed on.
        503 if !said(b"upstream connect error") => Fault::Throttled,
        500.. => Fault::Server,
        401 => Fault::Unauthorized,
        _ if is_about_the_token(prefix) => Fault::Unauthorized,
        403 => Fault::Forbidden,
        404 if ["No such task found", "No such workflow found", "Task not found"]
            .iter()
            .any(|words| said(words.as_bytes())) =>
        {
            Fault::Gone
        }
        404 | 405 if v2 => Fault::Unsupported,
        _ if wrong_method() => Fault::Unsupported,
        404 | 408 | 425 => Fault::Server,
        413 => Fault::TooLarge,
        _ => Fault::Rejected,
    }
}

/// Whether the error's code, in what is there of the body, is one of the two for tokens.
fn is_about_the_token(prefix: &[u8]) -> bool {
    members(prefix).map_while(Result::ok).filter(|(key, _)| *key == *"error").any(|(_, value)| {
        value.text().is_some_and(|code| code == *"EXPIRED_TOKEN" || code == *"INVALID_TOKEN")
    })
}
