//! Enough file descriptors for all commands at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::gate;

/// Descriptors of one running command: three pipes, its handle, and the other ends while it starts.
const PER_COMMAND: u64 = 7;
/// What the rest of the process may need besides its connections: the log, the store, the watchdog, orphans.
const REST: u64 = 112;

/// The hard limit is too low for all commands at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Short {
    /// Descriptors that were needed.
    pub(crate) needed: u64,
    /// Descriptors that there may be.
    pub(crate) limit: u64,
    /// Commands that run at once then, at least one.
    pub(crate) fits: u64,
}

/// Raises the process's soft limit of open files, if it is too low for so many commands and connections at
/// once, to what they need and no further: commands inherit it.
///
/// # Errors
/// The hard limit is too low: then no more commands run at once than fit, whoever asks for them.
pub(crate) fn allow(commands: u64, connections: u64) -> Result<(), Short> {
    let rest = REST.saturating_add(connections);
    let needed = rest.saturating_add(commands.saturating_mul(PER_COMMAND));
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let most = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let limit = if raised.is_ok() { most } else { limit.current.unwrap_or(0) };
    if limit >= needed {
        return Ok(());
    }
    let fits = fitting(limit, rest);
    gate::narrow(fits);
    Err(Short { needed, limit, fits })
}

/// Commands that `limit` descriptors are enough for; a process that has fewer than its rest lives from hand to mouth.
fn fitting(limit: u64, rest: u64) -> u64 {
    (limit.saturating_sub(rest.min(limit / 2)) / PER_COMMAND).max(1)
}

/// What is left of each worker's slots if only `fits` commands run at once: its share, at least one.
pub(crate) fn shares(slots: &[u16], fits: u64) -> Vec<u16> {
    let all: u64 = slots.iter().copied().map(u64::from).sum();
    let share = |slots: u16| {
        let share = (u64::from(slots) * fits.min(all)) / all.max(1);
        u16::try_from(share).unwrap_or(slots).clamp(1, slots.max(1))
    };
    slots.iter().copied().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_needed() {
        assert_eq!(allow(1, 16), Ok(()));
        let current = getrlimit(Resource::Nofile).current;
        assert!(current.is_none_or(|current| current >= REST + 16 + PER_COMMAND));
    }

    #[test]
    fn so_many_commands_fit_and_always_one() {
        assert_eq!(fitting(512, 128), 54);
        assert_eq!(fitting(128 + 14, 128), 10);
        assert_eq!((fitting(0, 128), fitting(13, 128), fitting(28, 128)), (1, 1, 2));
    }

    #[test]
    fn slots_are_lowered_in_proportion_and_every_worker_keeps_one() {
        assert_eq!(shares(&[1_000], 54), [54]);
        assert_eq!(shares(&[600, 300, 1], 90), [59, 29, 1]);
        assert_eq!(shares(&[10, 20], 1_000), [10, 20]);
        assert_eq!(shares(&[5, 5, 5], 1), [1, 1, 1]);
        assert_eq!(shares(&[], 1), [0; 0]);
    }
}
