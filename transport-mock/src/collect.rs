//! A sink that keeps an answer.

use downbeat_core::ports::{Head, Sink, TooLarge};

/// Keeps the head and the body of an answer, up to a limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Collector {
    head: Option<Head>,
    body: Vec<u8>,
    limit: usize,
}

impl Collector {
    /// Makes a sink that takes any answer.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    /// Makes a sink that takes bodies of up to this many bytes.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        Self { head: None, body: Vec::new(), limit }
    }

    /// The head; `None` before it came.
    #[must_use]
    pub const fn head(&self) -> Option<Head> {
        self.head
    }

    /// The body, as far as it came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

impl Sink for Collector {
    /// # Panics
    /// When it is called twice: a transport feeds the head once.
    fn head(&mut self, head: &Head) {
        assert!(self.head.is_none(), "the transport fed a second head: {head:?}");
        self.head = Some(*head);
    }

    /// # Panics
    /// When it is called before the head.
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        assert!(self.head.is_some(), "the transport fed a piece of the body before the head");
        if bytes.len() > self.limit.saturating_sub(self.body.len()) {
            return Err(TooLarge);
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }
}
