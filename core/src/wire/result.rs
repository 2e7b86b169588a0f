//! What a worker sends: results, heartbeats, give-backs, the token request.

use core::fmt;
use core::time::Duration;

use serde::Serialize;

use super::message::{Message, Piece, message, show};
use super::out::{Full, Out, SliceBuffer, put_number};
use super::scan::{SyntaxError, validate};
use crate::machine::Instead;
use crate::ports::End;

/// Bytes of the largest `outputData` that the server takes by default: above it, it answers 200 and fails the
/// whole workflow (R-PAYLOAD-3), so a worker checks before it sends.
pub const OUTPUT_LIMIT: usize = 10 * 1024 * 1024;

/// Characters (UTF-16 units) of a `reasonForIncompletion` that the server keeps.
pub const REASON_CHARS: usize = 500;

/// Log lines of one result that the server keeps.
pub const LOGS_MAX: usize = 10;

/// A result for `POST /tasks` or `POST /tasks/update-v2`, generic over the output.
///
/// With [`Output`] it is raw JSON that is passed through, but for U+0000 ([`TaskResult::encode`]); with a type of the
/// user's it is encoded by serde ([`TaskResult::encode_typed`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskResult<'a, O = Output<'a>> {
    /// `taskId`; must not be empty.
    pub task_id: &'a str,
    /// `workflowInstanceId`; must not be empty.
    pub workflow_id: &'a str,
    /// `workerId`; left out if empty (the server then forgets who polled).
    pub worker_id: &'a str,
    /// How the task ended.
    pub status: Status<'a>,
    /// `outputData`; it replaces what the task had. U+0000 in its strings is sent as U+FFFD.
    pub output: O,
    /// Log lines; the first [`LOGS_MAX`] are sent.
    pub logs: &'a [Log<'a>],
}

/// How a task ended, as far as a worker may say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status<'a> {
    /// `COMPLETED`.
    Completed,
    /// `FAILED`: the server may retry.
    Failed {
        /// Why; the first [`REASON_CHARS`] characters are sent, U+0000 as U+FFFD.
        reason: &'a str,
    },
    /// `FAILED_WITH_TERMINAL_ERROR`: no retry, the workflow fails.
    FailedTerminal {
        /// Why; the first [`REASON_CHARS`] characters are sent, U+0000 as U+FFFD.
        reason: &'a str,
    },
    /// `IN_PROGRESS`: deliver the task again.
    InProgress {
        /// After how long: whole seconds on the wire, rounded up, at least 1.
        callback_after: Duration,
    },
}

impl Status<'_> {
    /// Returns the word on the wire.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed { .. } => "FAILED",
            Self::FailedTerminal { .. } => "FAILED_WITH_TERMINAL_ERROR",
            Self::InProgress { .. } => "IN_PROGRESS",
        }
    }
}

impl<'a> Status<'a> {
    /// Returns the report that takes an outcome's place: terminal if a retry would only make the same outcome
    /// again.
    #[must_use]
    pub const fn instead(why: Instead, reason: &'a str) -> Self {
        match why {
            Instead::TooLarge => Self::FailedTerminal { reason },
            Instead::Rejected | Instead::Refused | Instead::PollTimeout => Self::Failed { reason },
        }
    }
}

/// Returns the reason of a report that takes an outcome's place, for drivers that can say no more of it.
#[must_use]
pub const fn reason_instead(why: Instead) -> &'static str {
    match why {
        Instead::TooLarge => {
            "the result is larger than the server takes; store it elsewhere and report where"
        }
        Instead::Rejected => "the server rejected the task's result",
        Instead::Refused => "the server refused the task's result again and again",
        Instead::PollTimeout => {
            "the task could not be given back: pollTimeoutSeconds, which counts from its first scheduling, was over"
        }
    }
}

impl From<End> for Status<'static> {
    fn from(end: End) -> Self {
        match end {
            End::Completed => Self::Completed,
            End::Failed { reason } => Self::Failed { reason },
            End::Terminal { reason } => Self::FailedTerminal { reason },
            End::InProgress { callback_after } => Self::InProgress { callback_after },
        }
    }
}

/// One line of a task's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Log<'a> {
    /// The line; U+0000 is sent as U+FFFD.
    pub text: &'a str,
    /// When it was written, in milliseconds since 1970; 0 if there is no such clock.
    pub created: i64,
}

/// A task's output as raw JSON, known to be an object. `Debug` shows only its size.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Output<'a> {
    raw: &'a [u8],
}

