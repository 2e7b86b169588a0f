//! The lean transport: core's HTTP codec over a TCP stream, plain or with TLS, without a proxy.
//!
//! Clones share their kept connections: a call takes the one that was used last, or makes one, and puts it back. So
//! there are never more connections than calls at a time, however many threads perform them. The codec and the rule
//! of what is sent again are those of [`downbeat_core::http`], the same as on a microcontroller.

mod dial;
mod link;
mod socket;
#[cfg(test)]
mod tls_tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use downbeat_core::http::{Client, Site};
use downbeat_core::machine::Instant;
use downbeat_core::ports::{Failure, Head, Request, Sink, Transport};

use super::trust::Trust;
use crate::clock::StdClock;
use crate::error::Error;
use dial::Target;
use link::StdLink;

/// Bytes that are read at once, and of a request that is written in one go.
const BUFFER: usize = 16 * 1024;

/// Connections that are kept while no call uses them; beyond it, one is closed after its call.
const KEPT_MAX: usize = 64;

/// One connection, with the memory of its codec.
type Connection = Client<StdLink, Box<[u8]>>;

/// A [`Transport`] by core's own codec. Clones share the connections that are kept, at most 64.
#[derive(Clone)]
pub struct LeanTransport {
    target: Arc<Target>,
    clock: StdClock,
    kept: Arc<Mutex<Vec<Connection>>>,
}

impl LeanTransport {
    /// Makes a transport for the API at `url`, such as `http://localhost:8080/api`. Deadlines are on `clock`. A TLS
    /// server is trusted as this machine trusts it; see [`Runner::ca_file`](crate::Runner::ca_file).
    ///
    /// # Errors
    /// [`Error::Url`]: not `http` or `https`, no host, or more than a path.
    pub fn new(url: &str, clock: StdClock) -> Result<Self, Error> {
        Self::trusting(url, clock, &Trust::default())
    }

    pub(crate) fn trusting(url: &str, clock: StdClock, trust: &Trust) -> Result<Self, Error> {
        Ok(Self::to(Arc::new(Target::trusting(url, || trust.store())?), clock))
    }

    fn to(target: Arc<Target>, clock: StdClock) -> Self {
        Self { target, clock, kept: Arc::default() }
    }

    /// The connection that was used last, or one to be made.
    fn take(&self) -> Connection {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| {
            Client::new(StdLink::new(Arc::clone(&self.target), self.clock), vec![0; BUFFER].into())
        })
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(connection);
        }
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
        let mut connection = self.take();
        let answer = connection.exchange(&site, request, deadline, sink);
        self.keep(connection);
        answer
    }
}

/// Shows the address, and nothing that was sent.
impl fmt::Debug for LeanTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeanTransport").field("target", &self.target).finish_non_exhaustive()
    }
}
