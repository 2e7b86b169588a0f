//! The transport: HTTP/1.1 by ureq, with kept connections and TLS.
//!
//! What decides everything above is how far a failed request came. A layer around each connection ([`Watched`])
//! watches that: a request whose last byte was not handed to the system cannot have taken effect, for the server has
//! never seen it whole; it is [`Reach::NotSent`]. A kept connection that turns out to be closed while the request is
//! written is such a case, and is followed at once by another try, on another connection. Whatever fails after the
//! last byte is [`Reach::Sent`].
//!
//! The same layer keeps the deadline. (ureq's own global timeout would start a thread for every request.)

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use downbeat_core::machine::{Clock, Instant};
use downbeat_core::ports::{Cause, Content, Failure, Head, Method, Reach, Request, Sink, Transport};
use ureq::http;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport as layer;
use ureq::unversioned::transport::Connector as _;

use super::date;
use super::trust::Trust;
use crate::clock::StdClock;
use crate::context::lock;
use crate::error::Error;

/// How long a connection may take to be made, name and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is not used again: servers close them after a minute, proxies earlier.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Connections that are kept at the most.
const KEPT_MAX: usize = 256;
/// How long the addresses of a name are used before it is looked up again.
const ADDRESSES_LIFE: Duration = Duration::from_secs(5);

/// A [`Transport`] by ureq. Clones share their connections.
#[derive(Clone)]
pub struct UreqTransport {
    agent: ureq::Agent,
    base: Arc<str>,
    clock: StdClock,
}

impl UreqTransport {
    /// Makes a transport for the API at `url`, such as `http://localhost:8080/api`. Deadlines are on `clock`. A TLS
    /// server is trusted as this machine trusts it; see [`Runner::ca_file`](crate::Runner::ca_file).
    ///
    /// # Errors
    /// [`Error::Url`]: not `http` or `https`, no host, or more than a path.
    pub fn new(url: &str, clock: StdClock) -> Result<Self, Error> {
        Self::trusting(url, clock, &Trust::default())
    }

    pub(crate) fn trusting(url: &str, clock: StdClock, trust: &Trust) -> Result<Self, Error> {
        let base = base(url)?;
        let tls = base.starts_with("https").then(|| trust.tls());
        Ok(Self { agent: agent(tls, Addresses::default()), base: base.into(), clock })
    }

    /// One try.
    fn attempt(&self, request: &Request<'_>, watch: &Watch, sink: &mut dyn Sink) -> Result<Head, Failure> {
        let unsent = |_: http::Error| Failure { reach: Reach::NotSent, cause: Cause::Protocol };
        let builder = self.describe(request);
        let answer = match request.content {
            Content::None => self.agent.run(builder.body(()).map_err(unsent)?),
            Content::Json | Content::Text => self.agent.run(builder.body(request.body).map_err(unsent)?),
        };
        let response = answer.map_err(|error| watch.failure(&error))?;
        let head = head_of(&response);
        sink.head(&head);
        let mut reader = response.into_body().into_reader();
        let mut piece = [0; 16 * 1024];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return Ok(head),
                Ok(len) => {
                    let bytes = piece.get(..len).unwrap_or_default();
                    sink.chunk(bytes).map_err(|_| Failure::TOO_LARGE)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(watch.failure(&error.into())),
            }
        }
    }

    fn describe(&self, request: &Request<'_>) -> http::request::Builder {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
        };
        let mut builder =
            http::Request::builder().method(method).uri(format!("{}{}", self.base, request.target));
        match request.content {
            Content::None => {}
            Content::Json => builder = builder.header("Content-Type", "application/json"),
            Content::Text => builder = builder.header("Content-Type", "text/plain"),
        }
        if let Some(token) = request.token {
            // A token that no header can carry is refused when it is read; the builder would keep the error.
            builder = match http::HeaderValue::from_str(token) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    builder.header("X-Authorization", value)
                }
                Err(_) => builder.header("X-Authorization", "unfit"),
            };
        }
        builder
    }
}

