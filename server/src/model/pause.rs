//! The tasks of paused workflows: polled and reported as ever, but no timeout and no retry until the end of the pause
//! (R-WORKFLOW-6).

use downbeat_core::machine::{Instant, TaskKey};

use super::Server;
use super::alarm::Alarm;

impl Server {
    /// Lets a task have no timeouts and no retry from now on. Twice is once.
    pub fn hold(&mut self, key: TaskKey) {
        if self.tasks.contains_key(&key) {
            self.held.entry(key).or_default();
        }
    }

    /// Ends the hold of a task: what was due meanwhile happens now, timeouts at the next [`Server::advance`].
    pub fn release(&mut self, now: Instant, key: TaskKey) {
        let Some(held) = self.held.remove(&key) else { return };
        self.alarms.extend(held.alarms.into_iter().map(|alarm| (now, alarm)));
        if held.retry {
            self.retry(now, key);
        }
    }

    /// Whether an alarm waits for the end of a pause; it is kept for it.
    pub(super) fn is_held_up(&mut self, alarm: Alarm) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let (Alarm::Lease(key) | Alarm::Overrun(key) | Alarm::Unpolled(key)) = alarm else { return false };
        let Some(held) = self.held.get_mut(&key) else { return false };
        // Each extension has an alarm of its own: one of a kind is enough.
        if !held.alarms.contains(&alarm) {
            held.alarms.push(alarm);
        }
        true
    }

    /// Whether a retry waits for the end of a pause; it is kept for it.
    pub(super) fn keeps_retry(&mut self, key: TaskKey) -> bool {
        let held = self.held.get_mut(&key);
        held.map(|held| held.retry = true).is_some()
    }
}
