//! An async host without a runtime, as on embassy: core's async loop, streams of `embedded-io-async`, timeouts by
//! `select`, and a task of its own that says when it is enough.
//!
//! [`Stream`], [`Reactor`] and [`block_on`] stand for what embassy-net, embassy-time and embassy-executor bring, with
//! `poll(2)` in the place of interrupts. The rest, [`Socket`] and [`Board`], is what you write.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use downbeat_core::drive::{AsyncIdle, AsyncLink, Buffers, Session, run_async};
use downbeat_core::machine::{Clock as _, Control, Instant, Policy};
use downbeat_core::ports::Cause;
use downbeat_examples::{Args, Greeter, SystemClock, kind_of};
use embedded_io::ErrorKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

/// Tasks at once.
const SLOTS: usize = 2;
/// Bytes of a held result.
const RESULT: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::read()?;
    let (mut receive, mut send) = ([0; 2_048], [0; 2_048]);
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut [] };
    let policy = Policy { concurrency: u16::try_from(SLOTS)?, ..Policy::DEFAULT };
    let seed = u64::from(std::process::id());
    let mut session = Session::<SLOTS, RESULT>::new(policy, seed, args.config("embassy-style"), buffers)?;
    let (reactor, signal, done) = (Reactor::default(), Signal::default(), Rc::new(Cell::new(0)));
    let mut socket = Socket { host: &args.host, stream: None, deadline: Instant::ZERO, reactor: &reactor };
    let mut board = Board { reactor: &reactor, signal: &signal };
    let mut tasks = Greeter::new(Rc::clone(&done));
    let worker = run_async(&mut session, &mut socket, &mut board, &SystemClock, &mut tasks);
    block_on(&reactor, select(worker, button(&done, args.count, &signal))).map(drop)
}

/// The task beside the worker. On a board it would wait for an interrupt; here, for a number of tasks.
async fn button(done: &Cell<u32>, count: u32, signal: &Signal) {
    poll_fn(|_| if done.get() >= count { Poll::Ready(()) } else { Poll::Pending }).await;
    signal.raise(Control::Drain);
    std::future::pending().await
}

// -------------------------------------------------------------------- what you write

/// One connection at a time.
struct Socket<'a> {
    host: &'a str,
    stream: Option<Stream<'a>>,
    deadline: Instant,
    reactor: &'a Reactor,
}

impl embedded_io::ErrorType for Socket<'_> {
    type Error = ErrorKind;
}

impl embedded_io_async::Read for Socket<'_> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        with_deadline(self.reactor, self.deadline, stream.read(into)).await.ok_or(ErrorKind::TimedOut)?
    }
}

impl embedded_io_async::Write for Socket<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        with_deadline(self.reactor, self.deadline, stream.write(bytes)).await.ok_or(ErrorKind::TimedOut)?
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl AsyncLink for Socket<'_> {
    async fn reconnect(&mut self) -> Result<(), Cause> {
        self.stream = None;
        let connected = with_deadline(self.reactor, self.deadline, Stream::connect(self.host, self.reactor));
        self.stream = Some(connected.await.ok_or(Cause::Timeout)??);
        Ok(())
    }

    fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
    }

    fn is_stale(&mut self) -> bool {
        self.stream.as_ref().is_none_or(Stream::is_stale)
    }
}

/// Sleep, and a word from outside.
struct Board<'a> {
    reactor: &'a Reactor,
    signal: &'a Signal,
}

impl AsyncIdle for Board<'_> {
    async fn wait(&mut self, until: Option<Instant>) {
        let until = until.unwrap_or(Instant::FAR_FUTURE);
        select(self.reactor.until(until), self.signal.raised()).await;
    }

    fn control(&mut self) -> Option<Control> {
        self.signal.control.take()
    }
}

/// As `embassy_time::with_deadline`; `None`: the time came first.
async fn with_deadline<T>(reactor: &Reactor, at: Instant, future: impl Future<Output = T>) -> Option<T> {
    match select(future, reactor.until(at)).await {
        Either::First(output) => Some(output),
        Either::Second(()) => None,
    }
}

// -------------------------------------------------------------------- what embassy brings

