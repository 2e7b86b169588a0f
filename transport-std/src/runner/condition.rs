//! A log that speaks when something changes, not every time it fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use downbeat_core::machine::Instant;

use crate::context::lock;

/// Something that works or fails.
pub(crate) struct Condition {
    fails: &'static str,
    works: &'static str,
    /// It is an error where it fails, and no warning.
    grave: bool,
    /// Whether `now` holds a spell: what works, as nearly all does, takes no lock.
    ails: AtomicBool,
    now: Mutex<Option<Spell>>,
}

/// Failures in a row.
struct Spell {
    cause: String,
    since: Instant,
    times: u64,
}

impl Condition {
    pub(crate) const fn new(fails: &'static str, works: &'static str) -> Self {
        Self { fails, works, grave: false, ails: AtomicBool::new(false), now: Mutex::new(None) }
    }

    /// Something whose failure needs somebody.
    pub(crate) const fn grave(fails: &'static str, works: &'static str) -> Self {
        Self { fails, works, grave: true, ails: AtomicBool::new(false), now: Mutex::new(None) }
    }

    /// It failed: the first time, and when the cause is another, that is worth a line.
    pub(crate) fn failed(&self, now: Instant, whose: &str, cause: &str) {
        let mut spell = lock(&self.now);
        self.ails.store(true, Ordering::Release);
        match &mut *spell {
            Some(spell) if spell.cause == cause => spell.times += 1,
            Some(spell) => {
                cause.clone_into(&mut spell.cause);
                spell.times += 1;
                self.tell(whose, cause);
            }
            None => {
                *spell = Some(Spell { cause: cause.to_owned(), since: now, times: 1 });
                self.tell(whose, cause);
            }
        }
    }

    /// It failed, as one of many that fail together, each for a reason of its own it may be: the first is worth a line.
    pub(crate) fn failed_once(&self, now: Instant, whose: &str, cause: &str) {
        let mut spell = lock(&self.now);
        self.ails.store(true, Ordering::Release);
        if let Some(spell) = &mut *spell {
            spell.times += 1;
        } else {
            *spell = Some(Spell { cause: cause.to_owned(), since: now, times: 1 });
            self.tell(whose, cause);
        }
    }

    fn tell(&self, whose: &str, cause: &str) {
        if self.grave {
            tracing::error!(whose, cause, "{}", self.fails);
        } else {
            tracing::warn!(whose, cause, "{}", self.fails);
        }
    }

    /// It worked: the first time after failures, that is worth a line.
    pub(crate) fn worked(&self, now: Instant, whose: &str) {
        if !self.ails.load(Ordering::Acquire) {
            return;
        }
        let mut spell = lock(&self.now);
        self.ails.store(false, Ordering::Release);
        if let Some(spell) = spell.take() {
            let seconds = now.saturating_duration_since(spell.since).as_secs_f64();
            tracing::info!(whose, failures = spell.times, seconds, "{}", self.works);
        }
    }
}
