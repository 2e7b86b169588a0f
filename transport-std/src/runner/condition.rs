//! A log that speaks when something changes, not every time it fails.

use std::sync::Mutex;

use downbeat_core::machine::Instant;

use crate::context::lock;

/// Something that works or fails.
pub(crate) struct Condition {
    fails: &'static str,
    works: &'static str,
    /// It is an error where it fails, and no warning.
    grave: bool,
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
        Self { fails, works, grave: false, now: Mutex::new(None) }
    }

    /// Something whose failure needs somebody.
    pub(crate) const fn grave(fails: &'static str, works: &'static str) -> Self {
        Self { fails, works, grave: true, now: Mutex::new(None) }
    }

    /// It failed: the first time, and when the cause is another, that is worth a line.
    pub(crate) fn failed(&self, now: Instant, whose: &str, cause: &str) {
        let mut spell = lock(&self.now);
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

    fn tell(&self, whose: &str, cause: &str) {
        if self.grave {
            tracing::error!(whose, cause, "{}", self.fails);
        } else {
            tracing::warn!(whose, cause, "{}", self.fails);
        }
    }

    /// It worked: the first time after failures, that is worth a line.
    pub(crate) fn worked(&self, now: Instant, whose: &str) {
        if let Some(spell) = lock(&self.now).take() {
            let seconds = spell.since.until(now).as_secs_f64();
            tracing::info!(whose, failures = spell.times, seconds, "{}", self.works);
        }
    }
}
