//! What the examples share: the words of their command lines, a clock, and the task that they run.
//!
//! Each is a program `NAME URL TASK COUNT`: it works on tasks of that type until `COUNT` results were accepted, then
//! drains and ends.

use std::sync::OnceLock;

use downbeat_core::machine::{Clock, Instant};
use serde::{Deserialize, Serialize};

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
        let words: Vec<String> = std::env::args().collect();
        let usage = || "usage: NAME http://HOST:PORT/api TASK COUNT".to_owned();
        let [_, url, task_type, count] = words.as_slice() else { return Err(usage()) };
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
