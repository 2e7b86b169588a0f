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
    /// Nothing that must be read (204, or a report's bare acknowledgement).
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
/// | 204; 2xx without a body to an update-v2 | poll, update-v2 | [`Accepted::Empty`]: no task |
/// | 204 | token | `Unknown`: no token in it |
/// | 2xx, not JSON | poll, update-v2, token | `Unknown`: a proxy's page; tasks may have been taken |
/// | 2xx, a body that begins with `<` | update, other | `Unknown`: a proxy's page is no acknowledgement |
/// | other 2xx | update, other | [`Accepted::Empty`] |
/// | 404 | token | [`Accepted::NoAuth`], as in the SDKs |
/// | 401, 403; `EXPIRED_TOKEN` or `INVALID_TOKEN` with any 4xx | all | `Unauthorized` |
/// | 429 | all | `Throttled`, with its `Retry-After` |
/// | 5xx | all | `Server`, with its `Retry-After` |
/// | 408, 425 | all | `Server`: the server did not process it |
/// | 405; 404 that is not "No such task found" or "No such workflow found" | update-v2 | `Unsupported`: use the older call |
/// | 404, not JSON | poll, update, other | `Server`: a proxy without its back end, not Conductor's word |
/// | other 4xx | all | `Rejected` |
/// | anything else (a redirect) | all | `Unknown`: somebody else answered |
///
/// # Errors
/// As in the table.
pub fn classify(kind: CallKind, head: &Head, prefix: &[u8]) -> Result<Accepted, CallError> {
    match head.status {
        200..=299 => accepted(kind, head, prefix).map_err(CallError::new),
        429 => Err(CallError { fault: Fault::Throttled, retry_after: head.retry_after }),
        500..=599 => Err(CallError { fault: Fault::Server, retry_after: head.retry_after }),
        404 if kind == CallKind::Token => Ok(Accepted::NoAuth),
        400..=499 => Err(CallError::new(client_error(kind, head, prefix))),
        _ => Err(CallError::new(Fault::Unknown)),
    }
}

fn accepted(kind: CallKind, head: &Head, prefix: &[u8]) -> Result<Accepted, Fault> {
    match kind {
        CallKind::Poll | CallKind::UpdateV2 if head.status == 204 => Ok(Accepted::Empty),
        CallKind::UpdateV2 if prefix.is_empty() && !head.json => Ok(Accepted::Empty),
        CallKind::Poll | CallKind::UpdateV2 | CallKind::Token if head.json && head.status != 204 => {
            Ok(Accepted::Body)
        }
        CallKind::Poll | CallKind::UpdateV2 | CallKind::Token => Err(Fault::Unknown),
        CallKind::Update | CallKind::Other => {
            if prefix.trim_ascii_start().starts_with(b"<") {
                Err(Fault::Unknown)
            } else {
                Ok(Accepted::Empty)
            }
        }
    }
}

fn client_error(kind: CallKind, head: &Head, prefix: &[u8]) -> Fault {
    match head.status {
        401 | 403 => Fault::Unauthorized,
        _ if is_about_the_token(prefix) => Fault::Unauthorized,
        408 | 425 => Fault::Server,
        405 if kind == CallKind::UpdateV2 => Fault::Unsupported,
        404 if kind == CallKind::UpdateV2 && !names_what_is_missing(prefix) => Fault::Unsupported,
        404 if !head.json => Fault::Server,
        _ => Fault::Rejected,
    }
}

/// Whether the error's code, in what is there of the body, is one of the two for tokens.
fn is_about_the_token(prefix: &[u8]) -> bool {
    members(prefix).map_while(Result::ok).filter(|(key, _)| *key == *"error").any(|(_, value)| {
        value.text().is_some_and(|code| code == *"EXPIRED_TOKEN" || code == *"INVALID_TOKEN")
    })
}

/// Conductor's own 404: the call exists, and what it is about does not.
fn names_what_is_missing(prefix: &[u8]) -> bool {
    let said = |words: &[u8]| prefix.windows(words.len()).any(|window| window == words);
    said(b"No such task found") || said(b"No such workflow found")
}
