//! Reads payloads that the server keeps elsewhere, from the place that the server names.
//!
//! The server decides what a worker reads: that is bounded here. `http` and `https` alone; nothing of this machine or
//! of its network link (where clouds keep credentials for whoever asks), unless it is named; no token or key is ever
//! sent; few redirects, each held to the same rules; and no more bytes than a task may have.

use std::fmt;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use downbeat_core::machine::Instant;
use downbeat_core::ports::Cause;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport as layer;

use super::trust::Trust;
use super::ureq::{Addresses, Watch, agent};
use crate::clock::StdClock;

/// How often a storage may point elsewhere.
const REDIRECTS_MAX: usize = 3;

/// A reader of payloads, for a server at one address.
pub(crate) struct Storage {
    clock: StdClock,
    trust: Trust,
    guard: Arc<Guard>,
    /// Made for the first payload: most workers never see one.
    agent: OnceLock<ureq::Agent>,
}

/// Why a payload could not be had. No text shows more of a place than its host: a signed link is a secret.
#[derive(Debug)]
pub(crate) enum Missing {
    /// To try again is of no use.
    Terminal(String),
    /// The next try may succeed.
    Passing(String),
}

/// Which places may be read.
struct Guard {
    /// Host and port of the server.
    own: Option<(String, u16)>,
    /// What the user names, in lower case: `host`, `host:port`, or `*.domain`. `None`: nothing is named.
    named: Option<Vec<String>>,
}

enum Step {
    Body(Vec<u8>),
    Elsewhere(String),
}

impl Storage {
    pub(crate) fn new(server: &str, clock: StdClock, trust: Trust, named: Option<Vec<String>>) -> Self {
        let own = server.parse::<Uri>().ok().and_then(|uri| host_and_port(&uri));
        let named = named.map(|hosts| hosts.iter().map(|host| host.trim().to_ascii_lowercase()).collect());
        Self { clock, trust, guard: Arc::new(Guard { own, named }), agent: OnceLock::new() }
    }

    /// Gets a payload of at most `room` bytes.
    pub(crate) fn get(&self, place: &str, deadline: Instant, room: u64) -> Result<Vec<u8>, Missing> {
        let mut place = self.guard.checked(place)?;
        for _ in 0..=REDIRECTS_MAX {
            match self.attempt(&place, deadline, room)? {
                Step::Body(body) => return Ok(body),
                Step::Elsewhere(location) => place = self.follow(&place, &location)?,
            }
        }
        Err(Missing::Terminal(format!("the storage points elsewhere more than {REDIRECTS_MAX} times")))
    }

    fn attempt(&self, place: &Uri, deadline: Instant, room: u64) -> Result<Step, Missing> {
        let agent = self.agent.get_or_init(|| {
            let guarded = Guarded { addresses: Addresses::default(), guard: Arc::clone(&self.guard) };
            agent(Some(self.trust.tls()), guarded)
        });
        let host = place.host().unwrap_or_default();
        let watch = Watch::start(self.clock, deadline);
        let response = agent.get(place).call().map_err(|error| missing(host, &watch, &error))?;
        let status = response.status().as_u16();
        let passing = |more: &str| {
            Err(Missing::Passing(format!("the storage at `{host}` answered with status {status}{more}")))
        };
        match status {
            200..=299 => {
                let mut body = Vec::new();
                let mut reader = response.into_body().into_reader().take(room.saturating_add(1));
                reader.read_to_end(&mut body).map_err(|error| missing(host, &watch, &error.into()))?;
                if u64::try_from(body.len()).unwrap_or(u64::MAX) > room {
                    return Err(Missing::Terminal(format!(
                        "it is larger than {room} bytes, the most that this worker takes (`max_task`)"
                    )));
                }
                Ok(Step::Body(body))
            }
            301 | 302 | 303 | 307 | 308 => {
                let location = response.headers().get("Location").and_then(|value| value.to_str().ok());
                let nowhere = || Missing::Terminal(format!("the storage at `{host}` points nowhere"));
                Ok(Step::Elsewhere(location.ok_or_else(nowhere)?.to_owned()))
            }
            404 | 410 => {
                Err(Missing::Terminal(format!("there is none any more at `{host}` (status {status})")))
            }
            401 | 403 => passing("; the link may have expired, and the next try gets a new one"),
            _ => passing(""),
        }
    }

    fn follow(&self, from: &Uri, location: &str) -> Result<Uri, Missing> {
        let (scheme, authority) = (from.scheme_str().unwrap_or_default(), from.authority());
        let place = match authority {
            Some(authority) if location.starts_with('/') && !location.starts_with("//") => {
                format!("{scheme}://{authority}{location}")
            }
            Some(_) | None => location.to_owned(),
        };
        let place = self.guard.checked(&place)?;
        if scheme == "https" && place.scheme_str() != Some("https") {
            return Err(Missing::Terminal("the storage points from https to http".to_owned()));
        }
        Ok(place)
    }
}

impl Guard {
    /// The place, if it may be read.
    fn checked(&self, place: &str) -> Result<Uri, Missing> {
        let unreadable = "the server names no place that this worker can read";
        let uri = place.parse::<Uri>().map_err(|_| Missing::Terminal(unreadable.to_owned()))?;
        let Some((host, _)) = host_and_port(&uri) else {
            return Err(Missing::Terminal(format!("{unreadable}: it reads http and https")));
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Missing::Terminal(format!("{unreadable}: there are credentials in its address")));
        }
        if self.names(&uri) {
            return Ok(uri);
        }
        if self.named.is_some() {
            return Err(Missing::Terminal(format!("`{host}` is none of the hosts in `external_hosts`")));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let of_this_machine = bare == "localhost" || bare.ends_with(".localhost");
        if of_this_machine || bare.parse().is_ok_and(is_local) {
            return Err(Missing::Terminal(local(&host)));
        }
        Ok(uri)
    }

