//! The serial line as a stream that can be opened again: core's `Link` over frames, and the sleep between calls.

use core::cell::RefCell;

use downbeat_core::drive::{Idle, Link};
use downbeat_core::machine::{Clock, Control, Instant};
use downbeat_core::ports::Cause;
use downbeat_line::{DRAIN, Decoder, FRAME_MAX, Frame, Garbage, Kind, PAYLOAD_MAX};
use heapless::Vec;

use crate::board::{self, BoardClock, LINE};

/// How long one try to connect may take: the bridge gives up after 2 s.
const OPENING_MICROS: u64 = 3_000_000;

/// The state of the line; the link and the idle loop share it.
pub struct Line {
    decoder: Decoder,
    state: State,
    connection: u8,
    /// The number of the next data frame, each way.
    sent: u8,
    expected: u8,
    /// What has arrived and was not read.
    arrived: Vec<u8, PAYLOAD_MAX>,
    read: usize,
    drain: bool,
    /// Connections that garbage or a gap ended.
    broken: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Closed,
    Opening,
    Open,
    Refused,
    /// Something was lost while connecting: it may have been the answer.
    Unsure,
}

impl Line {
    /// A line on which nothing was said.
    pub const fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            state: State::Closed,
            connection: 0,
            sent: 0,
            expected: 0,
            arrived: Vec::new(),
            read: 0,
            drain: false,
            broken: 0,
        }
    }

    /// Connections that garbage or a gap ended.
    pub const fn broken(&self) -> u32 {
        self.broken
    }

    /// Takes bytes from the port until it is empty, or until there is data that has to be read first.
    fn pump(&mut self) {
        while self.unread().is_empty() {
            let Some(byte) = LINE.receive() else { return };
            let Some(frame) = self.decoder.push(byte) else { continue };
            match frame {
                Ok(frame) if frame.kind == Kind::Command => self.drain |= frame.payload == DRAIN,
                Ok(frame) if frame.connection != self.connection => {}
                Ok(Frame { kind: Kind::Data, sequence, payload, .. }) if self.state == State::Open => {
                    if sequence == self.expected {
                        self.expected = self.expected.wrapping_add(1);
                        self.read = 0;
                        self.arrived.clear();
                        // It fits: a frame carries no more.
                        let _ = self.arrived.extend_from_slice(payload);
                    } else {
                        self.break_off();
                    }
                }
                Ok(frame) => self.state = next(self.state, frame.kind),
                Err(Garbage) => self.break_off(),
            }
        }
    }

    /// Something was lost, and nobody knows what.
    fn break_off(&mut self) {
        match self.state {
            State::Open => {
                self.broken = self.broken.saturating_add(1);
                self.send(Kind::Close, 0, &[]);
                self.state = State::Closed;
            }
            State::Opening => self.state = State::Unsure,
            State::Closed | State::Refused | State::Unsure => {}
        }
    }

    fn unread(&self) -> &[u8] {
        self.arrived.get(self.read..).unwrap_or_default()
    }

    fn open(&mut self) {
        self.connection = self.connection.wrapping_add(1);
        (self.sent, self.expected, self.read) = (0, 0, 0);
        self.arrived.clear();
        self.state = State::Opening;
        self.send(Kind::Open, 0, &[]);
    }

    fn send(&self, kind: Kind, sequence: u8, payload: &[u8]) {
        let mut bytes = [0; FRAME_MAX];
        let len = Frame { kind, connection: self.connection, sequence, payload }.encode(&mut bytes);
        LINE.send(bytes.get(..len).unwrap_or_default());
    }
}

/// What a frame without data makes of the state.
fn next(state: State, kind: Kind) -> State {
    match (state, kind) {
        (State::Opening | State::Unsure, Kind::Opened) => State::Open,
        (State::Opening | State::Unsure, Kind::Refused) => State::Refused,
        (_, Kind::Close) => State::Closed,
        (same, _) => same,
    }
}