impl Transport for UreqTransport {
    fn exchange(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure> {
        let mut left = KEPT_MAX + 1;
        loop {
            let watch = Watch::start(self.clock, deadline);
            match self.attempt(request, &watch, sink) {
                // A kept connection was closed by the server meanwhile. There may be more of its age.
                Err(Failure { reach: Reach::NotSent, cause: Cause::Closed })
                    if !watch.dialed() && left > 0 =>
                {
                    left -= 1;
                }
                end => return end,
            }
        }
    }
}

/// Shows the address, and nothing that was sent.
impl fmt::Debug for UreqTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UreqTransport").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Checks an API's address, and takes the slash off its end.
pub(crate) fn base(url: &str) -> Result<String, Error> {
    let wrong = |problem| Err(Error::Url { url: without_user(url), problem });
    let Ok(uri) = url.parse::<http::Uri>() else { return wrong("it is no URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return wrong("it does not begin with http:// or https://");
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return wrong("it has no host");
    };
    if authority.as_str().contains('@') {
        return wrong(
            "it has a user in it; give key and secret as CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET",
        );
    }
    if uri.query().is_some() || url.contains('#') {
        return wrong("it has more than a path");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The URL as it may be shown.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let (from, to) = (url.get(..scheme + 3), url.get(at + 1..));
            format!("{}…@{}", from.unwrap_or_default(), to.unwrap_or_default())
        }
        (_, _) => url.to_owned(),
    }
}

pub(super) fn agent(tls: Option<ureq::tls::TlsConfig>, addresses: impl Resolver) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .tls_config(tls.unwrap_or_default())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .max_idle_age(IDLE_MAX)
        .max_idle_connections(KEPT_MAX)
        .max_idle_connections_per_host(KEPT_MAX)
        .user_agent(concat!("downbeat/", env!("CARGO_PKG_VERSION")))
        .build();
    let connector = Dialing.chain(layer::DefaultConnector::default()).chain(Watching);
    ureq::Agent::with_parts(config, connector, addresses)
}

