//! What an earlier runner has left in its store.

use super::note::Left;

/// What an earlier runner has left, for this one to see to.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Results that wait; the sender sends them, before anything else.
    pub(crate) results: u64,
    /// Tasks in hand whose results are among these: whoever reports one itself takes it over by [`Store::take_over`](super::Store::take_over).
    pub(crate) finished: Vec<Left>,
    /// Tasks that were in hand without a result: to be given back, each with the output it came with, or reported as
    /// failed where it is too late for that ([`Left::give_back_within`]), and then [`Store::ended`](super::Store::ended).
    pub(crate) give_back: Vec<Left>,
    /// The same, but a yield of theirs may have been accepted: to be given back only if the server says that they are still
    /// where they were (S4).
    pub(crate) unsure: Vec<Left>,
    /// Tasks in hand of which too little is known for that: only [`Store::ended`](super::Store::ended).
    pub(crate) left_alone: Vec<String>,
    /// Commands of tasks in hand, which may have outlived their runner.
    pub(crate) processes: Vec<Process>,
    /// What a person should know, in words.
    pub(crate) warnings: Vec<String>,
}

impl Recovered {
    /// Whether a task was in hand.
    pub(crate) const fn has_tasks(&self) -> bool {
        !self.finished.is_empty() || !self.give_back.is_empty()
    }
}

/// A command of a task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Process {
    pub(crate) task_id: String,
    pub(crate) group: i32,
    /// When it began, as the caller of [`Store::process`](super::Store::process) counts it.
    pub(crate) started: u64,
}
