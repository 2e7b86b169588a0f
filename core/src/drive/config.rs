//! What a session is made of: names, memory, and the sizes that they need.

use core::fmt;
use core::time::Duration;

use crate::http::{Site, write_head};
use crate::machine::PolicyError;
use crate::ports::{Content, Method, Request};
use crate::wire::target::{self, TargetError};
use crate::wire::{Counter, ID_MAX, Status, TaskResult, encode_token_request};

/// Bytes of the longest poll target, escapes included.
pub(super) const TARGET_MAX: usize = 256;

/// Bytes that are read at once: the part of the receive buffer that is not kept for a task.
pub const WINDOW: usize = 256;

/// Bytes of the smallest receive buffer.
const RECEIVE_MIN: usize = 512;

/// What is reported instead of a result that the send buffer cannot hold.
pub(super) const DOES_NOT_FIT: &str =
    "the result does not fit into this worker's send buffer; enlarge it, or report a shorter reason";

/// Who the worker is, and where its server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config<'a> {
    /// The server.
    pub site: Site<'a>,
    /// The type of the tasks that are polled.
    pub task_type: &'a str,
    /// The name that the server records as the tasks' worker.
    pub worker_id: &'a str,
    /// The tasks' domain, or empty for none.
    pub domain: &'a str,
    /// What tokens are got for, or `None` if the server wants none.
    pub key: Option<Key<'a>>,
}

/// A key for tokens. `Debug` shows neither half.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Key<'a> {
    /// The key's name.
    pub id: &'a str,
    /// The secret.
    pub secret: &'a str,
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The session's memory, beside itself.
pub struct Buffers<'b> {
    /// The memory for answers: a head as a whole, then one task at a time (or the token's answer) in all but
    /// its last [`WINDOW`] bytes. At least 512 bytes.
    pub receive: &'b mut [u8],
    /// Requests, head and body. [`Config::send_needed`] says how many bytes at least.
    pub send: &'b mut [u8],
    /// The token; empty if there is none.
    pub token: &'b mut [u8],
}

/// Shows how large the buffers are: what is in them may be secret.
impl fmt::Debug for Buffers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (receive, send, token) = (self.receive.len(), self.send.len(), self.token.len());
        write!(f, "Buffers(receive {receive}, send {send}, token {token} bytes)")
    }
}

impl Config<'_> {
    /// Bytes that the send buffer must have for results of `result` bytes and tokens of `token` bytes.
    ///
    /// # Errors
    /// A name does not fit into a request's target or head.
    pub fn send_needed(&self, result: usize, token: usize) -> Result<usize, SetupError> {
        let mut poll = Counter::default();
        let (domain, longest_wait) = (Some(self.domain), Duration::from_secs(5));
        target::write_poll(self.task_type, self.worker_id, u16::MAX, longest_wait, domain, &mut poll)
            .map_err(SetupError::Target)?;
        if poll.len > TARGET_MAX {
            return Err(SetupError::Target(TargetError::TooLong));
        }
        let request = Request {
            method: Method::Post,
            target: target::UPDATE_V2,
            content: Content::Json,
            body: &[],
            token: None,
        };
        let mut head = Counter::default();
        write_head(&self.site, &request, usize::MAX, &mut head).map_err(|_| SetupError::Site)?;
        let mut asking = Counter::default();
        if let Some(key) = self.key {
            let _ = encode_token_request(key.id, key.secret, &mut asking);
        }
        let mut reporting = Counter::default();
        let id = str::from_utf8(&[b'x'; ID_MAX]).unwrap_or_default();
        let report = TaskResult {
            task_id: id,
            workflow_id: id,
            worker_id: self.worker_id,
            status: Status::FailedTerminal { reason: DOES_NOT_FIT },
            output: crate::wire::Output::EMPTY,
            logs: &[],
        };
        let _ = report.encode(&mut reporting);
        let body = asking.len.max(reporting.len.saturating_add(result));
        let authorised = if token > 0 { "X-Authorization: \r\n".len().saturating_add(token) } else { 0 };
        let target = poll.len.saturating_sub(target::UPDATE_V2.len());
        Ok(head.len.saturating_add(target).saturating_add(authorised).saturating_add(body))
    }
}

/// A session that cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetupError {
    /// The policy is out of bounds.
    Policy(PolicyError),
    /// The receive buffer is too small.
    Receive {
        /// Its bytes.
        room: usize,
        /// Bytes that it must have.
        needed: usize,
    },
    /// The send buffer is too small.
    Send {
        /// Its bytes.
        room: usize,
        /// Bytes that it must have.
        needed: usize,
    },
    /// There is a key, and no memory for a token.
    Token,
    /// Task type, worker id and domain make no target.
    Target(TargetError),
    /// The host or the base has characters that no request can carry.
    Site,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => write!(f, "{error}"),
            Self::Receive { room, needed } => {
                write!(f, "the receive buffer has {room} bytes and must have {needed}")
            }
            Self::Send { room, needed } => {
                write!(f, "the send buffer has {room} bytes and must have {needed}")
            }
            Self::Token => f.write_str("there is a key, and no memory for the token that it brings"),
            Self::Target(error) => write!(f, "{error}"),
            Self::Site => f.write_str("the server's host or path has characters that no request can carry"),
        }
    }
}

impl core::error::Error for SetupError {}

impl Buffers<'_> {
    pub(super) const fn check(&self, send: usize, wants_token: bool) -> Result<(), SetupError> {
        if self.receive.len() < RECEIVE_MIN {
            return Err(SetupError::Receive { room: self.receive.len(), needed: RECEIVE_MIN });
        }
        if self.send.len() < send {
            return Err(SetupError::Send { room: self.send.len(), needed: send });
        }
        if wants_token && self.token.is_empty() {
            return Err(SetupError::Token);
        }
        Ok(())
    }
}
