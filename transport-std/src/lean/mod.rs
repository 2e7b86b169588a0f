//! The lean transport: core's HTTP codec over a TCP stream, plain or with TLS, without a proxy.
//!
//! Each performer thread has one of its own, and so one connection of its own: no pool, no lock, no hand-over. The
//! codec and the rule of what is sent again are those of [`downbeat_core::http`], the same as on a microcontroller.

mod choice;
mod dial;
mod link;
mod socket;
#[cfg(test)]
mod tls_tests;

use std::fmt;
use std::sync::Arc;

use downbeat_core::http::{Client, Site};
use downbeat_core::machine::Instant;
use downbeat_core::ports::{Failure, Head, Request, Sink, Transport};

use crate::clock::StdClock;
use crate::error::Error;
pub use choice::TransportChoice;
use dial::Target;
use link::StdLink;

/// Bytes that are read at once, and of a request that is written in one go.
const BUFFER: usize = 16 * 1024;

/// A [`Transport`] by core's own codec. A clone connects for itself.
pub struct LeanTransport {
    target: Arc<Target>,
    clock: StdClock,
    client: Client<StdLink, Box<[u8]>>,
}

impl LeanTransport {
    /// Makes a transport for the API at `url`, such as `http://localhost:8080/api`. Deadlines are on `clock`.
    ///
    /// # Errors
    /// [`Error::Url`]: not `http` or `https`, no host, or more than a path.
    pub fn new(url: &str, clock: StdClock) -> Result<Self, Error> {
        Ok(Self::to(Arc::new(Target::new(url)?), clock))
    }

    fn to(target: Arc<Target>, clock: StdClock) -> Self {
        let link = StdLink::new(Arc::clone(&target), clock);
        Self { target, clock, client: Client::new(link, vec![0; BUFFER].into()) }
    }
}

impl Clone for LeanTransport {
    fn clone(&self) -> Self {
        Self::to(Arc::clone(&self.target), self.clock)
    }
}

impl Transport for LeanTransport {
    fn exchange(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure> {
        let site = Site { host: &self.target.authority, base: &self.target.base };
        self.client.exchange(&site, request, deadline, sink)
    }
}

/// Shows the address, and nothing that was sent.
impl fmt::Debug for LeanTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeanTransport").field("target", &self.target).finish_non_exhaustive()
    }
}