/// As `embassy_futures::select`: the first of two.
enum Either<A, B> {
    First(A),
    Second(B),
}

async fn select<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> Either<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// As `embassy_sync::signal::Signal`: a word from one task to another.
#[derive(Default)]
struct Signal {
    control: Cell<Option<Control>>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    fn raise(&self, control: Control) {
        self.control.set(Some(control));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn raised(&self) {
        poll_fn(|context| {
            self.waker.replace(Some(context.waker().clone()));
            if self.control.get().is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// What the futures that were polled last wait for.
#[derive(Default)]
struct Reactor {
    streams: RefCell<Vec<(TcpStream, PollFlags)>>,
    until: Cell<Option<Instant>>,
}

impl Reactor {
    /// As `embassy_time::Timer::at`.
    async fn until(&self, at: Instant) {
        poll_fn(|_| {
            if SystemClock.now() >= at {
                return Poll::Ready(());
            }
            self.until.set(Some(self.until.get().map_or(at, |until| until.min(at))));
            Poll::Pending
        })
        .await;
    }

    /// Tries an operation until it does not have to wait.
    async fn when_ready<T>(
        &self,
        stream: &mut TcpStream,
        flags: PollFlags,
        mut operation: impl FnMut(&mut TcpStream) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        poll_fn(|_| match operation(stream) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.streams.borrow_mut().push((stream.try_clone()?, flags));
                Poll::Pending
            }
            other => Poll::Ready(other),
        })
        .await
    }

    /// Sleeps until something that a future waits for has come.
    fn sleep(&self) -> rustix::io::Result<()> {
        let left = self.until.take().map(|until| until.saturating_duration_since(SystemClock.now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let streams = self.streams.take();
        let mut wanted: Vec<PollFd<'_>> =
            streams.iter().map(|(stream, flags)| PollFd::new(stream, *flags)).collect();
        poll(&mut wanted, timeout.as_ref()).map(drop)
    }
}

/// As `embassy_net::tcp::TcpSocket`: a stream that is awaited, without a time limit.
struct Stream<'a> {
    inner: TcpStream,
    reactor: &'a Reactor,
}

impl<'a> Stream<'a> {
    async fn connect(host: &str, reactor: &'a Reactor) -> Result<Self, Cause> {
        // Addresses in numbers are not looked up, which would block.
        let address = host.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or(Cause::Resolve)?;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(|_| Cause::Connect)?;
        if connect(&socket, &address).is_err_and(|error| error != rustix::io::Errno::INPROGRESS) {
            return Err(Cause::Connect);
        }
        let mut inner = TcpStream::from(socket);
        let connected = reactor.when_ready(&mut inner, PollFlags::OUT, |stream| {
            let failed = stream.take_error()?.map_or(Ok(()), Err);
            let waits = |error: std::io::Error| {
                let waits = error.kind() == std::io::ErrorKind::NotConnected;
                if waits { std::io::ErrorKind::WouldBlock.into() } else { error }
            };
            failed.and_then(|()| stream.peer_addr().map_err(waits))
        });
        connected.await.and_then(|_| inner.set_nodelay(true)).map_err(|_| Cause::Connect)?;
        Ok(Self { inner, reactor })
    }

    async fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        let read = self.reactor.when_ready(&mut self.inner, PollFlags::IN, |stream| stream.read(into));
        read.await.map_err(|error| kind_of(&error))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let wrote = self.reactor.when_ready(&mut self.inner, PollFlags::OUT, |stream| stream.write(bytes));
        wrote.await.map_err(|error| kind_of(&error))
    }

    /// Whether there is anything to read while nothing was asked: an end, or bytes that nobody wants.
    fn is_stale(&self) -> bool {
        !self.inner.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// Somebody has woken the task.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As an executor of one task: polls it, and sleeps while nobody wakes it.
fn block_on<T>(reactor: &Reactor, future: impl Future<Output = T>) -> Result<T, Box<dyn std::error::Error>> {
    let mut future = pin!(future);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if !flag.0.swap(false, Ordering::Relaxed) {
            reactor.sleep()?;
        }
    }
}
