//! From a URL to a connected socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use downbeat_core::machine::{Clock as _, Instant};
use downbeat_core::ports::Cause;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::clock::StdClock;
use crate::context::lock;
use crate::error::Error;
use crate::transport::ureq::base;

/// How long one address may take to answer, and a name to be looked up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the addresses of a name are used before it is looked up again.
const ADDRESSES_LIFE: Duration = Duration::from_secs(5);

/// A server, and how to reach it.
pub(super) struct Target {
    /// Host and port as the URL has them: the value of `Host`.
    pub(super) authority: String,
    /// The path, without a slash at its end.
    pub(super) base: String,
    host: String,
    port: u16,
    tls: Option<Tls>,
    /// The addresses of the last look-up, and when they were found.
    known: Mutex<Option<(Vec<SocketAddr>, StdClock)>>,
}

struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Target {
    /// `roots` is asked where the server wants TLS.
    pub(super) fn trusting(url: &str, roots: impl FnOnce() -> RootCertStore) -> Result<Self, Error> {
        let checked = base(url)?;
        let wrong = |problem| Error::Url { url: checked.clone(), problem };
        let uri: ureq::http::Uri = checked.parse().map_err(|_| wrong("it is no URL"))?;
        let is_tls = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = if is_tls {
            let name = ServerName::try_from(host.clone()).map_err(|_| wrong("TLS knows no such name"))?;
            Some(Tls { config: config(roots()), name })
        } else {
            None
        };
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            authority: authority.as_str().to_owned(),
            base: path,
            host,
            port,
            tls,
            known: Mutex::new(None),
        })
    }

    /// A new TLS session, where the server wants one.
    pub(super) fn session(&self) -> Option<Result<ClientConnection, Cause>> {
        let tls = self.tls.as_ref()?;
        Some(ClientConnection::new(Arc::clone(&tls.config), tls.name.clone()).map_err(|_| Cause::Tls))
    }

    /// Connects to the first address that answers.
    pub(super) fn connect(&self, clock: &StdClock, deadline: Instant) -> Result<TcpStream, Cause> {
        let left = || deadline.saturating_duration_since(clock.now());
        let mut end = Cause::Resolve;
        for address in self.addresses(left().min(CONNECT_TIMEOUT))? {
            let patience = left().min(CONNECT_TIMEOUT);
            if patience.is_zero() {
                return Err(Cause::Timeout);
            }
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    // A socket that cannot be told so works all the same, later by a few milliseconds.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => end = Cause::Timeout,
                Err(_) => end = Cause::Connect,
            }
        }
        *lock(&self.known) = None;
        Err(end)
    }

    fn addresses(&self, patience: Duration) -> Result<Vec<SocketAddr>, Cause> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let known = lock(&self.known).clone();
        if let Some((addresses, since)) = &known
            && since.now() < Instant::ZERO.saturating_add(ADDRESSES_LIFE)
        {
            return Ok(addresses.clone());
        }
        let addresses = look_up(self.host.clone(), self.port, patience)?;
        *lock(&self.known) = Some((addresses.clone(), StdClock::new()));
        Ok(addresses)
    }
}

/// The system's resolver knows no deadline, so it is asked on a thread of its own, once per connection at the most.
fn look_up(host: String, port: u16, patience: Duration) -> Result<Vec<SocketAddr>, Cause> {
    let (tell, told) = mpsc::sync_channel(1);
    let ask = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // Nobody waits any more: then nobody needs it.
        let _ = tell.send(found);
    };
    std::thread::Builder::new().name("resolve".to_owned()).spawn(ask).map_err(|_| Cause::Resolve)?;
    match told.recv_timeout(patience) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(Cause::Resolve),
        Err(_) => Err(Cause::Timeout),
    }
}

fn config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() {
        Ok(builder) => Arc::new(builder.with_root_certificates(roots).with_no_client_auth()),
        Err(error) => unreachable!("ring has the default versions: {error}"),
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.base)
    }
}
