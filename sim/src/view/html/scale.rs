//! The time axis.

use downbeat_core::machine::Instant;

/// Width of the time axis before anybody zooms, in pixels.
pub(super) const WIDTH: f64 = 1200.0;

/// Time to pixels.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) end: f64,
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
    pub(super) fn new(end: Instant) -> Self {
        Self { end: (end.as_micros() as f64).max(1_000_000.0) }
    }

    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
    pub(super) fn x(self, at: Instant) -> f64 {
        at.as_micros() as f64 / self.end * WIDTH
    }

    pub(super) fn seconds(self) -> f64 {
        self.end / 1_000_000.0
    }
}
