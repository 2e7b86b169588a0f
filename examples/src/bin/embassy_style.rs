//! An async host without a runtime, as on embassy: core's async loop, one executor of thirty lines, and `poll(2)` in
//! the place of interrupts.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use downbeat_core::drive::{AsyncIdle, AsyncLink, Buffers, Session, run_async};
use downbeat_core::machine::{Clock, Control, Instant, Policy};
use downbeat_core::ports::Cause;
use downbeat_examples::{Args, Greeter, SystemClock, connect, kind_of};
use embedded_io::ErrorKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Tasks at once.
const SLOTS: usize = 2;
/// Bytes of a held result.
const RESULT: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::read()?;
    let (mut receive, mut send) = ([0; 8_192], [0; 2_048]);
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut [] };
    let policy = Policy { concurrency: u16::try_from(SLOTS)?, ..Policy::DEFAULT };
    let seed = u64::from(std::process::id());
    let mut session = Session::<SLOTS, RESULT>::new(policy, seed, args.config("embassy-style"), buffers)?;
    let done = Rc::new(Cell::new(0));
    let reactor = Reactor::default();
    let mut socket = Socket { host: &args.host, stream: None, deadline: Instant::ZERO, reactor: &reactor };
    let mut idle = Timer { reactor: &reactor, done: Rc::clone(&done), count: args.count };
    let mut tasks = Greeter::new(done);
    block_on(&reactor, run_async(&mut session, &mut socket, &mut idle, &SystemClock, &mut tasks))
}

/// Runs a future; where it can go on no more, sleeps until what it waits for.
fn block_on<T>(reactor: &Reactor, future: impl Future<Output = T>) -> Result<T, Box<dyn std::error::Error>> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        reactor.sleep()?;
    }
}

/// What the one future waits for.
#[derive(Default)]
struct Reactor {
    /// Bytes to come, or room for bytes to go.
    stream: Cell<Option<(TcpStream, PollFlags)>>,
    until: Cell<Option<Instant>>,
}

impl Reactor {
    fn want<T>(&self, stream: Option<(TcpStream, PollFlags)>, until: Option<Instant>) -> Poll<T> {
        self.stream.set(stream);
        self.until.set(until);
        Poll::Pending
    }

    fn sleep(&self) -> rustix::io::Result<()> {
        let left = self.until.take().map_or(Duration::from_secs(1), |until| SystemClock.now().until(until));
        let timeout = Timespec::try_from(left).ok();
        let stream = self.stream.take();
        let mut wanted: Vec<PollFd<'_>> =
            stream.iter().map(|(stream, flags)| PollFd::new(stream, *flags)).collect();
        poll(&mut wanted, timeout.as_ref()).map(drop)
    }
}

/// One connection at a time, never waited for but by the reactor.
struct Socket<'a> {
    host: &'a str,
    stream: Option<TcpStream>,
    deadline: Instant,
    reactor: &'a Reactor,
}

impl Socket<'_> {
    /// Tries an operation until it does not have to wait, or the deadline has passed.
    async fn when_ready(
        &mut self,
        flags: PollFlags,
        mut operation: impl FnMut(&mut TcpStream) -> std::io::Result<usize>,
    ) -> Result<usize, ErrorKind> {
        poll_fn(|_| {
            let Some(stream) = &mut self.stream else { return Poll::Ready(Err(ErrorKind::NotConnected)) };
            match operation(stream) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if SystemClock.now() >= self.deadline {
                        return Poll::Ready(Err(ErrorKind::TimedOut));
                    }
                    let wanted = stream.try_clone().ok().map(|stream| (stream, flags));
                    self.reactor.want(wanted, Some(self.deadline))
                }
                other => Poll::Ready(other.map_err(|error| kind_of(&error))),
            }
        })
        .await
    }
}

impl embedded_io::ErrorType for Socket<'_> {
    type Error = ErrorKind;
}

impl embedded_io_async::Read for Socket<'_> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        self.when_ready(PollFlags::IN, |stream| stream.read(into)).await
    }
}

impl embedded_io_async::Write for Socket<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.when_ready(PollFlags::OUT, |stream| stream.write(bytes)).await
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl AsyncLink for Socket<'_> {
    /// The one place that blocks: the standard library connects no other way.
    async fn reconnect(&mut self) -> Result<(), Cause> {
        self.stream = None;
        let stream = connect(self.host, self.deadline)?;
        stream.set_nonblocking(true).map_err(|_| Cause::Connect)?;
        self.stream = Some(stream);
        Ok(())
    }

    fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
    }

    fn is_stale(&mut self) -> bool {
        let Some(stream) = &self.stream else { return true };
        !stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// Waits for the machine's deadline, and drains when enough tasks were run.
struct Timer<'a> {
    reactor: &'a Reactor,
    done: Rc<Cell<u32>>,
    count: u32,
}

impl AsyncIdle for Timer<'_> {
    async fn wait(&mut self, until: Option<Instant>) {
        poll_fn(|_| {
            let over = until.is_some_and(|until| SystemClock.now() >= until);
            if over { Poll::Ready(()) } else { self.reactor.want(None, until) }
        })
        .await;
    }

    fn control(&mut self) -> Option<Control> {
        let enough = self.done.get() >= self.count;
        if enough {
            self.count = u32::MAX;
        }
        enough.then_some(Control::Drain)
    }
}
