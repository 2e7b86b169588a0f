//! Enough file descriptors for all commands at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of one running command: three pipes, its handle, and the other ends while it starts.
const PER_COMMAND: u64 = 7;
/// What the rest of the process may need: connections, the log, the store.
const REST: u64 = 128;

/// Raises the process's soft limit of open files, where it is too low for so many commands at once, to what they need
/// and no further: commands inherit it.
///
/// # Errors
/// The hard limit is too low: how many files are needed, and how many there may be.
pub(crate) fn allow(commands: u64) -> Result<(), (u64, u64)> {
    let needed = REST.saturating_add(commands.saturating_mul(PER_COMMAND));
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let most = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let current = if raised.is_ok() { most } else { limit.current.unwrap_or(0) };
    if current < needed { Err((needed, current)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_needed_or_told() {
        assert_eq!(allow(1), Ok(()));
        assert!(getrlimit(Resource::Nofile).current.is_none_or(|current| current >= REST + PER_COMMAND));
        if let Some(hard) = getrlimit(Resource::Nofile).maximum {
            let (needed, current) = allow(hard).unwrap_err();
            assert!(needed > current && current <= hard);
        }
    }
}
