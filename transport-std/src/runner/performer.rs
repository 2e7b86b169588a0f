//! A thread's means to perform jobs.

use std::sync::Arc;

use downbeat_core::ports::Transport;

use super::shared::Shared;

/// A thread's means: what it shares with all, and its own transport.
pub(crate) struct Performer {
    pub(super) shared: Arc<Shared>,
    pub(super) transport: Box<dyn Transport + Send>,
}

impl Performer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let transport = (shared.transports)();
        Self { shared, transport }
    }
}