impl<'a> Output<'a> {
    /// `{}`.
    pub const EMPTY: Self = Self { raw: b"{}" };

    /// Takes an output that code outside has made, and checks it. Numbers stand as they are written.
    ///
    /// # Errors
    /// Not JSON (at most 128 levels deep), or not an object: the server answers 500 to it (R-UPDATE-5).
    ///
    /// ```
    /// use downbeat_core::wire::Output;
    /// assert!(Output::new(br#" {"total": 123456789012345678901234567890} "#).is_ok());
    /// assert!(Output::new(b"[1]").is_err());
    /// assert!(Output::new(b"{\"a\":}").is_err());
    /// ```
    pub fn new(raw: &'a [u8]) -> Result<Self, OutputError> {
        let raw = raw.trim_ascii();
        validate(raw).map_err(OutputError::Syntax)?;
        if raw.first() == Some(&b'{') { Ok(Self { raw }) } else { Err(OutputError::NotObject) }
    }

    /// Checks the size against the server's limit, [`OUTPUT_LIMIT`] by default.
    ///
    /// # Errors
    /// [`OutputError::TooLarge`]; its text is the reason to report, terminally.
    pub const fn within(self, limit: usize) -> Result<Self, OutputError> {
        if self.raw.len() > limit {
            return Err(OutputError::TooLarge { len: self.raw.len(), limit });
        }
        Ok(self)
    }

    /// Returns the JSON.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// An object that the scanner has passed already.
    pub(super) const fn scanned(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// What was kept of an output that was checked before; of none, `{}`.
    pub(crate) const fn kept(raw: &'a [u8]) -> Self {
        if raw.is_empty() { Self::EMPTY } else { Self { raw } }
    }
}

impl Default for Output<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({} bytes)", self.raw.len())
    }
}

/// An output that cannot be reported. The text is a reason for the server and holds nothing of the output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OutputError {
    /// Not JSON.
    Syntax(SyntaxError),
    /// JSON, but not an object.
    NotObject,
    /// Larger than the server takes.
    TooLarge {
        /// Its bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
}

impl OutputError {
    /// What is said of it.
    pub(crate) fn message(&self) -> Message {
        match self {
            Self::Syntax(error) => {
                let [first, second, third, fourth, _] = error.message();
                [Piece::Text("the output is not JSON that can be reported: "), first, second, third, fourth]
            }
            Self::NotObject => {
                message(&[Piece::Text("the output is JSON, but not an object as Conductor needs it")])
            }
            Self::TooLarge { len, limit } => [
                Piece::Text("the output has "),
                Piece::Number(*len),
                Piece::Text(" bytes and the server takes "),
                Piece::Number(*limit),
                Piece::Text("; store it elsewhere and report where"),
            ],
        }
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.message(), f)
    }
}

impl core::error::Error for OutputError {}

/// A typed output that could not be encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EncodeError {
    /// It does not fit into the memory.
    Full,
    /// It is no JSON object.
    NotObject,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the result does not fit into the send buffer; enlarge it, or report less output",
            Self::NotObject => "the output is JSON, but not an object as Conductor needs it",
        })
    }
}

impl core::error::Error for EncodeError {}

impl From<Full> for EncodeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

const OUTPUT_DATA: &[u8] = b",\"outputData\":";

impl TaskResult<'_, Output<'_>> {
    /// Writes the result as JSON.
    ///
    /// # Errors
    /// [`Full`]: `out` holds a part of it, which must not be sent.
    ///
    /// ```
    /// use downbeat_core::wire::{Output, SliceBuffer, Status, TaskResult};
    /// let result = TaskResult {
    ///     task_id: "t1",
    ///     workflow_id: "w1",
    ///     worker_id: "host-7",
    ///     status: Status::Completed,
    ///     output: Output::new(br#"{"n":1}"#).unwrap(),
    ///     logs: &[],
    /// };
    /// let mut memory = [0; 128];
    /// let mut body = SliceBuffer::new(&mut memory);
    /// result.encode(&mut body).unwrap();
    /// assert_eq!(
    ///     &*body.into_bytes(),
    ///     br#"{"taskId":"t1","workflowInstanceId":"w1","workerId":"host-7","status":"COMPLETED","outputData":{"n":1}}"#
    /// );
    /// ```
    pub fn encode(&self, out: &mut dyn Out) -> Result<(), Full> {
        self.head(out)?;
        out.put(OUTPUT_DATA)?;
        let mut rest = self.output.raw;
        while let Some((plain, tail)) = nul_in(rest).and_then(|at| rest.split_at_checked(at)) {
            out.put(plain)?;
            out.put(REPLACED)?;
            rest = tail.get(REPLACED.len()..).unwrap_or_default();
        }
        out.put(rest)?;
        out.put(b"}")
    }
}

