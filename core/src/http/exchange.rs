//! One request and its answer, without I/O: what to do next, and what a failure means.

use super::response::{Event, Response};
use crate::ports::{Cause, Failure, Reach};

/// One request and its answer as a state machine.
///
/// Whoever performs it asks [`Exchange::want`], does that, and tells how it went. Once it reads, bytes go through
/// [`Exchange::next`].
///
/// **When a request is sent again.** A kept connection may have been closed by the server while it was idle. The
/// request is then sent once more, on a new connection, if nothing of it can have taken effect:
/// - the close was seen before the first byte was written ([`Link::is_stale`](super::Link::is_stale)), or
/// - a write failed before the stream had taken the whole head, so that no server can have seen a request.
///
/// In every other case it is not: a request that was written as a whole, and got no byte of an answer, may have
/// taken effect. That holds for `GET`, too: a poll takes tasks (R-POLL-1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    phase: Phase,
    /// Bytes of the request's head, and of all of it.
    head: usize,
    total: usize,
    written: usize,
    /// The connection was used before, and the request has not been sent again yet.
    reused: bool,
    response: Response,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Check,
    Connect,
    Write,
    Flush,
    Read,
    Over,
}

/// What an exchange needs now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Want {
    /// Look whether the kept connection is stale; tell by [`Exchange::checked`].
    Check,
    /// A new connection; tell by [`Exchange::connected`].
    Connect,
    /// Write the request's bytes from this one on; tell by [`Exchange::wrote`].
    Write {
        /// How many of the request's bytes were written.
        from: usize,
    },
    /// Flush what was written; tell by [`Exchange::flushed`].
    Flush,
    /// Give what was read to [`Exchange::next`]; if it needs more, read, and tell an end or an error by
    /// [`Exchange::ended`].
    Read,
    /// Nothing: the exchange is over.
    Nothing,
}

impl Exchange {
    /// Begins to send a request whose head has `head` bytes and whose body has `body`. `open`: there is a connection
    /// that was kept after another exchange.
    #[must_use]
    pub const fn new(open: bool, head: usize, body: usize) -> Self {
        Self {
            phase: if open { Phase::Check } else { Phase::Connect },
            head,
            total: head.saturating_add(body),
            written: 0,
            reused: open,
            response: Response::new(),
        }
    }

    /// Returns what to do next.
    #[must_use]
    pub const fn want(&self) -> Want {
        match self.phase {
            Phase::Check => Want::Check,
            Phase::Connect => Want::Connect,
            Phase::Write => Want::Write { from: self.written },
            Phase::Flush => Want::Flush,
            Phase::Read => Want::Read,
            Phase::Over => Want::Nothing,
        }
    }

    /// Tells that the kept connection was looked at.
    pub const fn checked(&mut self, stale: bool) {
        self.reused = !stale;
        self.phase = if stale { Phase::Connect } else { Phase::Write };
    }

    /// Tells whether a new connection was made.
    ///
    /// # Errors
    /// The exchange is over, and nothing was sent.
    pub fn connected(&mut self, result: Result<(), Cause>) -> Result<(), Failure> {
        match result {
            Ok(()) => {
                self.phase = Phase::Write;
                Ok(())
            }
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// Tells that the stream took so many of the request's bytes, or none and failed.
    ///
    /// # Errors
    /// The exchange is over.
    pub fn wrote(&mut self, result: Result<usize, Cause>) -> Result<(), Failure> {
        match result {
            Ok(count) if count > 0 => {
                self.written = self.written.saturating_add(count);
                if self.written >= self.total {
                    self.phase = Phase::Flush;
                }
                Ok(())
            }
            Ok(_) | Err(Cause::Closed) if self.written >= self.head => {
                // The server may have answered before it had read all: 413, and the connection's end.
                self.phase = Phase::Read;
                Ok(())
            }
            Ok(_) | Err(Cause::Closed) if self.reused => {
                self.reused = false;
                self.written = 0;
                self.phase = Phase::Connect;
                Ok(())
            }
            Ok(_) => Err(self.fail(Cause::Closed)),
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// Tells whether all was flushed.
    ///
    /// # Errors
    /// The exchange is over.
    pub fn flushed(&mut self, result: Result<(), Cause>) -> Result<(), Failure> {
        match result {
            Ok(()) => {
                self.phase = Phase::Read;
                Ok(())
            }
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// Takes bytes of the answer, as [`Response::next`] does.
    ///
    /// # Errors
    /// The exchange is over.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Failure> {
        match self.response.next(input) {
            Ok((taken, event)) => {
                if event == Event::End {
                    self.phase = Phase::Over;
                }
                Ok((taken, event))
            }
            Err(error) => Err(self.fail(error.cause())),
        }
    }

    /// Tells that the stream ended (`Ok`) or a read failed, and returns whether the answer is whole.
    ///
    /// # Errors
    /// It is not; the exchange is over.
    pub fn ended(&mut self, result: Result<(), Cause>) -> Result<(), Failure> {
        let end = result.and_then(|()| self.response.finish().map_err(|error| error.cause()));
        if let Err(cause) = end {
            return Err(self.fail(cause));
        }
        self.phase = Phase::Over;
        Ok(())
    }

    /// Ends the exchange, for a reason of its performer's.
    pub fn fail(&mut self, cause: Cause) -> Failure {
        self.phase = Phase::Over;
        self.response = Response::new();
        let reach = if self.written < self.head { Reach::NotSent } else { Reach::Sent };
        Failure { reach, cause }
    }

    /// Returns whether the answer's head is still to come.
    #[must_use]
    pub const fn in_head(&self) -> bool {
        self.response.in_head()
    }

    /// Returns whether the next exchange may use the same connection.
    #[must_use]
    pub const fn keeps_connection(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.response.keeps_connection() && self.written >= self.total
    }
}
