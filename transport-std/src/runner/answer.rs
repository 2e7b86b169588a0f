//! Reads an answer as it arrives, and says what it means.

use std::fmt;

use downbeat_core::machine::{CallError, Fault};
use downbeat_core::ports::{Cause, Failure, Head, Reach, Sink, TooLarge};
use downbeat_core::wire::{Accepted, CallKind, Element, PREFIX, SyntaxError, TaskFilter, classify};

use super::held::Growing;

/// Bytes of an answer that is kept as a whole (a token, the place of an input).
const BODY_ROOM: usize = 64 * 1024;
/// How much of an answer is read, in tasks of the largest size for each that was asked for, and one more. A task that is
/// too large is read to its end, so that it can be reported; a body that never ends is broken off.
const LARGEST_TASKS: u64 = 4;

/// Takes an answer: tasks one by one, other bodies up to a bound.
pub(crate) struct AnswerSink<'f> {
    kind: CallKind,
    head: Option<Head>,
    tasks: Option<TaskFilter<Growing>>,
    broken: Option<SyntaxError>,
    body: Vec<u8>,
    /// Bytes of one task that are kept.
    max_task: usize,
    /// Bytes that may still come.
    left: u64,
    /// Is given each task.
    take: &'f mut dyn FnMut(Element<'_>),
}

impl<'f> AnswerSink<'f> {
    /// `max_task`: bytes of one task that are kept; of a larger one the ids are, and it is no task but a misfit that
    /// names both sizes. `wanted`: tasks that were asked for.
    pub(crate) fn new(
        kind: CallKind,
        max_task: usize,
        wanted: u16,
        take: &'f mut dyn FnMut(Element<'_>),
    ) -> Self {
        let size = u64::try_from(max_task).unwrap_or(u64::MAX);
        let left = size.saturating_mul(LARGEST_TASKS).saturating_mul(u64::from(wanted) + 1);
        Self { kind, head: None, tasks: None, broken: None, body: Vec::new(), max_task, left, take }
    }

    /// What the exchange means for the machine, and for people.
    pub(crate) fn conclude(&self, exchange: Result<Head, Failure>) -> Result<Accepted, Trouble> {
        let head = exchange.map_err(Trouble::of_failure)?;
        let prefix = self.body.get(..PREFIX).unwrap_or(&self.body);
        let accepted = classify(self.kind, &head, prefix)
            .map_err(|error| Trouble { error, what: What::Status(head.status) })?;
        if accepted == Accepted::Body
            && let Some(tasks) = &self.tasks
            && let Err(error) = self.broken.map_or_else(|| tasks.finish(), Err)
        {
            return Err(Trouble { error: CallError::new(Fault::Unknown), what: What::Syntax(error) });
        }
        Ok(accepted)
    }

    /// The body, where it was no tasks.
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

impl Sink for AnswerSink<'_> {
    fn head(&mut self, head: &Head) {
        let brings_tasks = matches!(self.kind, CallKind::Poll | CallKind::UpdateV2);
        let good = head.json && matches!(head.status, 200..=299);
        self.tasks = (brings_tasks && good).then(|| TaskFilter::new(Growing::new(self.max_task)));
        self.head = Some(*head);
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(length).ok_or(TooLarge)?;
        let Some(tasks) = &mut self.tasks else {
            let room = BODY_ROOM.saturating_sub(self.body.len());
            self.body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            return Ok(());
        };
        let mut rest = bytes;
        while self.broken.is_none() {
            match tasks.feed(&mut rest) {
                Ok(Some(element)) => (self.take)(element),
                Ok(None) => break,
                Err(error) => self.broken = Some(error),
            }
        }
        Ok(())
    }
}

/// Why a call failed: for the machine, and in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) error: CallError,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Failure(Failure),
    Status(u16),
    Syntax(SyntaxError),
    Said(&'static str),
}

impl Trouble {
    pub(crate) const fn of_failure(failure: Failure) -> Self {
        Self { error: CallError::new(failure.fault()), what: What::Failure(failure) }
    }

    pub(crate) const fn said(fault: Fault, what: &'static str) -> Self {
        Self { error: CallError::new(fault), what: What::Said(what) }
    }

    /// One word, for a metric's label.
    pub(crate) fn code(&self) -> String {
        match self.what {
            What::Said(_) => "Unfit".to_owned(),
            What::Syntax(_) => "Syntax".to_owned(),
            What::Failure(failure) => format!("{:?}", failure.cause),
            What::Status(status) => format!("Status{status}"),
        }
    }

    /// Whether it says that the server cannot be reached.
    pub(crate) const fn is_of_link(&self) -> bool {
        matches!(self.what, What::Failure(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Said(what) => f.write_str(what),
            What::Syntax(error) => write!(f, "the answer is not what Conductor answers: {error}"),
            What::Failure(failure) => {
                f.write_str(words(failure.cause))?;
                f.write_str(match failure.reach {
                    Reach::NotSent => "; nothing was sent",
                    Reach::Sent => "",
                })
            }
            What::Status(status) => {
                let advice = match self.error.fault {
                    Fault::Unauthorized => "; check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET",
                    Fault::Unknown => {
                        "; this is not Conductor's API: check the server's address, and any proxy"
                    }
                    Fault::Rejected if status == 404 => {
                        "; if that is so of every call, the server's address is wrong: Conductor's own ends in /api"
                    }
                    Fault::NotSent
                    | Fault::Throttled
                    | Fault::Server
                    | Fault::Rejected
                    | Fault::Unsupported => "",
                };
                write!(f, "the server answered with status {status}{advice}")
            }
        }
    }
}

const fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Resolve => "the server's name has no address",
        Cause::Connect => "no connection could be made to the server",
        Cause::Tls => {
            "the TLS handshake with the server failed; if its certificate is not one that this machine trusts, name its \
             issuer's (`ca_file`)"
        }
        Cause::Timeout => "the server did not answer in time",
        Cause::Closed => "the connection was closed before the answer was whole",
        Cause::Protocol => "the answer is not HTTP/1.1",
        Cause::TooLarge => "the answer is far larger than the tasks that were asked for may be (`max_task`)",
        Cause::RequestTooLarge => "the request is too large to be sent",
    }
}
