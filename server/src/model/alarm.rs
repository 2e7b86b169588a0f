//! What the server does by itself when its time has come.

use downbeat_core::machine::TaskKey;

/// What is due.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Alarm {
    /// A lease may have lapsed.
    Lease(TaskKey),
    /// A postponed task comes into its queue.
    Queue(TaskKey),
    /// `timeoutSeconds` of a task are over.
    Overrun(TaskKey),
    /// A task may have waited in its queue for too long.
    Unpolled(TaskKey),
    /// Polls of this queue may meet tasks.
    Polls(u32),
    /// This poll of this queue has waited long enough.
    Poll(u32, u64),
}
