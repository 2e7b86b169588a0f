//! A stream of bytes that can be opened again: what a host provides.

use embedded_io::ErrorKind;

use crate::machine::Instant;
use crate::ports::Cause;

/// A blocking stream to the server.
///
/// `read` answers 0 at the connection's end. Nothing blocks for long after the deadline: it then fails with
/// [`ErrorKind::TimedOut`].
pub trait Link: embedded_io::Read + embedded_io::Write {
    /// Drops the connection, if there is one, and makes a new one.
    ///
    /// # Errors
    /// Why there is none: [`Cause::Resolve`], [`Cause::Connect`], [`Cause::Tls`] or [`Cause::Timeout`].
    fn reconnect(&mut self) -> Result<(), Cause>;

    /// Sets the time, on the driver's clock, until which the next operations may take.
    fn set_deadline(&mut self, at: Instant);

    /// Returns whether the server has closed an idle connection, or sent bytes that nobody asked for, as far
    /// as can be seen without waiting. A stream that cannot see it returns false, the default.
    fn is_stale(&mut self) -> bool {
        false
    }
}

/// The same over async streams.
pub trait AsyncLink: embedded_io_async::Read + embedded_io_async::Write {
    /// Does as [`Link::reconnect`] does.
    ///
    /// # Errors
    /// As there.
    fn reconnect(&mut self) -> impl Future<Output = Result<(), Cause>>;

    /// Does as [`Link::set_deadline`] does. The implementation races its operations with its timer.
    fn set_deadline(&mut self, at: Instant);

    /// Does as [`Link::is_stale`] does.
    fn is_stale(&mut self) -> bool {
        false
    }
}

impl<L: Link + ?Sized> Link for &mut L {
    fn reconnect(&mut self) -> Result<(), Cause> {
        (**self).reconnect()
    }

    fn set_deadline(&mut self, at: Instant) {
        (**self).set_deadline(at);
    }

    fn is_stale(&mut self) -> bool {
        (**self).is_stale()
    }
}

/// Returns what a stream's error means: its time is over, or the connection is gone.
pub fn cause_of<E: embedded_io::Error>(error: &E) -> Cause {
    if error.kind() == ErrorKind::TimedOut { Cause::Timeout } else { Cause::Closed }
}