/// The stream of the present connection.
pub struct SerialLink<'l> {
    line: &'l RefCell<Line>,
    deadline: Instant,
}

impl<'l> SerialLink<'l> {
    pub const fn new(line: &'l RefCell<Line>) -> Self {
        Self { line, deadline: Instant::ZERO }
    }
}

/// Why the stream gave nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LineError {
    /// The deadline passed.
    TimedOut,
    /// There is no connection.
    Closed,
}

impl core::fmt::Display for LineError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the deadline passed",
            Self::Closed => "the connection is closed",
        })
    }
}

impl core::error::Error for LineError {}

impl embedded_io::Error for LineError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::TimedOut => embedded_io::ErrorKind::TimedOut,
            Self::Closed => embedded_io::ErrorKind::NotConnected,
        }
    }
}

impl embedded_io::ErrorType for SerialLink<'_> {
    type Error = LineError;
}

impl embedded_io::Read for SerialLink<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, LineError> {
        loop {
            let mut line = self.line.borrow_mut();
            line.pump();
            let unread = line.unread();
            if !unread.is_empty() {
                let len = unread.len().min(into.len());
                for (to, from) in into.iter_mut().zip(unread) {
                    *to = *from;
                }
                line.read += len;
                return Ok(len);
            }
            if line.state != State::Open {
                return Ok(0);
            }
            let now = BoardClock.now();
            if now >= self.deadline {
                // What comes later would be taken for the answer to the next request.
                line.break_off();
                return Err(LineError::TimedOut);
            }
            board::sleep(now, self.deadline);
        }
    }
}

impl embedded_io::Write for SerialLink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, LineError> {
        let mut line = self.line.borrow_mut();
        line.pump();
        if line.state != State::Open {
            return Err(LineError::Closed);
        }
        let part = bytes.get(..PAYLOAD_MAX).unwrap_or(bytes);
        line.send(Kind::Data, line.sent, part);
        line.sent = line.sent.wrapping_add(1);
        Ok(part.len())
    }

    fn flush(&mut self) -> Result<(), LineError> {
        Ok(())
    }
}

impl Link for SerialLink<'_> {
    fn reconnect(&mut self) -> Result<(), Cause> {
        self.line.borrow_mut().open();
        let mut tried = BoardClock.now();
        loop {
            let mut line = self.line.borrow_mut();
            line.pump();
            let now = BoardClock.now();
            match line.state {
                State::Open => return Ok(()),
                State::Refused | State::Closed => return Err(Cause::Connect),
                State::Opening | State::Unsure if now >= self.deadline => {
                    line.state = State::Closed;
                    return Err(Cause::Timeout);
                }
                State::Unsure => {
                    line.open();
                    tried = now;
                }
                State::Opening if now.as_micros() >= tried.as_micros().saturating_add(OPENING_MICROS) => {
                    line.open();
                    tried = now;
                }
                State::Opening => board::sleep(now, self.deadline),
            }
        }
    }

    fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
    }

    fn is_stale(&mut self) -> bool {
        let mut line = self.line.borrow_mut();
        line.pump();
        line.state != State::Open || !line.unread().is_empty()
    }
}

/// Sleeps between calls, and hears a close or a command meanwhile.
pub struct LineIdle<'l>(pub &'l RefCell<Line>);

impl Idle for LineIdle<'_> {
    fn wait(&mut self, until: Option<Instant>) {
        loop {
            let mut line = self.0.borrow_mut();
            line.pump();
            let now = BoardClock.now();
            let until = until.unwrap_or(Instant::FAR_FUTURE);
            if line.drain || now >= until {
                return;
            }
            board::sleep(now, until);
        }
    }

    fn control(&mut self) -> Option<Control> {
        let mut line = self.0.borrow_mut();
        line.pump();
        core::mem::take(&mut line.drain).then_some(Control::Drain)
    }
}
