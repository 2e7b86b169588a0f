//! The ids of a task.

use heapless::String;

use crate::machine::TaskKey;

/// Bytes of the longest task or workflow id that is read; Conductor's are UUIDs of 36. A task with a longer one is
/// [`Element::Unreportable`](super::Element::Unreportable).
pub const ID_MAX: usize = 64;

/// What every report about a task needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ids {
    /// `taskId`.
    pub task: String<ID_MAX>,
    /// `workflowInstanceId`.
    pub workflow: String<ID_MAX>,
}

impl Ids {
    /// Returns the task's identity for the machine.
    #[must_use]
    pub fn key(&self) -> TaskKey {
        TaskKey::from_id(&self.task)
    }
}
