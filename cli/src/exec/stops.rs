//! What is known of signals that ask this process, and all others of the service, to end.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

static TOLD: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static TELLINGS: AtomicU64 = AtomicU64::new(0);

fn told() -> &'static Arc<AtomicBool> {
    TOLD.get_or_init(Arc::default)
}

/// Notes SIGTERM and SIGINT from now on. Until [`Starting::end`] the second one has its usual effect: nobody else heeds
/// them yet, and what starts may take long.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn note() -> io::Result<Starting> {
    let again = Arc::new(AtomicBool::new(false));
    let mut handlers = Vec::new();
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::clone(told()))?;
        // In this order: the first one only notes that it came.
        handlers.push(flag::register_conditional_default(signal, Arc::clone(&again))?);
        handlers.push(flag::register(signal, Arc::clone(&again))?);
    }
    Ok(Starting { handlers })
}

/// The time from the first line of a run until its runner heeds signals.
#[derive(Debug)]
pub(crate) struct Starting {
    handlers: Vec<SigId>,
}

impl Starting {
    /// Somebody else heeds signals from now on.
    pub(crate) fn end(self) {
        for handler in self.handlers {
            low_level::unregister(handler);
        }
    }
}

/// Whether this process was asked to end.
pub(crate) fn is_told() -> bool {
    told().load(Ordering::Relaxed)
}

/// A process that nobody signals on purpose got a signal: so did every process of the service.
pub(super) fn all_were_told() {
    TELLINGS.fetch_add(1, Ordering::Relaxed);
}

/// What was known when a command started, so that it can be told what came since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    tellings: u64,
    is_told: bool,
}

impl Before {
    pub(super) fn now() -> Self {
        Self { tellings: TELLINGS.load(Ordering::Relaxed), is_told: is_told() }
    }

    /// Whether the service was being stopped already: nobody asked this command to end with it. A signal to
    /// only the watchdog is no such stop.
    pub(super) const fn is_during_stop(self) -> bool {
        self.is_told && self.tellings > 0
    }

    /// Whether every process of the service, the command too, was asked to end since.
    pub(super) fn are_all_told_since(self) -> bool {
        TELLINGS.load(Ordering::Relaxed) > self.tellings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_the_watchdog_alone_hides_no_later_stop() {
        let first = Before::now();
        all_were_told();
        assert!(first.are_all_told_since());
        let second = Before { is_told: false, ..Before::now() };
        assert!(!second.is_during_stop() && !second.are_all_told_since());
        all_were_told();
        assert!(second.are_all_told_since());
        assert!(Before { is_told: true, ..Before::now() }.is_during_stop());
    }
}
