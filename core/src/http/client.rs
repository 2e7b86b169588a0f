//! A transport over a blocking link, in the caller's memory.

use super::exchange::{Exchange, Want};
use super::inbox::Inbox;
use super::link::{Link, cause_of};
use super::request::{Site, write_head};
use super::response::Event;
use crate::machine::Instant;
use crate::ports::{Cause, Failure, Head, Reach, Request, Sink, Transport};
use crate::wire::{Out, SliceBuffer};

/// One connection to the server, kept between calls.
///
/// `M` is the memory (an array, a slice, a vector): it holds a request's head, and its body if there is room.
/// Then it holds the answer's head, which must fit into it, and its body in pieces. 1 KiB is enough for
/// Conductor's own answers; a large token needs its length more. A body that does not fit beside its head is
/// written on its own.
pub struct Client<L, M> {
    link: L,
    memory: M,
    open: bool,
}

impl<L, M> Client<L, M> {
    /// Connects with the first call.
    pub const fn new(link: L, memory: M) -> Self {
        Self { link, memory, open: false }
    }

    /// Returns whether there is a connection that the next call tries first.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Returns the link.
    pub const fn link_mut(&mut self) -> &mut L {
        &mut self.link
    }
}

impl<L: Link, M: AsMut<[u8]>> Client<L, M> {
    /// Performs one exchange; the same as [`Transport::exchange`] for a server that is named with each call.
    ///
    /// # Errors
    /// See [`Failure`]; the connection is dropped then.
    pub fn exchange(
        &mut self,
        site: &Site<'_>,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure> {
        let open = core::mem::take(&mut self.open);
        let memory = self.memory.as_mut();
        let mut out = SliceBuffer::new(memory);
        let unsent = |cause| Failure { reach: Reach::NotSent, cause };
        write_head(site, request, request.body.len(), &mut out).map_err(|error| unsent(error.cause()))?;
        let head = out.len();
        let joined = out.put(request.body).is_ok();
        let mut call = Call {
            exchange: Exchange::new(open, head, request.body.len()),
            inbox: Inbox::new(),
            head: None,
            sent: if joined { Sent::Joined(out.len()) } else { Sent::Apart { head, body: request.body } },
        };
        self.link.set_deadline(deadline);
        while call.exchange.want() != Want::Nothing {
            call.turn(&mut self.link, memory, sink)?;
        }
        self.open = call.exchange.keeps_connection() && call.inbox.is_empty();
        call.head.ok_or(Failure { reach: Reach::Sent, cause: Cause::Protocol })
    }
}

/// A [`Client`] of one server.
pub struct Fixed<'s, L, M> {
    /// The connection.
    pub client: Client<L, M>,
    /// The server.
    pub site: Site<'s>,
}

impl<L: Link, M: AsMut<[u8]>> Transport for Fixed<'_, L, M> {
    fn exchange(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure> {
        self.client.exchange(&self.site, request, deadline, sink)
    }
}

struct Call<'a> {
    exchange: Exchange,
    inbox: Inbox,
    head: Option<Head>,
    sent: Sent<'a>,
}

/// Where the request's bytes are.
enum Sent<'a> {
    /// All at the front of the memory; how many.
    Joined(usize),
    Apart {
        head: usize,
        body: &'a [u8],
    },
}

impl Call<'_> {
    fn turn<L: Link>(&mut self, link: &mut L, memory: &mut [u8], sink: &mut dyn Sink) -> Result<(), Failure> {
        match self.exchange.want() {
            Want::Check => {
                self.exchange.checked(link.is_stale());
                Ok(())
            }
            Want::Connect => self.exchange.connected(link.reconnect()),
            Want::Write { from } => {
                let wrote = link.write(self.sent.pending(from, memory));
                self.exchange.wrote(wrote.map_err(|error| cause_of(&error)))
            }
            Want::Flush => self.exchange.flushed(link.flush().map_err(|error| cause_of(&error))),
            Want::Read => {
                self.take(memory, sink).and_then(|more| if more { self.read(link, memory) } else { Ok(()) })
            }
            Want::Nothing => Ok(()),
        }
    }

    /// Takes what was read; whether more is needed.
    fn take(&mut self, memory: &[u8], sink: &mut dyn Sink) -> Result<bool, Failure> {
        loop {
            let (taken, event) = self.exchange.next(self.inbox.bytes(memory))?;
            self.inbox.take(taken);
            match event {
                Event::More => return Ok(true),
                Event::End => return Ok(false),
                Event::Head(head) => {
                    self.head = Some(head);
                    sink.head(&head);
                }
                Event::Chunk(bytes) => {
                    sink.chunk(bytes).map_err(|_| self.exchange.fail(Cause::TooLarge))?;
                }
            }
        }
    }

    fn read<L: Link>(&mut self, link: &mut L, memory: &mut [u8]) -> Result<(), Failure> {
        let room = self.inbox.room(memory, 0);
        if room.is_empty() {
            return Err(self.exchange.fail(Cause::Protocol));
        }
        match link.read(room) {
            Ok(0) => self.exchange.ended(Ok(())),
            Ok(count) => {
                self.inbox.filled(count);
                Ok(())
            }
            Err(error) => self.exchange.ended(Err(cause_of(&error))),
        }
    }
}

impl Sent<'_> {
    fn pending<'p>(&'p self, from: usize, memory: &'p [u8]) -> &'p [u8] {
        match *self {
            Self::Joined(total) => memory.get(from..total).unwrap_or_default(),
            Self::Apart { head, .. } if from < head => memory.get(from..head).unwrap_or_default(),
            Self::Apart { head, body } => body.get(from.saturating_sub(head)..).unwrap_or_default(),
        }
    }
}
