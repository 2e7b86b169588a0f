//! A small endpoint for those who look after the process: metrics, health, readiness.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use downbeat_core::machine::{Clock as _, Lifecycle};

use super::shared::Shared;
use crate::clock::StdClock;
use crate::metrics::Metrics;

/// How long a client may take to ask, and again to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a request that are read at the most.
const REQUEST_MAX: usize = 8 * 1024;
/// The rest after a failure to accept: the process has no files left, it may be.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Serves until the runner has ended, one client after the other.
///
/// | path | answer |
/// | --- | --- |
/// | `/metrics` | 200: [`Metrics::render`] |
/// | `/health` | 200: the process answers |
/// | `/ready` | 200: the server can be reached, there is a token where one is needed, every worker's latest poll was answered, no worker's results are refused (all places full of such, or for over 60 s), and nobody drains; else 503 and the reason |
pub(crate) fn serve(listener: &TcpListener, shared: &Arc<Shared>, metrics: &Metrics) {
    for client in listener.incoming() {
        if shared.is_over() {
            return;
        }
        match client {
            // A client that breaks off is its own affair.
            Ok(client) => drop(answer(&client, shared, metrics)),
            Err(_) if shared.wait_over(AFTER_FAILURE) => return,
            Err(_) => {}
        }
    }
}

/// Opens the endpoint's port, and says which it is (port 0: one that is free).
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Wakes the endpoint, so that it sees that the runner has ended.
pub(crate) fn wake(address: SocketAddr) {
    let _ = TcpStream::connect_timeout(&address, PATIENCE);
}

fn answer(client: &TcpStream, shared: &Shared, metrics: &Metrics) -> io::Result<()> {
    client.set_write_timeout(Some(PATIENCE))?;
    let request = read_request(client, shared.clock)?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path.split('?').next().unwrap_or_default() {
        "/metrics" => ("200 OK", metrics.render()),
        "/health" => ("200 OK", "ok\n".to_owned()),
        "/ready" => match unready(shared) {
            None => ("200 OK", "ready\n".to_owned()),
            Some(reason) => ("503 Service Unavailable", format!("{reason}\n")),
        },
        _ => ("404 Not Found", "there are /metrics, /health and /ready\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut writer = client;
    writer.write_all(head.as_bytes())?;
    writer.write_all(body.as_bytes())
}

/// Reads a request's head. All of it must come within [`PATIENCE`], so that one slow client does not keep the others
/// from seeing that the process is well.
fn read_request(mut client: &TcpStream, clock: StdClock) -> io::Result<String> {
    let until = clock.now().saturating_add(PATIENCE);
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !(head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n")) && head.len() < REQUEST_MAX {
        let left = until.saturating_duration_since(clock.now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut piece)? {
            0 => break,
            len => head.extend_from_slice(piece.get(..len).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Why the runner does not get new tasks, if so.
fn unready(shared: &Shared) -> Option<String> {
    shared.scheduler.look(|hub| {
        if hub.link_failures() > 0 {
            return Some("the server cannot be reached".to_owned());
        }
        if hub.token_generation().is_none() {
            return Some("there is no token".to_owned());
        }
        let mut states = shared.workers.iter().zip(hub.members()).map(|(slots, member)| {
            let state = member.machine().snapshot();
            (slots, state)
        });
        states.find_map(|(slots, state)| match state.lifecycle {
            Lifecycle::Draining { .. }
            | Lifecycle::Recalling { .. }
            | Lifecycle::Aborted
            | Lifecycle::Stopped => Some("the runner is ending".to_owned()),
            Lifecycle::Open if state.failed_polls > 0 => Some(format!("polls for `{}` fail", slots.task)),
            Lifecycle::Open | Lifecycle::Paused => {
                let trouble = slots.refusals.trouble(shared.clock.now(), slots.capacity());
                trouble.map(|what| format!("workers for `{}` {what}", slots.task))
            }
        })
    })
}
