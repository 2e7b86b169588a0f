//! Real time, for the one part of the simulator that lives in it.

use downbeat_core::machine::Instant;

/// Microseconds since 1970, never going back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: std::time::Instant,
    epoch: u64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "serve runs the model server in real time")]
    pub(super) fn start() -> Self {
        let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            started: std::time::Instant::now(),
            epoch: u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX / 2),
        }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_micros(self.epoch).saturating_add(self.started.elapsed())
    }
}
