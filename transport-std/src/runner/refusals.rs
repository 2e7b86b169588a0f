//! Results that the server, which answers, does not take: how many wait, and since when none was taken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use downbeat_core::machine::Instant;

use super::held_task::HeldTask;
use crate::context::lock;

/// Results of a worker that have been refused for so long make it unready.
const PATIENCE: Duration = Duration::from_secs(60);

/// The refused results of one worker.
#[derive(Default)]
pub(crate) struct Refusals {
    /// Whether there is a spell: nearly always there is none, and no lock is taken.
    ails: AtomicBool,
    spell: Mutex<Spell>,
}

#[derive(Clone, Copy, Default)]
struct Spell {
    /// Results that wait and were refused.
    waiting: usize,
    /// When the first of those in a row was refused: none was taken since. `None`: the latest was taken.
    since: Option<Instant>,
    /// When the latest was refused.
    latest: Instant,
}

impl Refusals {
    /// The server refused this result. Returns how many wait now.
    pub(crate) fn refused(&self, now: Instant, held: &HeldTask) -> usize {
        let mut spell = lock(&self.spell);
        self.ails.store(true, Ordering::Release);
        spell.waiting += usize::from(!held.refused.swap(true, Ordering::AcqRel));
        spell.since.get_or_insert(now);
        spell.latest = now;
        spell.waiting
    }

    /// A result waits no longer. `taken`: the server has taken it as it was. Returns how many wait now, if that has
    /// changed.
    pub(crate) fn settled(&self, held: &HeldTask, taken: bool) -> Option<usize> {
        if !self.ails.load(Ordering::Acquire) {
            return None;
        }
        let mut spell = lock(&self.spell);
        let counted = held.refused.swap(false, Ordering::AcqRel);
        spell.waiting = spell.waiting.saturating_sub(usize::from(counted));
        if taken {
            spell.since = None;
        }
        self.ails.store(spell.waiting > 0 || spell.since.is_some(), Ordering::Release);
        counted.then_some(spell.waiting)
    }

    /// What is wrong, if something is: for a worker with so many entries.
    pub(crate) fn trouble(&self, now: Instant, capacity: usize) -> Option<&'static str> {
        if !self.ails.load(Ordering::Acquire) {
            return None;
        }
        let spell = *lock(&self.spell);
        if spell.waiting >= capacity {
            return Some("hold all entries with results that the server refuses");
        }
        // A queue that has run dry says nothing of the server any more.
        let lasts = spell.waiting > 0 || spell.latest.saturating_add(PATIENCE) > now;
        let long = spell.since.is_some_and(|since| since.saturating_add(PATIENCE) <= now);
        (long && lasts).then_some("have had results refused for over 60 s")
    }
}

#[cfg(test)]
mod tests {
    use downbeat_core::machine::EntryId;

    use super::*;
    use crate::context::TaskFacts;
    use crate::runner::held_task::Payload;

    fn held() -> HeldTask {
        HeldTask::new(EntryId::new(0, 1), TaskFacts::default(), Payload::Inline(Vec::new()))
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_minute_of_refusals_is_trouble_and_a_result_that_is_taken_ends_it() {
        let refusals = Refusals::default();
        let (first, second) = (held(), held());
        assert_eq!(refusals.trouble(at(0), 4), None);
        assert_eq!(refusals.refused(at(1), &first), 1);
        assert_eq!(refusals.refused(at(2), &first), 1);
        assert_eq!(refusals.trouble(at(60), 4), None);
        assert!(refusals.trouble(at(61), 4).is_some());
        assert_eq!(refusals.settled(&first, false), Some(0));
        assert!(refusals.trouble(at(61), 4).is_some());
        // The latest of them is a minute old.
        assert_eq!(refusals.trouble(at(62), 4), None);
        assert_eq!(refusals.refused(at(63), &second), 1);
        assert!(refusals.trouble(at(63), 4).is_some());
        assert_eq!(refusals.settled(&first, true), None);
        assert_eq!(refusals.trouble(at(63), 4), None);
    }

    #[test]
    fn a_table_full_of_refused_results_is_trouble_at_once() {
        let refusals = Refusals::default();
        let (first, second) = (held(), held());
        refusals.refused(at(1), &first);
        assert_eq!(refusals.trouble(at(1), 2), None);
        refusals.refused(at(1), &second);
        assert!(refusals.trouble(at(1), 2).is_some());
        assert_eq!(refusals.settled(&second, false), Some(1));
        assert_eq!(refusals.trouble(at(1), 2), None);
    }
}
