//! Reads an answer as it arrives, and says what it means.

use std::fmt;

use downbeat_core::machine::{CallError, Fault};
use downbeat_core::ports::{Cause, Failure, Head, Reach, Sink, TooLarge};
use downbeat_core::wire::{
    Accepted, CallKind, Element, PREFIX, SyntaxError, TaskFilter, TaskState, classify,
};

use super::held_task::Growing;

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
    /// The answer is one task, whose state is to be known; so many bytes of it are kept besides.
    one_task: Option<usize>,
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
        Self {
            kind,
            head: None,
            tasks: None,
            one_task: None,
            broken: None,
            body: Vec::new(),
            max_task,
            left,
            take,
        }
    }

    /// Reads the state of the one task that the answer is, and keeps so many bytes of it: with 0 nothing is given to `take`.
    pub(crate) fn for_state(max_task: usize, kept: usize, take: &'f mut dyn FnMut(Element<'_>)) -> Self {
        Self { one_task: Some(kept), ..Self::new(CallKind::Other, max_task, 1, take) }
    }

    /// The state of the task that the answer is.
    pub(crate) fn state(&self) -> TaskState {
        self.tasks.as_ref().filter(|_| self.broken.is_none()).map(TaskFilter::state).unwrap_or_default()
    }

    /// What the exchange means for the machine, and for people.
    pub(crate) fn conclude(&self, exchange: Result<Head, Failure>) -> Result<Accepted, CallFailure> {
        let head = exchange.map_err(CallFailure::from_failure)?;
        let prefix = self.body.get(..PREFIX).unwrap_or(&self.body);
        let accepted = classify(self.kind, &head, prefix).map_err(|error| {
            let what = FailureKind::Status { status: head.status, polls: self.kind == CallKind::Poll };
            CallFailure { error, what }
        })?;
        if accepted == Accepted::Body
            && let Some(tasks) = &self.tasks
            && let Err(error) = self.broken.map_or_else(|| tasks.finish(), Err)
        {
            return Err(CallFailure {
                error: CallError::new(Fault::Unknown),
                what: FailureKind::Syntax(error),
            });
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
        let room = self.one_task.unwrap_or(self.max_task);
        self.tasks =
            ((brings_tasks || self.one_task.is_some()) && good).then(|| TaskFilter::new(Growing::new(room)));
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
                Ok(Some(_)) if self.one_task == Some(0) => {}
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
pub(crate) struct CallFailure {
    pub(crate) error: CallError,
    what: FailureKind,
}

#[derive(Clone, Copy, Debug)]
enum FailureKind {
    Failure(Failure),
    /// Whether it was the answer to a poll: only there does a 404 say something of the address.
    Status {
        status: u16,
        polls: bool,
    },
    Syntax(SyntaxError),
    Said(&'static str),
}

impl CallFailure {
    pub(crate) const fn from_failure(failure: Failure) -> Self {
        Self { error: CallError::new(failure.fault()), what: FailureKind::Failure(failure) }
    }

    pub(crate) const fn said(fault: Fault, what: &'static str) -> Self {
        Self { error: CallError::new(fault), what: FailureKind::Said(what) }
    }

    /// One word, for a metric's label.
    pub(crate) fn code(&self) -> String {
        match self.what {
            FailureKind::Said(_) => "Unfit".to_owned(),
            FailureKind::Syntax(_) => "Syntax".to_owned(),
            FailureKind::Failure(failure) => format!("{:?}", failure.cause),
            FailureKind::Status { status, .. } => format!("Status{status}"),
        }
    }

    /// The answer's status, where there was one.
    pub(crate) const fn status(&self) -> Option<u16> {
        match self.what {
            FailureKind::Status { status, .. } => Some(status),
            FailureKind::Failure(_) | FailureKind::Syntax(_) | FailureKind::Said(_) => None,
        }
    }

    /// Whether the call may have had its effect all the same.
    pub(crate) const fn may_have_had_effect(&self) -> bool {
        !matches!(
            self.error.fault,
            Fault::NotSent | Fault::Unauthorized | Fault::Forbidden | Fault::Throttled
        )
    }

    /// Whether it says that the server cannot be reached.
    pub(crate) const fn is_of_link(&self) -> bool {
        matches!(self.what, FailureKind::Failure(_))
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            FailureKind::Said(what) => f.write_str(what),
            FailureKind::Syntax(error) => write!(f, "the answer is not what Conductor answers: {error}"),
            FailureKind::Failure(failure) => {
                f.write_str(words(failure.cause))?;
                f.write_str(match failure.reach {
                    Reach::NotSent => "; nothing was sent",
                    Reach::Sent => "",
                })
            }
            FailureKind::Status { status, polls } => {
                let advice = match self.error.fault {
                    Fault::Unauthorized => "; check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET",
                    Fault::Forbidden => {
                        "; check what this key may do, and whether a firewall before the server refuses the request"
                    }
                    Fault::Unknown => {
                        "; this is not Conductor's API: check the server's address, and any proxy"
                    }
                    Fault::Server if status == 404 && polls => {
                        "; if that is so of every call, the server's address is wrong: Conductor's own ends in /api"
                    }
                    Fault::Gone => ": it does not know this task any more",
                    Fault::NotSent
                    | Fault::Slow
                    | Fault::Throttled
                    | Fault::Server
                    | Fault::Internal
                    | Fault::Rejected
                    | Fault::TooLarge
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
