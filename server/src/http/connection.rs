//! Connections: taken, kept, closed as Tomcat closes them, or refused by a fault.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use downbeat_core::machine::Instant;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request as HyperRequest, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::answer::{Answer, Content};
use super::faults::FaultKind;
use super::handle;
use super::request::Request;
use super::shared::Shared;

/// The longest body that is read; more is a 500.
const BODY_MAX: usize = 64 << 20;
/// How long open connections have when the server stops.
const STOP_MAX: Duration = Duration::from_secs(1);

/// Serves until the server is told to stop.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    let time = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { shared.keep_time().await }
    });
    let mut stopping = shared.stopping.subscribe();
    let mut changes = shared.faults.changes();
    let mut listener = Some(listener);
    let mut closed = None;
    loop {
        let down = shared.faults.down_until();
        match (&listener, down) {
            (Some(_), Some(_)) => {
                listener = None;
                closed = hold(address).ok();
            }
            (None, None) => listener = open(&mut closed, address).ok(),
            (Some(_), None) | (None, Some(_)) => {}
        }
        let wait = match (&listener, down) {
            (None, None) => Duration::from_millis(10),
            (_, Some(until)) => {
                until.saturating_duration_since(shared.clock.now()).min(Duration::from_secs(3_600))
            }
            (Some(_), None) => Duration::from_secs(3_600),
        };
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            _ = changes.changed() => {}
            () = tokio::time::sleep(wait) => {}
            taken = accept(listener.as_ref()) => {
                if let Ok(stream) = taken {
                    take(&shared, stream);
                }
            }
        }
    }
    drop(listener);
    let _ = time.await;
    let ended = async {
        while shared.counters.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(STOP_MAX, ended).await;
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Keeps the port without listening: connections are refused, and no other program is given it.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn open(held: &mut Option<TcpSocket>, address: SocketAddr) -> io::Result<TcpListener> {
    held.take().map_or_else(|| hold(address), Ok)?.listen(1_024)
}

fn take(shared: &Arc<Shared>, stream: TcpStream) {
    if shared.faults.hit(None, None, |fault| fault.kind == FaultKind::Reset).is_some() {
        shared.counters.reset();
        // Closing with a linger of zero sends a reset.
        let _ = stream.set_zero_linger();
        return;
    }
    let _ = stream.set_nodelay(true);
    shared.counters.opened();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        keep(&shared, stream).await;
        shared.counters.closed();
    });
}

/// How a connection has been used.
#[derive(Debug)]
struct Use {
    answers: AtomicU32,
    in_flight: AtomicU32,
    /// Whether an order of a fault is in flight: it is answered before its connection is cut.
    ordering: AtomicBool,
    /// When the last answer was made, in microseconds.
    last: AtomicU64,
}

async fn keep(shared: &Arc<Shared>, stream: TcpStream) {
    let used = Arc::new(Use {
        answers: AtomicU32::new(0),
        in_flight: AtomicU32::new(0),
        ordering: AtomicBool::new(false),
        last: AtomicU64::new(shared.clock.now().as_micros()),
    });
    let service = service_fn(|request| respond(Arc::clone(shared), Arc::clone(&used), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .title_case_headers(true)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut stopping = shared.stopping.subscribe();
    let mut changes = shared.faults.changes();
    let mut closing = false;
    loop {
        let idle_at =
            Instant::from_micros(used.last.load(Ordering::Relaxed)).saturating_add(shared.options.idle_close);
        let wait = idle_at.saturating_duration_since(shared.clock.now()).max(Duration::from_millis(1));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(wait), if !closing => {
                let idle = used.in_flight.load(Ordering::Relaxed) == 0 && shared.clock.now() >= idle_at;
                if idle {
                    // R-HTTP-2: closed without a word.
                    connection.as_mut().graceful_shutdown();
                    closing = true;
                } else if shared.clock.now() >= idle_at {
                    used.last.store(shared.clock.now().as_micros(), Ordering::Relaxed);
                }
            }
            _ = stopping.wait_for(|stopping| *stopping), if !closing => {
                connection.as_mut().graceful_shutdown();
                closing = true;
            }
            _ = changes.changed() => {
                if shared.faults.down_until().is_none() {
                    continue;
                }
                if !used.ordering.load(Ordering::Relaxed) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                closing = true;
            }
        }
    }
}

async fn respond(
    shared: Arc<Shared>,
    used: Arc<Use>,
    request: HyperRequest<Incoming>,
) -> io::Result<Response<Content>> {
    used.in_flight.fetch_add(1, Ordering::Relaxed);
    used.ordering.store(request.uri().path().starts_with("/control/"), Ordering::Relaxed);
    // R-POLL-1: whoever goes away does not undo what was asked, so it runs in a task of its own.
    let answer = tokio::spawn(answer(Arc::clone(&shared), request)).await;
    let served = used.answers.fetch_add(1, Ordering::Relaxed) + 1;
    used.last.store(shared.clock.now().as_micros(), Ordering::Relaxed);
    used.in_flight.fetch_sub(1, Ordering::Relaxed);
    let answer = answer.unwrap_or_else(|_| Some(super::Refused::failed("the model server panicked").into()));
    shared.counters.answer(answer.as_ref().map_or(0, |answer| answer.status));
    let answer = answer.ok_or_else(|| io::Error::other("no answer, by a fault"))?;
    let last = served >= shared.options.answers_per_connection || shared.is_stopping();
    Ok(answer.into_response(last))
}

/// Reads the body and has the request handled. Returns `None` for no answer.
async fn answer(shared: Arc<Shared>, request: HyperRequest<Incoming>) -> Option<Answer> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Some(super::Refused::failed("the body is too long, or ended early").into());
    };
    handle::handle(&shared, Request::new(parts, body.to_bytes().to_vec())).await
}
