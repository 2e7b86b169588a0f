//! What a script answers.

use std::time::Duration;

use downbeat_core::ports::{Cause, Failure, Head, Reach};

use crate::task::{TaskBuilder, error_body, poll_answer, token_body};

/// What the server, or the network, makes of a request.
///
/// Whole answers come from the constructors that are named after what the server means; [`Answer::cut_after`] loses
/// the rest of one on its way, [`Answer::in_pieces`] has it arrive slowly.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "hand it to `Exchange::answer`"]
pub struct Answer {
    pub(crate) head: Option<Head>,
    pub(crate) body: Vec<u8>,
    pub(crate) piece: usize,
    /// What ends the exchange once the body has been given.
    pub(crate) failure: Option<Failure>,
}

impl Answer {
    /// An answer with this status, `Content-Type: application/json` and this body.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(Head { status, retry_after: None, json: true }, body)
    }

    /// An answer with this status and a text that is not JSON: an acknowledgement, or a proxy's page.
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(Head { status, retry_after: None, json: false }, body)
    }

    /// An answer with this head and body.
    pub fn new(head: Head, body: impl Into<Vec<u8>>) -> Self {
        Self { head: Some(head), body: body.into(), piece: usize::MAX, failure: None }
    }

    /// The answer of a poll that found these tasks; `[]` for none.
    pub fn tasks<'t>(tasks: impl IntoIterator<Item = &'t TaskBuilder>) -> Self {
        Self::json(200, poll_answer(tasks))
    }

    /// The answer of a poll that found nothing: 200 and `[]`.
    pub fn no_tasks() -> Self {
        Self::json(200, "[]")
    }

    /// The answer of an `update-v2` that brings this task.
    pub fn next_task(task: &TaskBuilder) -> Self {
        Self::json(200, task.json())
    }

    /// 204, without a body: an `update-v2` that brings no task.
    pub fn no_content() -> Self {
        Self::text(204, "")
    }

    /// The server takes a report: 200 and the task's id as text.
    pub fn accepted(task_id: &str) -> Self {
        Self::text(200, task_id)
    }

    /// The answer of `POST /token`.
    pub fn token(token: &str) -> Self {
        Self::json(200, token_body(token))
    }

    /// An error as Conductor writes it.
    pub fn error(status: u16, message: &str) -> Self {
        Self::json(status, error_body(status, message))
    }

    /// 401 with the code that Conductor's clients look for.
    pub fn unauthorized() -> Self {
        Self::json(401, r#"{"error":"EXPIRED_TOKEN","message":"the token has expired","status":401}"#)
    }

    /// 429 with a `Retry-After`.
    pub fn throttled(retry_after: Duration) -> Self {
        Self::new(
            Head { status: 429, retry_after: Some(retry_after), json: true },
            error_body(429, "slow down"),
        )
    }

    /// Nothing of the request left: connection refused.
    pub const fn refused() -> Self {
        Self::failure(Reach::NotSent, Cause::Connect)
    }

    /// The request left, and the connection was closed before a byte of the answer came.
    pub const fn lost() -> Self {
        Self::failure(Reach::Sent, Cause::Closed)
    }

    /// The exchange ends like this, without an answer.
    pub const fn failure(reach: Reach, cause: Cause) -> Self {
        Self { head: None, body: Vec::new(), piece: usize::MAX, failure: Some(Failure { reach, cause }) }
    }

    /// The connection is closed after the head and this many bytes of the body.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self.failure = Some(Failure { reach: Reach::Sent, cause: Cause::Closed });
        self
    }

    /// The body arrives in pieces of this many bytes; 0 counts as 1.
    pub const fn in_pieces(mut self, bytes: usize) -> Self {
        self.piece = if bytes == 0 { 1 } else { bytes };
        self
    }
}
