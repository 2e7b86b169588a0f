//! What waits while a workflow is paused.

use super::alarm::Alarm;

/// What waits for the end of a pause.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) alarms: Vec<Alarm>,
    /// The task has failed and is to be retried.
    pub(super) retry: bool,
}
