//! A TCP stream whose operations end with a deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use downbeat_core::machine::{Clock as _, Instant};
use rustix::net::{RecvFlags, recv};

use crate::clock::StdClock;

/// How much later than the deadline an operation may end, so that most calls need not set the socket's timeout anew.
const SLACK: Duration = Duration::from_millis(100);

/// A connected stream.
pub(super) struct Socket {
    stream: TcpStream,
    clock: StdClock,
    deadline: Instant,
    /// The timeouts that the system knows.
    reads: Option<Duration>,
    writes: Option<Duration>,
}

/// What can be seen of an idle socket without waiting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Idle {
    Quiet,
    /// There are bytes to be read.
    Speaks,
    /// The peer has closed it, or it is broken.
    Gone,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, clock: StdClock, deadline: Instant) -> Self {
        Self { stream, clock, deadline, reads: None, writes: None }
    }

    pub(super) const fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
    }

    pub(super) fn look(&self) -> Idle {
        let mut byte = [0; 1];
        match recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Idle::Gone,
            Ok(_) => Idle::Speaks,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Idle::Quiet,
            Err(_) => Idle::Gone,
        }
    }

    /// Performs an operation until it ends for another reason than the socket's own timeout, or the time is over.
    ///
    /// The socket's timeout is set anew only where it would end the operation too late, or far too early: a timeout
    /// before the deadline is followed by another try.
    fn within<T>(
        &mut self,
        known: fn(&mut Self) -> &mut Option<Duration>,
        set: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut operate: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let left = self.deadline.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let now = *known(self);
            if now.is_none_or(|now| now > left + SLACK || now < left / 2) {
                set(&self.stream, Some(left))?;
                *known(self) = Some(left);
            }
            match operate(&mut self.stream) {
                Err(error) if is_temporary(error.kind()) => {}
                end => return end,
            }
        }
    }
}

/// The socket's timeout, as the systems name it, or a signal.
fn is_temporary(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.within(|socket| &mut socket.reads, TcpStream::set_read_timeout, |stream| stream.read(buf))
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.within(|socket| &mut socket.writes, TcpStream::set_write_timeout, |stream| stream.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
