//! When the machine has nothing left to start a command with: that is no failure of the task.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use tracing::{info, warn};

use super::RECALL_SLICE;
use crate::clock;

/// How long a task that cannot be started keeps its slot, and with it the next poll, before it is given back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the last command could not be started.
static SHORT: AtomicBool = AtomicBool::new(false);

/// Starts something as soon as the machine can, asking every 100 ms whether the task is `recalled`. `None`: it was, or
/// 5 s have passed.
///
/// # Errors
/// Starting fails, and not for want of descriptors, processes or memory.
pub(super) fn outlast<T>(
    mut start: impl FnMut() -> io::Result<T>,
    recalled: &dyn Fn() -> bool,
) -> io::Result<Option<T>> {
    let until = clock::now() + PATIENCE;
    loop {
        match start() {
            Ok(started) => {
                if SHORT.load(Ordering::Relaxed) && SHORT.swap(false, Ordering::Relaxed) {
                    info!("commands can be started again");
                }
                return Ok(Some(started));
            }
            Err(error) if is_shortage(&error) => {
                if !SHORT.swap(true, Ordering::Relaxed) {
                    warn!(
                        %error,
                        "commands cannot be started; their tasks wait, and are given back to the server after 5 s \
                         (`ulimit -n`, `ulimit -u`, the service's limits of tasks and memory)"
                    );
                }
            }
            Err(error) => return Err(error),
        }
        if recalled() || clock::left(until).is_zero() {
            return Ok(None);
        }
        clock::pause(RECALL_SLICE);
    }
}

/// No file descriptors for this process or at all, no processes, no memory.
fn is_shortage(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| short.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_outlasted_and_anything_else_is_an_error() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM] {
            let mut left = 2;
            let start = || {
                left -= 1;
                if left > 0 { Err(errno.into()) } else { Ok("started") }
            };
            assert_eq!(outlast(start, &|| false).unwrap(), Some("started"), "{errno}");
            let none: Option<()> = outlast(|| Err(errno.into()), &|| true).unwrap();
            assert_eq!(none, None, "{errno}");
        }
        assert!(outlast::<()>(|| Err(Errno::NOENT.into()), &|| false).is_err());
    }
}
