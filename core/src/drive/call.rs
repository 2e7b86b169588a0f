//! The one call in flight: how its request is written, and what its answer means.

use core::time::Duration;

use super::config::{Config, DOES_NOT_FIT};
use super::slots::Slots;
use crate::http::{Exchange, HeadError, Inbox, write_head};
use crate::machine::{Answer, CallError, CallId, EntryId, Fault, Instant, Instead, Reply};
use crate::ports::{Content, Head, Method, Request};
use crate::wire::{
    Accepted, Buffer, CallKind, Counter, Full, Out, Output, PREFIX, SliceBuffer, Status, classify,
    encode_extend, encode_give_back, encode_token_request, read_token, reason_instead, target,
};

/// A call in flight.
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) purpose: Purpose,
    pub(super) deadline: Instant,
    pub(super) exchange: Exchange,
    /// Bytes of the request in the send buffer.
    pub(super) request: usize,
    pub(super) inbox: Inbox,
    pub(super) head: Option<Head>,
    /// Bytes kept of the body, or of the task in it.
    pub(super) kept: usize,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    Poll { count: u16, wait: Duration },
    Update { entry: EntryId, take_next: bool, instead: Option<Instead> },
    Extend { entry: EntryId },
    Ask { entry: EntryId },
    GiveBack,
    Refresh,
}

impl Purpose {
    const fn kind(self) -> CallKind {
        match self {
            Self::Poll { .. } => CallKind::Poll,
            Self::Update { take_next: true, .. } => CallKind::UpdateV2,
            Self::Update { take_next: false, .. } | Self::Extend { .. } | Self::GiveBack => CallKind::Update,
            Self::Ask { .. } => CallKind::Other,
            Self::Refresh => CallKind::Token,
        }
    }

    /// How long the server may hold the call by what it was asked.
    pub(super) const fn held(self) -> Duration {
        match self {
            Self::Poll { wait, .. } => wait,
            Self::Update { .. } | Self::Extend { .. } | Self::Ask { .. } | Self::GiveBack | Self::Refresh => {
                Duration::ZERO
            }
        }
    }

    /// Whether it brings tasks or carries a result: for such a call the driver waits longer.
    pub(super) fn is_long<const N: usize, const R: usize>(self, slots: &Slots<N, R>) -> bool {
        match self {
            Self::Poll { .. } => true,
            Self::Update { entry, instead, .. } => instead.is_some() || !slots.yields(entry),
            Self::Extend { .. } | Self::Ask { .. } | Self::GiveBack | Self::Refresh => false,
        }
    }

    /// Whether an answer with this head is tasks, to be read as they arrive: new ones, or the one that was asked about.
    pub(super) fn reads_tasks(self, head: &Head) -> bool {
        let tasks = matches!(self.kind(), CallKind::Poll | CallKind::UpdateV2 | CallKind::Other);
        tasks && head.json && (200..=299).contains(&head.status) && head.status != 204
    }
}

/// Writes a request into `memory`: bytes of its head, and of its body. `scratch` takes the target of a poll.
pub(super) fn write<const N: usize, const R: usize>(
    purpose: Purpose,
    config: &Config<'_>,
    token: &str,
    slots: &Slots<N, R>,
    memory: &mut [u8],
    scratch: &mut [u8],
) -> Result<(usize, usize), HeadError> {
    let mut made = SliceBuffer::new(scratch);
    let (method, target) = match purpose {
        Purpose::Poll { count, wait } => {
            let domain = Some(config.domain);
            target::write_poll(config.task_type, config.worker_id, count, wait, domain, &mut made)
                .map_err(|_| HeadError::Unfit)?;
            (Method::Get, "")
        }
        Purpose::Ask { entry } => {
            let (ids, _) = slots.lease_of(entry).ok_or(HeadError::Unfit)?;
            target::write_task(&ids.task, &mut made).map_err(|_| HeadError::Unfit)?;
            (Method::Get, "")
        }
        Purpose::Update { take_next: true, .. } => (Method::Post, target::UPDATE_V2),
        Purpose::Update { .. } | Purpose::Extend { .. } | Purpose::GiveBack => (Method::Post, target::UPDATE),
        Purpose::Refresh => (Method::Post, target::TOKEN),
    };
    let gets = method == Method::Get;
    let target = if gets { str::from_utf8(made.into_bytes()).unwrap_or_default() } else { target };
    let content = if gets { Content::None } else { Content::Json };
    let token = if purpose == Purpose::Refresh { "" } else { token };
    let request =
        Request { method, target, content, body: &[], token: Some(token).filter(|token| !token.is_empty()) };
    let mut attempt = |fits: bool| {
        let mut length = Counter::default();
        write_body(purpose, config, slots, fits, &mut length)?;
        let mut out = SliceBuffer::new(memory);
        write_head(&config.site, &request, length.len, &mut out)?;
        let head = out.len();
        write_body(purpose, config, slots, fits, &mut out)?;
        Ok((head, length.len))
    };
    match (attempt(true), purpose) {
        (Err(HeadError::Full), Purpose::Update { .. }) => attempt(false),
        (written, _) => written,
    }
}