fn head_of(response: &http::Response<ureq::Body>) -> Head {
    let header =
        |name| response.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let content_type = header("Content-Type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let json = media_type.eq_ignore_ascii_case("application/json")
        || media_type
            .get(media_type.len().saturating_sub(5)..)
            .is_some_and(|end| end.eq_ignore_ascii_case("+json"));
    Head {
        status: response.status().as_u16(),
        retry_after: header("Retry-After").and_then(|value| date::retry_after(value, header("Date"))),
        json,
    }
}

// -------------------------------------------------------------------- how far a request came

thread_local! {
    /// The exchange that this thread is at. ureq performs an exchange on the thread that asks for it.
    static PROGRESS: Cell<Progress> = const { Cell::new(Progress::NONE) };
}

#[derive(Clone, Copy)]
struct Progress {
    clock: Option<StdClock>,
    deadline: Instant,
    /// A connection was made, or tried, for this exchange.
    dialed: bool,
    /// Bytes of the request were handed over.
    sent: bool,
    /// The rest of the request could not be handed over.
    cut: bool,
}

impl Progress {
    const NONE: Self =
        Self { clock: None, deadline: Instant::FAR_FUTURE, dialed: false, sent: false, cut: false };
}

fn note(change: impl FnOnce(&mut Progress)) {
    PROGRESS.with(|cell| {
        let mut progress = cell.get();
        change(&mut progress);
        cell.set(progress);
    });
}

/// The view of one try from above.
pub(super) struct Watch;

impl Watch {
    pub(super) fn start(clock: StdClock, deadline: Instant) -> Self {
        PROGRESS.with(|cell| cell.set(Progress { clock: Some(clock), deadline, ..Progress::NONE }));
        Self
    }

    #[expect(clippy::unused_self, reason = "the view exists for as long as there is something to see")]
    fn dialed(&self) -> bool {
        PROGRESS.with(Cell::get).dialed
    }

    #[expect(clippy::unused_self, reason = "the view exists for as long as there is something to see")]
    pub(super) fn failure(&self, error: &ureq::Error) -> Failure {
        let progress = PROGRESS.with(Cell::get);
        let whole = progress.sent && !progress.cut;
        let reach = if whole { Reach::Sent } else { Reach::NotSent };
        let dialing = progress.dialed && !progress.sent && !progress.cut;
        Failure { reach, cause: cause(error, dialing) }
    }
}

fn cause(error: &ureq::Error, dialing: bool) -> Cause {
    use ureq::Error as E;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not exhaustive")]
    match error {
        E::HostNotFound => Cause::Resolve,
        E::Timeout(_) => Cause::Timeout,
        E::Tls(_) | E::Rustls(_) | E::Pem(_) | E::TlsRequired => Cause::Tls,
        E::Io(error) if is_of_tls(error) => Cause::Tls,
        E::Io(_) | E::ConnectionFailed | E::ConnectProxyFailed(_) if dialing => Cause::Connect,
        E::Io(error) if error.kind() == io::ErrorKind::TimedOut => Cause::Timeout,
        E::Io(_) | E::ConnectionFailed => Cause::Closed,
        E::InvalidProxyUrl | E::ConnectProxyFailed(_) => Cause::Connect,
        _ => Cause::Protocol,
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Puts a [`Watched`] around each new connection.
#[derive(Debug)]
struct Watching;

impl<In: layer::Transport> layer::Connector<In> for Watching {
    type Out = Watched<In>;

    fn connect(
        &self,
        _: &layer::ConnectionDetails<'_>,
        made: Option<In>,
    ) -> Result<Option<Watched<In>>, ureq::Error> {
        // What a proxy or TLS sent on the way is none of the request.
        note(|progress| {
            progress.sent = false;
            progress.cut = false;
        });
        Ok(made.map(Watched))
    }
}

/// Notes that a connection is being made.
#[derive(Debug)]
struct Dialing;

impl layer::Connector<()> for Dialing {
    type Out = ();

    fn connect(
        &self,
        _: &layer::ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<()>, ureq::Error> {
        note(|progress| progress.dialed = true);
        Ok(chained)
    }
}

/// A connection that notes how far a request came, and keeps the deadline of its exchange.
#[derive(Debug)]
struct Watched<T>(T);

/// The time that is left of the exchange, where that is less than ureq's own.
fn bounded(mut timeout: layer::NextTimeout) -> Result<layer::NextTimeout, ureq::Error> {
    let progress = PROGRESS.with(Cell::get);
    let Some(clock) = progress.clock else { return Ok(timeout) };
    let left = progress.deadline.saturating_duration_since(clock.now());
    if left.is_zero() {
        return Err(ureq::Error::Timeout(timeout.reason));
    }
    if progress.deadline < Instant::FAR_FUTURE {
        timeout.after = timeout.after.min(left.into());
    }
    Ok(timeout)
}

impl<T: layer::Transport> layer::Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn layer::Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: layer::NextTimeout) -> Result<(), ureq::Error> {
        let end = bounded(timeout).and_then(|timeout| self.0.transmit_output(amount, timeout));
        note(|progress| match &end {
            Ok(()) => progress.sent = true,
            Err(_) => progress.cut = true,
        });
        end
    }

    fn await_input(&mut self, timeout: layer::NextTimeout) -> Result<bool, ureq::Error> {
        self.0.await_input(bounded(timeout)?)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

// -------------------------------------------------------------------- names

/// Looks names up, and remembers the addresses for a while: ureq asks for every request, also on a kept connection.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    system: SystemResolver,
    known: Mutex<BTreeMap<String, (ResolvedSocketAddrs, StdClock)>>,
}

/// ureq's own resolver.
#[derive(Default)]
struct SystemResolver(DefaultResolver);

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemResolver")
    }
}

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &http::Uri,
        config: &ureq::config::Config,
        mut timeout: layer::NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let known = lock(&self.known).get(&authority).cloned();
        if let Some((addresses, since)) = &known
            && since.now() < Instant::ZERO.saturating_add(ADDRESSES_LIFE)
        {
            return Ok(addresses.clone());
        }
        timeout.after = timeout.after.min(CONNECT_TIMEOUT.into());
        match self.system.0.resolve(uri, config, timeout) {
            Ok(addresses) => {
                lock(&self.known).insert(authority, (addresses.clone(), StdClock::new()));
                Ok(addresses)
            }
            // Better an old address than none, while the name cannot be looked up.
            Err(_) => known.map(|(addresses, _)| addresses).ok_or(ureq::Error::HostNotFound),
        }
    }
}