impl<O> TaskResult<'_, O> {
    /// Writes all but the output and the closing brace. Not once more for each kind of `out`: that is much code.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn head(&self, out: &mut dyn Out) -> Result<(), Full> {
        ids(self.task_id, self.workflow_id, out)?;
        if !self.worker_id.is_empty() {
            out.put(b",\"workerId\":")?;
            string(self.worker_id, out)?;
        }
        out.put(b",\"status\":")?;
        string(self.status.word(), out)?;
        match self.status {
            Status::Completed => {}
            Status::Failed { reason } | Status::FailedTerminal { reason } => {
                out.put(b",\"reasonForIncompletion\":")?;
                prose(cut(reason, REASON_CHARS), out)?;
            }
            Status::InProgress { callback_after } => {
                out.put(b",\"callbackAfterSeconds\":")?;
                number(whole_seconds(callback_after), out)?;
            }
        }
        if !self.logs.is_empty() {
            out.put(b",\"logs\":[")?;
            for (index, log) in self.logs.iter().take(LOGS_MAX).enumerate() {
                out.put(if index == 0 { b"{\"log\":" } else { b",{\"log\":" })?;
                prose(log.text, out)?;
                out.put(b",\"createdTime\":")?;
                number(log.created, out)?;
                out.put(b"}")?;
            }
            out.put(b"]")?;
        }
        Ok(())
    }
}

impl<O: Serialize> TaskResult<'_, O> {
    /// Writes the result as JSON, with the output encoded by serde, and answers its length.
    ///
    /// The encoder is serde-json-core's: floats that are no numbers become `null`, and types that JSON has no name
    /// for (bytes, `char`, maps with keys that are no strings) must not be in the output.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn encode_typed(&self, memory: &mut [u8]) -> Result<usize, EncodeError> {
        let mut out = SliceBuffer::new(memory);
        self.head(&mut out)?;
        out.put(OUTPUT_DATA)?;
        let spare = out.spare();
        let len = serde_json_core::to_slice(&self.output, spare).map_err(|_| EncodeError::Full)?;
        if spare.first() != Some(&b'{') {
            return Err(EncodeError::NotObject);
        }
        let mut from = 0_usize;
        while let Some(at) = spare.get(from..len).and_then(nul_in) {
            from = from.saturating_add(at);
            let escape = spare.get_mut(from..).and_then(<[u8]>::first_chunk_mut);
            let Some(escape) = escape else { break };
            *escape = *REPLACED;
        }
        out.grow(len);
        out.put(b"}")?;
        Ok(out.len())
    }
}

/// Writes the body that extends a task's lease of length `lease` and changes nothing else.
///
/// A server of today looks at `extendLease` and drops the rest without a word (R-LEASE-3); the rest is for
/// others. Some answer 500 to a body without a status, so it says `IN_PROGRESS`. One from before 2022-08 does
/// not know `extendLease`, and takes `IN_PROGRESS` for a give-back. `callbackAfterSeconds`, the lease in
/// whole seconds, rounded up, at least 1, keeps it from handing the task out again before the lease would
/// have ended. Such a server also forgets the task's polled output. An empty `worker_id` is left out.
///
/// # Errors
/// [`Full`]: `out` holds a part of it, which must not be sent.
///
/// ```
/// use core::time::Duration;
/// use downbeat_core::wire::{SliceBuffer, encode_extend};
/// let mut memory = [0; 192];
/// let mut body = SliceBuffer::new(&mut memory);
/// encode_extend("t1", "w1", "", Duration::from_secs(30), &mut body).unwrap();
/// let sent = br#"{"taskId":"t1","workflowInstanceId":"w1","status":"IN_PROGRESS","callbackAfterSeconds":30,"extendLease":true,"supportsCancellation":true}"#;
/// assert_eq!(&*body.into_bytes(), sent);
/// ```
pub fn encode_extend(
    task_id: &str,
    workflow_id: &str,
    worker_id: &str,
    lease: Duration,
    out: &mut dyn Out,
) -> Result<(), Full> {
    let status = Status::InProgress { callback_after: lease };
    TaskResult { task_id, workflow_id, worker_id, status, output: Output::EMPTY, logs: &[] }.head(out)?;
    out.put(b",\"extendLease\":true,\"supportsCancellation\":true}")
}