    /// Whether somebody has named this place: it is the server's, or the user's.
    fn names(&self, uri: &Uri) -> bool {
        let Some((host, port)) = host_and_port(uri) else { return false };
        // A server on this machine has two names: `localhost` and its address.
        let same = |own: &str| own == host || (is_this_machine(own) && is_this_machine(&host));
        let is_own = self.own.as_ref().is_some_and(|(own, at)| *at == port && same(own));
        let with_port = format!("{host}:{port}");
        is_own
            || self.named.iter().flatten().any(|named| match named.strip_prefix('*') {
                Some(domain) => domain.starts_with('.') && host.ends_with(domain) && host != domain,
                None => *named == host || *named == with_port,
            })
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn local(host: &str) -> String {
    format!(
        "`{host}` is this machine or its network link alone; name it in `external_hosts` if it is the storage"
    )
}

/// Host, in lower case, and port of a place that could be read; `None`: it is none.
fn host_and_port(uri: &Uri) -> Option<(String, u16)> {
    let usual = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        Some(_) | None => return None,
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    Some((authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(usual)))
}

/// Whether an address is of this machine, of its network link, or one at which a cloud hands out credentials.
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets() == [100, 100, 100, 200]
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || address.segments().starts_with(&[0xfd00, 0x0ec2])
        }
    }
}

fn missing(host: &str, watch: &Watch, error: &ureq::Error) -> Missing {
    if let ureq::Error::Other(inner) = error
        && inner.is::<Local>()
    {
        return Missing::Terminal(local(host));
    }
    let what = match watch.failure(error).cause {
        Cause::Resolve => "has no address",
        Cause::Connect => "cannot be reached",
        Cause::Tls => "could not be trusted: the TLS handshake failed (`ca_file` names further roots)",
        Cause::Timeout => "did not answer in time",
        Cause::Closed | Cause::Protocol | Cause::TooLarge | Cause::RequestTooLarge => "broke off its answer",
    };
    Missing::Passing(format!("the storage at `{host}` {what}"))
}

/// A name led to nothing but local addresses.
#[derive(Debug)]
struct Local;

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has local addresses alone")
    }
}

impl std::error::Error for Local {}

/// Finds addresses, and takes the local ones out: a name of the internet may lead to this machine.
struct Guarded {
    addresses: Addresses,
    guard: Arc<Guard>,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: layer::NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.addresses.resolve(uri, config, timeout)?;
        let is_proxy = config.proxy().is_some_and(|proxy| proxy.uri().authority() == uri.authority());
        if is_proxy || self.guard.names(uri) {
            return Ok(found);
        }
        let mut usable = self.empty();
        for address in found.iter().filter(|address| !is_local(address.ip())) {
            usable.push(*address);
        }
        if usable.is_empty() { Err(ureq::Error::Other(Box::new(Local))) } else { Ok(usable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(named: Option<&[&str]>) -> Guard {
        let named = named.map(|named| named.iter().map(|host| (*host).to_owned()).collect());
        Guard { own: Some(("localhost".to_owned(), 8080)), named }
    }

    fn refusal(guard: &Guard, place: &str) -> Option<String> {
        match guard.checked(place) {
            Ok(_) => None,
            Err(Missing::Terminal(why) | Missing::Passing(why)) => Some(why),
        }
    }

    #[test]
    fn nothing_local_is_read_unless_it_is_the_servers_or_named() {
        let guard = guard(None);
        for place in [
            "https://bucket.s3.amazonaws.com/in?X=1",
            "http://10.0.0.7/in",
            "http://localhost:8080/api/in",
            "http://127.0.0.1:8080/api/in",
            "http://[::1]:8080/api/in",
        ] {
            assert_eq!(refusal(&guard, place), None, "{place}");
        }
        for place in [
            "http://localhost/in",
            "http://db.localhost:8080/in",
            "http://127.0.0.1:8081/in",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/in",
            "http://[::ffff:127.0.0.1]/in",
            "http://[fe80::1]/in",
            "http://[fd00:ec2::254]/in",
            "http://0.0.0.0/in",
        ] {
            let why = refusal(&guard, place).unwrap();
            assert!(why.contains("`external_hosts`"), "{place}: {why}");
        }
        for place in
            ["file:///etc/passwd", "ftp://host/in", "in/one", "http://user:word@host/in", "http:///in"]
        {
            let why = refusal(&guard, place).unwrap();
            assert!(
                why.contains("no place that this worker can read") && !why.contains("word"),
                "{place}: {why}"
            );
        }
    }

    #[test]
    fn where_hosts_are_named_they_alone_are_read() {
        let guard = guard(Some(&["minio:9000", "127.0.0.1", "*.amazonaws.com"]));
        for place in [
            "http://minio:9000/in",
            "http://127.0.0.1:1234/in",
            "https://b.s3.AmazonAWS.com/in",
            "http://localhost:8080/in",
        ] {
            assert_eq!(refusal(&guard, place), None, "{place}");
        }
        for place in [
            "http://minio/in",
            "https://amazonaws.com/in",
            "https://evilamazonaws.com/in",
            "http://10.0.0.7/in",
        ] {
            assert!(refusal(&guard, place).unwrap().contains("is none of the hosts"), "{place}");
        }
    }
}
