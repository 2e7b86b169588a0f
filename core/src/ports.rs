//! What a driver stands on: a transport that carries bytes, and an executor that runs the user's code.
//!
//! Both are object-safe and speak bytes; JSON is above them (`wire`), decisions are above that (`machine`).

use core::time::Duration;

use crate::machine::{EntryId, Fault, Instant};

/// Carries one request to the server and its answer back.
///
/// Implementations keep their connections between calls. A server that closes an idle connection, or
/// announces the close in its last answer, costs no error. The request is sent again on a new connection, but
/// only if nothing of it can have taken effect.
pub trait Transport {
    /// Sends `request` and feeds the answer to `sink`: the head once, then the body in pieces of any size.
    ///
    /// Every status is a success here, also 4xx and 5xx; see `wire::classify`. `deadline` is on the
    /// clock of the driver; the implementation gives up soon after it.
    ///
    /// # Errors
    /// A [`Failure`] says how far the request came. Once the head was fed, failures are of [`Reach::Sent`].
    fn exchange(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure>;
}

impl<T: Transport + ?Sized> Transport for &mut T {
    fn exchange(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure> {
        (**self).exchange(request, deadline, sink)
    }
}

/// One HTTP request, relative to the server's base path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Path and query after the API's base (`…/api`), percent-encoded: `/tasks/poll/batch/greet?count=1`.
    pub target: &'a str,
    /// What the body is; it is sent with the matching `Content-Type`.
    pub content: Content,
    /// The body; empty for `GET`.
    pub body: &'a [u8],
    /// The value of `X-Authorization`. Never logged: `Debug` of this struct is only for tests.
    pub token: Option<&'a str>,
}

/// The methods that Conductor's API needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
}

/// What a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// No body.
    None,
    /// `application/json`.
    Json,
    /// `text/plain`.
    Text,
}

/// The first part of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The status code, 200 to 599.
    pub status: u16,
    /// `Retry-After` as a delay (a date is taken relative to the answer's own `Date`).
    pub retry_after: Option<Duration>,
    /// Whether `Content-Type` says JSON: a proxy's HTML page is not Conductor's word.
    pub json: bool,
}

/// Takes an answer as it arrives.
pub trait Sink {
    /// Takes the head, once, before the body.
    fn head(&mut self, head: &Head);

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// [`TooLarge`] ends the exchange; the transport closes the connection and returns
    /// [`Failure::TOO_LARGE`].
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge>;
}

/// The body is more than the sink takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLarge;

/// An exchange without a whole answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    /// How far the request came: decides what may be repeated.
    pub reach: Reach,
    /// What happened, for people.
    pub cause: Cause,
}

impl Failure {
    /// The sink had no room.
    pub const TOO_LARGE: Self = Self { reach: Reach::Sent, cause: Cause::TooLarge };

    /// Returns the failure as the machine sees it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match (self.reach, self.cause) {
            (Reach::NotSent, _) => Fault::NotSent,
            (Reach::Sent, Cause::Timeout) => Fault::Slow,
            (Reach::Sent, _) => Fault::Unknown,
        }
    }
}

/// How far a request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Nothing of it can have taken effect.
    NotSent,
    /// It may have taken effect.
    Sent,
}

/// What ended an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The server's name has no address.
    Resolve,
    /// The connection was refused or could not be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The connection was closed or reset before the answer was whole.
    Closed,
    /// The answer is not HTTP/1.1, or not within the bounds of the codec.
    Protocol,
    /// The answer is larger than there is room for.
    TooLarge,
    /// The request is larger than the send buffer.
    RequestTooLarge,
}

/// Runs the user's code in steps, so that one loop can keep leases between them.
pub trait Executor {
    /// Takes a task. All that is needed of `task` must be decoded or copied now: its memory is reused.
    ///
    /// # Errors
    /// [`Unfit`]: the input is not what the code takes. The task is reported `FAILED_WITH_TERMINAL_ERROR`.
    fn start(&mut self, entry: EntryId, task: &Assignment<'_>) -> Result<(), Unfit>;

    /// Runs the code for a while. When it is done, the output (a JSON object) is in `output` from its start.
    fn step(&mut self, entry: EntryId, output: &mut [u8]) -> Progress;

    /// Stops the code of an entry that is recalled: the drain's time is over, or the server has ended the task (its workflow
    /// was terminated). Nothing is called for it afterwards.
    fn cancel(&mut self, entry: EntryId);
}

/// A task as the executor sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assignment<'a> {
    /// The task's id.
    pub task_id: &'a str,
    /// The id of its workflow.
    pub workflow_id: &'a str,
    /// Its type.
    pub task_type: &'a str,
    /// How often this task was retried before.
    pub retry_count: u32,
    /// How often this task was delivered, this time included.
    pub poll_count: u32,
    /// The input: raw JSON, an object. May hold secrets.
    pub input: &'a [u8],
}

/// The input is not what the code takes; the text is the reason that the server is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unfit {
    /// What is wrong, without the input's content.
    pub reason: &'static str,
}

/// Where the user's code stands after a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Not done: step again, at the latest at this time.
    Pending {
        /// When to step again; `Instant::ZERO` means as soon as nothing else is due.
        wake: Instant,
    },
    /// Done.
    Done {
        /// How it ended.
        end: End,
        /// Length of the output in the buffer; 0 means `{}`.
        output: usize,
    },
}

/// How the user's code ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// `COMPLETED`.
    Completed,
    /// `FAILED`: the server may retry.
    Failed {
        /// Why, for people; at most 500 characters reach the server's record.
        reason: &'static str,
    },
    /// `FAILED_WITH_TERMINAL_ERROR`: no retry.
    Terminal {
        /// Why, for people.
        reason: &'static str,
    },
    /// `IN_PROGRESS`: deliver the task again.
    InProgress {
        /// After how long; whole seconds on the wire, at least 1.
        callback_after: Duration,
    },
}