/// Writes the body that gives a task back: `IN_PROGRESS`, to be delivered again after 1 s, its polled output echoed,
/// because a report replaces it.
///
/// # Errors
/// [`Full`]: `out` holds a part of it, which must not be sent.
pub fn encode_give_back(
    task_id: &str,
    workflow_id: &str,
    worker_id: &str,
    polled: Output<'_>,
    out: &mut dyn Out,
) -> Result<(), Full> {
    let status = Status::InProgress { callback_after: Duration::from_secs(1) };
    TaskResult { task_id, workflow_id, worker_id, status, output: polled, logs: &[] }.encode(out)
}

/// Writes the body that asks for a token.
///
/// # Errors
/// [`Full`]: `out` holds a part of it, which must not be sent.
pub fn encode_token_request(key: &str, secret: &str, out: &mut dyn Out) -> Result<(), Full> {
    out.put(b"{\"keyId\":")?;
    string(key, out)?;
    out.put(b",\"keySecret\":")?;
    string(secret, out)?;
    out.put(b"}")
}

/// Writes a JSON string, quotes included: quotes, backslashes and control characters are escaped, the rest is UTF-8.
///
/// # Errors
/// [`Full`]: `out` holds a part of it.
pub fn encode_string(text: &str, out: &mut dyn Out) -> Result<(), Full> {
    string(text, out)
}

fn ids(task_id: &str, workflow_id: &str, out: &mut dyn Out) -> Result<(), Full> {
    out.put(b"{\"taskId\":")?;
    string(task_id, out)?;
    out.put(b",\"workflowInstanceId\":")?;
    string(workflow_id, out)
}

fn string(text: &str, out: &mut dyn Out) -> Result<(), Full> {
    escaped(text, b"\\u0000", out)
}

/// A string that is for people, U+0000 as U+FFFD: a PostgreSQL back end answers 500 to a result with U+0000 in it, and
/// records it all the same.
fn prose(text: &str, out: &mut dyn Out) -> Result<(), Full> {
    escaped(text, "\u{fffd}".as_bytes(), out)
}

/// What is sent for U+0000 in an output.
const REPLACED: &[u8; 6] = b"\\ufffd";

/// Where U+0000 stands in JSON, in a key or in a value: it can only be escaped there, and nothing but a string has a
/// backslash.
fn nul_in(json: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        at = at.saturating_add(json.get(at..)?.iter().position(|byte| *byte == b'\\')?);
        if json.get(at..)?.starts_with(b"\\u0000") {
            return Some(at);
        }
        // What is escaped may be a backslash itself.
        at = at.saturating_add(2);
    }
}

#[cfg_attr(target_pointer_width = "32", inline(never))]
fn escaped(text: &str, nul: &[u8], out: &mut dyn Out) -> Result<(), Full> {
    out.put(b"\"")?;
    let mut rest = text.as_bytes();
    loop {
        let special = |byte: &u8| matches!(byte, 0x00..=0x1f | b'"' | b'\\');
        let plain = rest.iter().position(special).unwrap_or(rest.len());
        out.put(rest.get(..plain).unwrap_or_default())?;
        let Some((byte, tail)) = rest.get(plain..).and_then(<[u8]>::split_first) else { break };
        match byte {
            b'"' => out.put(b"\\\"")?,
            b'\\' => out.put(b"\\\\")?,
            b'\n' => out.put(b"\\n")?,
            b'\r' => out.put(b"\\r")?,
            b'\t' => out.put(b"\\t")?,
            0 => out.put(nul)?,
            _ => {
                let hex = |digit: u8| char::from_digit(u32::from(digit), 16).map_or(b'0', |c| c as u8);
                out.put(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)])?;
            }
        }
        rest = tail;
    }
    out.put(b"\"")
}

fn number(value: i64, out: &mut dyn Out) -> Result<(), Full> {
    if value < 0 {
        out.put(b"-")?;
    }
    put_number(value.unsigned_abs(), out)
}

/// Rounded up, so that no task comes back earlier than the machine believes; at most what an i64 holds.
fn whole_seconds(delay: Duration) -> i64 {
    let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The beginning of `text` that has at most `units` UTF-16 units: what the server counts.
fn cut(text: &str, units: usize) -> &str {
    let mut left = units;
    for (at, c) in text.char_indices() {
        match left.checked_sub(c.len_utf16()) {
            Some(rest) => left = rest,
            None => return text.get(..at).unwrap_or_default(),
        }
    }
    text
}
