//! Core's link over a socket, plain or with TLS.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use downbeat_core::http::Link;
use downbeat_core::machine::Instant;
use downbeat_core::ports::Cause;
use embedded_io::ErrorKind;
use rustls::{ClientConnection, StreamOwned};

use super::dial::Target;
use super::socket::{Idle, Socket};
use crate::clock::StdClock;

/// A connection that can be made again.
pub(super) struct StdLink {
    target: Arc<Target>,
    clock: StdClock,
    deadline: Instant,
    stream: Option<Stream>,
}

enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl StdLink {
    pub(super) const fn new(target: Arc<Target>, clock: StdClock) -> Self {
        Self { target, clock, deadline: Instant::FAR_FUTURE, stream: None }
    }

    fn open(&self) -> Result<Stream, Cause> {
        let tcp = self.target.connect(&self.clock, self.deadline)?;
        let mut socket = Socket::new(tcp, self.clock, self.deadline);
        let Some(session) = self.target.session() else { return Ok(Stream::Plain(socket)) };
        let mut session = session?;
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(|error| {
                if error.kind() == io::ErrorKind::TimedOut { Cause::Timeout } else { Cause::Tls }
            })?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(session, socket))))
    }
}

impl Link for StdLink {
    fn reconnect(&mut self) -> Result<(), Cause> {
        self.stream = None;
        self.stream = Some(self.open()?);
        Ok(())
    }

    fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
        match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.set_deadline(at),
            Some(Stream::Tls(tls)) => tls.sock.set_deadline(at),
            None => {}
        }
    }

    fn is_stale(&mut self) -> bool {
        match &mut self.stream {
            None => true,
            Some(Stream::Plain(socket)) => socket.look() != Idle::Quiet,
            Some(Stream::Tls(tls)) => is_tls_stale(tls),
        }
    }
}

/// What TLS brings on its own account (a ticket) is taken; a farewell, or bytes of an answer, make it stale.
fn is_tls_stale(tls: &mut StreamOwned<ClientConnection, Socket>) -> bool {
    loop {
        match tls.sock.look() {
            Idle::Gone => return true,
            Idle::Quiet => return false,
            Idle::Speaks => {}
        }
        if !matches!(tls.conn.read_tls(&mut tls.sock), Ok(1..)) {
            return true;
        }
        match tls.conn.process_new_packets() {
            Ok(state) if state.peer_has_closed() || state.plaintext_bytes_to_read() > 0 => return true,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

impl embedded_io::ErrorType for StdLink {
    type Error = ErrorKind;
}

impl embedded_io::Read for StdLink {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        let read = match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.read(buf),
            Some(Stream::Tls(tls)) => tls.read(buf),
            None => return Err(ErrorKind::NotConnected),
        };
        read.map_err(|error| kind(&error))
    }
}

impl embedded_io::Write for StdLink {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        let wrote = match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.write(buf),
            Some(Stream::Tls(tls)) => tls.write(buf),
            None => return Err(ErrorKind::NotConnected),
        };
        wrote.map_err(|error| kind(&error))
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        match &mut self.stream {
            Some(Stream::Plain(_)) => Ok(()),
            Some(Stream::Tls(tls)) => tls.flush().map_err(|error| kind(&error)),
            None => Err(ErrorKind::NotConnected),
        }
    }
}

/// Core asks whether it was the time; all else means that the connection is gone.
fn kind(error: &io::Error) -> ErrorKind {
    if error.kind() == io::ErrorKind::TimedOut { ErrorKind::TimedOut } else { ErrorKind::ConnectionReset }
}
