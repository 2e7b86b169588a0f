//! How a loop waits, and how somebody outside reaches it.

use crate::machine::{Control, Instant};

/// Waits, for a blocking loop.
pub trait Idle {
    /// Returns at `until`, or as soon as [`Idle::control`] has something, whichever comes first; too early is
    /// harmless. `None` means that only a control brings work.
    fn wait(&mut self, until: Option<Instant>);

    /// Returns the next decision from outside, without waiting. The loop asks once before each step; saying
    /// the same again is harmless.
    fn control(&mut self) -> Option<Control> {
        None
    }
}

/// The same for an async loop.
pub trait AsyncIdle {
    /// Does as [`Idle::wait`] does.
    fn wait(&mut self, until: Option<Instant>) -> impl Future<Output = ()>;

    /// Does as [`Idle::control`] does.
    fn control(&mut self) -> Option<Control> {
        None
    }
}
