//! The border between module and host, and core's traits over it. The only `unsafe` of this package.
//!
//! Times are microseconds on the host's clock. Addresses are of the module's own memory, as the host sees it; each goes
//! over with its length, of a slice that lives until the call is over.

use core::cell::Cell;

use downbeat_core::drive::{Idle, Link};
use downbeat_core::machine::{Clock, Control, Instant};
use downbeat_core::ports::Cause;
use embedded_io::ErrorKind;

/// What `read`, `write` and `reconnect` answer instead of a count: the deadline has passed, or any other failure.
const TIMED_OUT: i32 = -1;

mod host {
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        /// The time.
        pub(super) safe fn now() -> u64;
        /// Writes `HOST BASE TASK` there; how long it is, or less than 0.
        pub(super) safe fn settings(into: *mut u8, len: usize) -> i32;
        /// Drops the connection and makes a new one; 0, or less.
        pub(super) safe fn reconnect(deadline: u64) -> i32;
        /// Whether the connection was closed, as far as can be seen without waiting; 0: not.
        pub(super) safe fn is_stale() -> i32;
        /// Reads; how many bytes (0: the end), or less than 0.
        pub(super) safe fn read(into: *mut u8, len: usize, deadline: u64) -> i32;
        /// Writes; how many bytes, or less than 0.
        pub(super) safe fn write(from: *const u8, len: usize, deadline: u64) -> i32;
        /// Returns at that time, or sooner.
        pub(super) safe fn wait(until: u64);
        /// Hears how many tasks were run; 1: drain, 0: go on.
        pub(super) safe fn control(done: u32) -> i32;
    }
}

/// What the host calls: works, and answers how many tasks were run; less than 0: it could not begin.
#[unsafe(no_mangle)]
extern "C" fn work() -> i32 {
    crate::work().and_then(|done| i32::try_from(done).ok()).unwrap_or(-1)
}

/// The host's time.
pub(crate) fn now() -> u64 {
    host::now()
}

/// `HOST BASE TASK`; `None`: the host has none that fit.
pub(crate) fn settings(memory: &mut [u8]) -> Option<&str> {
    let len = usize::try_from(host::settings(memory.as_mut_ptr(), memory.len())).ok()?;
    str::from_utf8(memory.get(..len)?).ok()
}

/// The host, as core's traits.
pub(crate) struct Host<'d> {
    deadline: Instant,
    done: &'d Cell<u32>,
}

impl<'d> Host<'d> {
    pub(crate) const fn new(done: &'d Cell<u32>) -> Self {
        Self { deadline: Instant::ZERO, done }
    }
}

fn counted(answer: i32) -> Result<usize, ErrorKind> {
    let failed = if answer == TIMED_OUT { ErrorKind::TimedOut } else { ErrorKind::Other };
    usize::try_from(answer).map_err(|_| failed)
}

impl Clock for Host<'_> {
    fn now(&self) -> Instant {
        Instant::from_micros(now())
    }
}

impl embedded_io::ErrorType for Host<'_> {
    type Error = ErrorKind;
}

impl embedded_io::Read for Host<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        counted(host::read(into.as_mut_ptr(), into.len(), self.deadline.as_micros()))
    }
}

impl embedded_io::Write for Host<'_> {
    fn write(&mut self, from: &[u8]) -> Result<usize, ErrorKind> {
        counted(host::write(from.as_ptr(), from.len(), self.deadline.as_micros()))
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Link for Host<'_> {
    fn reconnect(&mut self) -> Result<(), Cause> {
        match host::reconnect(self.deadline.as_micros()) {
            0.. => Ok(()),
            TIMED_OUT => Err(Cause::Timeout),
            _ => Err(Cause::Connect),
        }
    }

    fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
    }

    fn is_stale(&mut self) -> bool {
        host::is_stale() != 0
    }
}

impl Idle for Host<'_> {
    fn wait(&mut self, until: Option<Instant>) {
        host::wait(until.unwrap_or(Instant::FAR_FUTURE).as_micros());
    }

    fn control(&mut self) -> Option<Control> {
        (host::control(self.done.get()) != 0).then_some(Control::Drain)
    }
}
