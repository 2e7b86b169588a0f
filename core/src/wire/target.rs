//! Where requests go: path and query below the API's base, percent-encoded.

use core::fmt;
use core::time::Duration;

use heapless::{String, Vec};

use super::out::{Full, Out, put_number};

/// A target that is large enough for names of 64 characters and more; the functions here take any size.
pub type Target = String<512>;

/// `POST`: report a result.
pub const UPDATE: &str = "/tasks";
/// `POST`: report a result and get the next task.
pub const UPDATE_V2: &str = "/tasks/update-v2";
/// `POST`: get a token.
pub const TOKEN: &str = "/token";
/// `POST`: register task definitions, an array.
pub const TASK_DEFS: &str = "/metadata/taskdefs";
/// `GET`: the server's version, as text.
pub const VERSION: &str = "/version";

/// A target that cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetError {
    /// It is longer than the string for it.
    TooLong,
    /// A name that goes into the path is empty, `.` or `..`, or has a `/` in it, which the server answers
    /// with 400 (R-HTTP-7).
    Segment,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => {
                "the request's target is too long; use shorter task type, worker and domain names"
            }
            Self::Segment => {
                "a task type or id is empty, `.`, `..` or has a `/` in it, which no path can carry"
            }
        })
    }
}

impl core::error::Error for TargetError {}

/// Makes the target of a `GET` that polls for up to `count` tasks, held by the server for up to `wait` (whole
/// milliseconds).
///
/// An empty `domain` is none.
///
/// # Errors
/// See [`TargetError`].
///
/// ```
/// use core::time::Duration;
/// use downbeat_core::wire::target::{self, Target};
/// let target: Target = target::poll("greet people", "host-1", 3, Duration::from_secs(1), Some("d&1")).unwrap();
/// assert_eq!(target, "/tasks/poll/batch/greet%20people?workerid=host-1&count=3&timeout=1000&domain=d%261");
/// ```
pub fn poll<const N: usize>(
    task_type: &str,
    worker: &str,
    count: u16,
    wait: Duration,
    domain: Option<&str>,
) -> Result<String<N>, TargetError> {
    let mut text = Vec::new();
    write_poll(task_type, worker, count, wait, domain, &mut text)?;
    text_of(text)
}

/// Writes the target as [`poll`] does, into memory of the caller's.
///
/// # Errors
/// See [`TargetError`]; `out` then holds a part of it.
pub fn write_poll(
    task_type: &str,
    worker: &str,
    count: u16,
    wait: Duration,
    domain: Option<&str>,
    out: &mut dyn Out,
) -> Result<(), TargetError> {
    let mut target = Builder { out, has_query: false };
    target.put("/tasks/poll/batch/")?;
    target.segment(task_type)?;
    target.query("workerid", worker)?;
    target.number("count", u64::from(count))?;
    target.number("timeout", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))?;
    target.domain(domain)
}

/// Makes the target of a `GET` that polls for one task. 200 and the task, or 204 after 100 ms.
///
/// # Errors
/// See [`TargetError`].
pub fn poll_one<const N: usize>(
    task_type: &str,
    worker: &str,
    domain: Option<&str>,
) -> Result<String<N>, TargetError> {
    made("/tasks/poll/", |target| {
        target.segment(task_type)?;
        target.query("workerid", worker)?;
        target.domain(domain)
    })
}

/// Makes the target by which `GET` reads one task, whatever its state; `POST` with `/log` after it appends a
/// log line.
///
/// # Errors
/// See [`TargetError`].
pub fn task<const N: usize>(task_id: &str) -> Result<String<N>, TargetError> {
    made("/tasks/", |target| target.segment(task_id))
}

/// Writes the target as [`task`] does, into memory of the caller's.
///
/// # Errors
/// See [`TargetError`]; `out` then holds a part of it.
pub fn write_task(task_id: &str, out: &mut dyn Out) -> Result<(), TargetError> {
    let mut target = Builder { out, has_query: false };
    target.put("/tasks/")?;
    target.segment(task_id)
}