/// `fits`: false if the result itself did not, and that is what is reported.
fn write_body<const N: usize, const R: usize>(
    purpose: Purpose,
    config: &Config<'_>,
    slots: &Slots<N, R>,
    fits: bool,
    out: &mut dyn Out,
) -> Result<(), Full> {
    match purpose {
        Purpose::Poll { .. } | Purpose::Ask { .. } => Ok(()),
        Purpose::Update { entry, instead, .. } => {
            let mut report = slots.report(entry, config.worker_id).ok_or(Full)?;
            if let Some(why) = instead {
                report.status = Status::instead(why, reason_instead(why));
            } else if !fits {
                report.status = Status::FailedTerminal { reason: DOES_NOT_FIT };
            }
            if instead.is_some() || !fits {
                report.output = Output::EMPTY;
            }
            report.encode(out)
        }
        Purpose::Extend { entry } => {
            let (ids, lease) = slots.lease_of(entry).ok_or(Full)?;
            encode_extend(&ids.task, &ids.workflow, config.worker_id, lease, out)
        }
        Purpose::GiveBack => {
            let given_back = slots.given_back.as_ref().ok_or(Full)?;
            let polled = Output::kept(&given_back.polled);
            encode_give_back(&given_back.ids.task, &given_back.ids.workflow, config.worker_id, polled, out)
        }
        Purpose::Refresh => {
            let key = config.key.ok_or(Full)?;
            encode_token_request(key.id, key.secret, out)
        }
    }
}

/// What a whole answer means. `body` is what was kept of it. `tasks` says, if those in it were whole, whether
/// the one that was asked about is over.
pub(super) fn understand(
    purpose: Purpose,
    head: &Head,
    body: &[u8],
    tasks: Option<bool>,
    token: &mut Token<'_>,
) -> Reply {
    let prefix = if purpose.reads_tasks(head) { &[] } else { body.get(..PREFIX).unwrap_or(body) };
    match classify(purpose.kind(), head, prefix)? {
        Accepted::Empty if matches!(purpose, Purpose::Ask { .. }) && tasks == Some(true) => Ok(Answer::Ended),
        Accepted::Empty => Ok(Answer::Done),
        Accepted::NoAuth => {
            token.len = 0;
            Ok(Answer::NoAuth)
        }
        Accepted::Body if purpose == Purpose::Refresh => token.read(body),
        Accepted::Body if tasks.is_some() => Ok(Answer::Done),
        Accepted::Body => Err(CallError::new(Fault::Unknown)),
    }
}

/// The token's memory.
pub(super) struct Token<'b> {
    pub(super) memory: &'b mut [u8],
    pub(super) len: usize,
}

impl Token<'_> {
    pub(super) fn text(&self) -> &str {
        self.memory.get(..self.len).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn read(&mut self, body: &[u8]) -> Reply {
        let unreadable = CallError::new(Fault::Unknown);
        let text = read_token(body).map_err(|_| unreadable)?;
        let mut out = SliceBuffer::new(self.memory);
        for c in text.chars() {
            let mut utf8 = [0; 4];
            out.put(c.encode_utf8(&mut utf8).as_bytes()).map_err(|_| unreadable)?;
        }
        self.len = out.len();
        Ok(Answer::Token { valid_for: None })
    }
}

/// The part of the receive buffer that keeps a task, a token's answer, or the beginning of any other.
pub(super) struct Kept<'m> {
    pub(super) memory: &'m mut [u8],
    pub(super) len: &'m mut usize,
}

impl Out for Kept<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len.checked_add(bytes.len()).ok_or(Full)?;
        self.memory.get_mut(*self.len..end).ok_or(Full)?.copy_from_slice(bytes);
        *self.len = end;
        Ok(())
    }
}

impl Buffer for Kept<'_> {
    fn clear(&mut self) {
        *self.len = 0;
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(..*self.len).unwrap_or_default()
    }

    fn room(&self) -> usize {
        self.memory.len()
    }
}
