//! A blocking stream of the standard library as core's `Link`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use downbeat_core::drive::Link;
use downbeat_core::machine::{Clock as _, Instant};
use downbeat_core::ports::Cause;
use embedded_io::ErrorKind;

use crate::{SystemClock, connect, kind_of};

/// One connection at a time to one server.
#[derive(Debug)]
pub struct Socket {
    host: String,
    stream: Option<TcpStream>,
    deadline: Instant,
}

impl Socket {
    /// Not connected yet; `host` is `HOST:PORT`.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned(), stream: None, deadline: Instant::ZERO }
    }

    /// The stream, told how long its next operation may take.
    fn stream(&mut self) -> Result<&mut TcpStream, ErrorKind> {
        let left = self.deadline.saturating_duration_since(SystemClock.now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut);
        }
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        let set = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
        set.map_err(|error| kind_of(&error))?;
        Ok(stream)
    }
}

impl embedded_io::ErrorType for Socket {
    type Error = ErrorKind;
}

impl embedded_io::Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        self.stream()?.read(into).map_err(|error| kind_of(&error))
    }
}

impl embedded_io::Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.stream()?.write(bytes).map_err(|error| kind_of(&error))
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Link for Socket {
    fn reconnect(&mut self) -> Result<(), Cause> {
        self.stream = None;
        self.stream = Some(connect(&self.host, self.deadline)?);
        Ok(())
    }

    fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
    }

    fn is_stale(&mut self) -> bool {
        let Some(stream) = &self.stream else { return true };
        let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let waits = looked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        !waits || stream.set_nonblocking(false).is_err()
    }
}