/// Makes the target of a `POST` of a text, which appends a line to a task's log.
///
/// # Errors
/// See [`TargetError`].
pub fn task_log<const N: usize>(task_id: &str) -> Result<String<N>, TargetError> {
    made("/tasks/", |target| {
        target.segment(task_id)?;
        target.put("/log")
    })
}

/// Makes the target of a `POST` of the output object, which reports a task by its workflow and reference
/// name. `status` is as [`Status::word`](super::Status::word).
///
/// # Errors
/// See [`TargetError`].
pub fn update_by_name<const N: usize>(
    workflow_id: &str,
    reference_name: &str,
    status: &str,
    worker: &str,
) -> Result<String<N>, TargetError> {
    made("/tasks/", |target| {
        target.segment(workflow_id)?;
        target.put("/")?;
        target.segment(reference_name)?;
        target.put("/")?;
        target.segment(status)?;
        target.query("workerid", worker)
    })
}

/// Makes the target of a `GET` of how many tasks of a type wait, a JSON number.
///
/// # Errors
/// See [`TargetError`].
pub fn queue_size<const N: usize>(task_type: &str, domain: Option<&str>) -> Result<String<N>, TargetError> {
    made("/tasks/queue/size", |target| {
        target.query("taskType", task_type)?;
        target.domain(domain)
    })
}

/// Makes the target of a `GET` of where an input that came as `externalInputPayloadStoragePath` can be
/// fetched.
///
/// # Errors
/// See [`TargetError`].
pub fn external_input<const N: usize>(path: &str) -> Result<String<N>, TargetError> {
    made("/tasks/externalstoragelocation", |target| {
        target.query("path", path)?;
        target.query("operation", "READ")?;
        target.query("payloadType", "TASK_INPUT")
    })
}

fn made<const N: usize>(
    path: &str,
    rest: impl FnOnce(&mut Builder<'_>) -> Result<(), TargetError>,
) -> Result<String<N>, TargetError> {
    let mut text = Vec::new();
    let mut target = Builder { out: &mut text, has_query: false };
    target.put(path)?;
    rest(&mut target)?;
    text_of(text)
}

fn text_of<const N: usize>(text: Vec<u8, N>) -> Result<String<N>, TargetError> {
    String::from_utf8(text).map_err(|_| TargetError::TooLong)
}

struct Builder<'o> {
    out: &'o mut dyn Out,
    has_query: bool,
}

impl From<Full> for TargetError {
    fn from(_: Full) -> Self {
        Self::TooLong
    }
}

impl Builder<'_> {
    fn put(&mut self, text: &str) -> Result<(), TargetError> {
        Ok(self.out.put(text.as_bytes())?)
    }

    fn segment(&mut self, name: &str) -> Result<(), TargetError> {
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(TargetError::Segment);
        }
        self.encoded(name)
    }

    fn name(&mut self, name: &str) -> Result<(), TargetError> {
        self.put(if self.has_query { "&" } else { "?" })?;
        self.has_query = true;
        self.put(name)?;
        self.put("=")
    }

    fn query(&mut self, name: &str, value: &str) -> Result<(), TargetError> {
        self.name(name)?;
        self.encoded(value)
    }

    fn number(&mut self, name: &str, value: u64) -> Result<(), TargetError> {
        self.name(name)?;
        Ok(put_number(value, self.out)?)
    }

    fn domain(&mut self, domain: Option<&str>) -> Result<(), TargetError> {
        match domain.filter(|domain| !domain.is_empty()) {
            Some(domain) => self.query("domain", domain),
            None => Ok(()),
        }
    }

    /// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
    fn encoded(&mut self, text: &str) -> Result<(), TargetError> {
        let hex = |digit: u8| if digit < 10 { b'0'.wrapping_add(digit) } else { b'7'.wrapping_add(digit) };
        let reserved =
            |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'.' | b'_' | b'~');
        let mut rest = text.as_bytes();
        loop {
            let plain = rest.iter().position(reserved).unwrap_or(rest.len());
            let (plain, tail) = rest.split_at_checked(plain).unwrap_or_default();
            self.out.put(plain)?;
            let Some((byte, tail)) = tail.split_first() else { return Ok(()) };
            self.out.put(&[b'%', hex(byte >> 4), hex(byte & 15)])?;
            rest = tail;
        }
    }
}
