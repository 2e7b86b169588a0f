//! How a loop waits, and how somebody outside reaches it.

use crate::machine::{Control, Instant};

/// Waits, for a blocking loop.
pub trait Idle {
    /// Returns at `until`, or as soon as [`Idle::control`] has something, whichever comes first; too early is
    /// harmless. `None`: only a control brings work.
    fn wait(&mut self, until: Option<Instant>);

    /// The next decision from outside, without waiting. Asked once before each step of the loop; saying the same
    /// again is harmless.
    fn control(&mut self) -> Option<Control> {
        None
    }
}

/// The same for an async loop.
pub trait AsyncIdle {
    /// As [`Idle::wait`].
    fn wait(&mut self, until: Option<Instant>) -> impl Future<Output = ()>;

    /// As [`Idle::control`].
    fn control(&mut self) -> Option<Control> {
        None
    }
}
