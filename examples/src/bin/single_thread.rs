//! A host with one thread: core's loop over a blocking socket, as it is on a microcontroller, in fixed memory.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use downbeat_core::drive::{Buffers, Idle, Link, Session, run};
use downbeat_core::machine::{Clock, Control, Instant, Policy};
use downbeat_core::ports::Cause;
use downbeat_examples::{Args, Greeter, SystemClock, connect, kind_of};
use embedded_io::ErrorKind;

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
    let mut session = Session::<SLOTS, RESULT>::new(policy, seed, args.config("single-thread"), buffers)?;
    let done = Rc::new(Cell::new(0));
    let mut socket = Socket { host: &args.host, stream: None, deadline: Instant::ZERO };
    let mut idle = Sleep { done: Rc::clone(&done), count: args.count };
    run(&mut session, &mut socket, &mut idle, &SystemClock, &mut Greeter::new(done));
    Ok(())
}

/// One connection at a time.
struct Socket<'a> {
    host: &'a str,
    stream: Option<TcpStream>,
    deadline: Instant,
}

impl Socket<'_> {
    /// The stream, told how long its next operation may take.
    fn stream(&mut self) -> Result<&mut TcpStream, ErrorKind> {
        let left = SystemClock.now().until(self.deadline);
        if left.is_zero() {
            return Err(ErrorKind::TimedOut);
        }
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        let set = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
        set.map_err(|error| kind_of(&error))?;
        Ok(stream)
    }
}

impl embedded_io::ErrorType for Socket<'_> {
    type Error = ErrorKind;
}

impl embedded_io::Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        self.stream()?.read(into).map_err(|error| kind_of(&error))
    }
}

impl embedded_io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.stream()?.write(bytes).map_err(|error| kind_of(&error))
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Link for Socket<'_> {
    fn reconnect(&mut self) -> Result<(), Cause> {
        self.stream = None;
        self.stream = Some(connect(self.host, self.deadline)?);
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

/// Sleeps between calls, and drains when enough tasks were run.
struct Sleep {
    done: Rc<Cell<u32>>,
    count: u32,
}

impl Idle for Sleep {
    #[expect(
        clippy::disallowed_methods,
        reason = "the machine's deadline is waited for, and nothing else can come"
    )]
    fn wait(&mut self, until: Option<Instant>) {
        let left = until.map_or(Duration::from_millis(100), |until| SystemClock.now().until(until));
        std::thread::sleep(left);
    }

    fn control(&mut self) -> Option<Control> {
        let enough = self.done.get() >= self.count;
        if enough {
            self.count = u32::MAX;
        }
        enough.then_some(Control::Drain)
    }
}
