//! What the examples share: the words of their command lines, a clock, and the task that they run.
//!
//! Each is a program `NAME URL TASK COUNT` (`wasm_host` wants its module before that): it works on tasks of that type
//! until `COUNT` of them were run, then drains and ends.

mod socket;

use std::cell::Cell;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::rc::Rc;
use std::sync::OnceLock;

use downbeat_core::drive::{Config, Site};
use downbeat_core::machine::{Clock, EntryId, Instant};
use downbeat_core::ports::{Assignment, Cause, End, Executor, Progress, Unfit};
use embedded_io::ErrorKind;
use serde::{Deserialize, Serialize};
pub use socket::Socket;

/// What the command line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Args {
    /// The server's host and port, `127.0.0.1:8080`.
    pub host: String,
    /// The path of its API, `/api`.
    pub base: String,
    /// The task type to work on.
    pub task_type: String,
    /// Results after which the program drains.
    pub count: u32,
}

impl Args {
    /// Reads the command line.
    ///
    /// # Errors
    /// Says how the program wants to be called.
    pub fn read() -> Result<Self, String> {
        Self::from_words(std::env::args().skip(1).collect())
    }

    /// Reads these words, `URL TASK COUNT`.
    ///
    /// # Errors
    /// As [`Args::read`].
    pub fn from_words(words: Vec<String>) -> Result<Self, String> {
        let usage = || "usage: NAME http://HOST:PORT/api TASK COUNT".to_owned();
        let [url, task_type, count] = words.as_slice() else { return Err(usage()) };
        let rest = url.strip_prefix("http://").ok_or_else(usage)?.trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let base = if path.is_empty() { String::new() } else { format!("/{path}") };
        let count = count.parse().map_err(|_| usage())?;
        Ok(Self { host: host.to_owned(), base, task_type: task_type.clone(), count })
    }
}

/// The machine's time: microseconds since the program first asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        static START: OnceLock<std::time::Instant> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "a driver has to read a clock")]
        let now = std::time::Instant::now();
        let since = now.saturating_duration_since(*START.get_or_init(|| now));
        Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// The input of the example's task.
#[derive(Debug, Deserialize)]
pub struct Person {
    /// Who is greeted.
    pub name: String,
}

/// Its output.
#[derive(Debug, Serialize)]
pub struct Greeting {
    /// The greeting.
    pub greeting: String,
}

/// The user's code.
#[must_use]
pub fn greet(person: &Person) -> Greeting {
    Greeting { greeting: format!("Good morning, {}", person.name) }
}

impl Args {
    /// Who works, and for whom, for core's own loops.
    #[must_use]
    pub fn config<'a>(&'a self, worker_id: &'a str) -> Config<'a> {
        let site = Site { host: &self.host, base: &self.base };
        Config { site, task_type: &self.task_type, worker_id, domain: "", key: None }
    }
}

/// Connects until `deadline`.
///
/// # Errors
/// Why there is no connection.
pub fn connect(host: &str, deadline: Instant) -> Result<TcpStream, Cause> {
    let address = host.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or(Cause::Resolve)?;
    let left = deadline.saturating_duration_since(SystemClock.now());
    if left.is_zero() {
        return Err(Cause::Timeout);
    }
    let stream = TcpStream::connect_timeout(&address, left).map_err(|_| Cause::Connect)?;
    stream.set_nodelay(true).map_err(|_| Cause::Connect)?;
    Ok(stream)
}

/// What the standard library's error is to core.
#[must_use]
pub fn kind_of(error: &std::io::Error) -> ErrorKind {
    let timed_out = matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock);
    if timed_out { ErrorKind::TimedOut } else { ErrorKind::Other }
}

/// Greets, one step for each task.
#[derive(Debug)]
pub struct Greeter {
    waiting: Vec<(EntryId, Person)>,
    /// Tasks run so far; others look at it.
    done: Rc<Cell<u32>>,
}

impl Greeter {
    /// Nobody greeted yet; `done` counts them.
    #[must_use]
    pub const fn new(done: Rc<Cell<u32>>) -> Self {
        Self { waiting: Vec::new(), done }
    }
}

impl Executor for Greeter {
    fn start(&mut self, entry: EntryId, task: &Assignment<'_>) -> Result<(), Unfit> {
        let person = serde_json::from_slice(task.input);
        let person = person.map_err(|_| Unfit { reason: "the input must be {\"name\": text}" })?;
        self.waiting.push((entry, person));
        Ok(())
    }

    fn step(&mut self, entry: EntryId, mut output: &mut [u8]) -> Progress {
        let room = output.len();
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == entry) else {
            return Progress::Done { end: End::Failed { reason: "nobody waits in this entry" }, output: 0 };
        };
        let (_, person) = self.waiting.remove(at);
        self.done.set(self.done.get().saturating_add(1));
        match serde_json::to_writer(&mut output, &greet(&person)) {
            Ok(()) => Progress::Done { end: End::Completed, output: room - output.len() },
            Err(_) => Progress::Done { end: End::Terminal { reason: "the name is too long" }, output: 0 },
        }
    }

    fn cancel(&mut self, entry: EntryId) {
        self.waiting.retain(|(waiting, _)| *waiting != entry);
    }
}
