//! What each way to fail is for the machine: a row of the table, a test.
//!
//! | what happens | reach | cause |
//! | --- | --- | --- |
//! | nobody listens | not sent | connect |
//! | the name has no address | not sent | resolve |
//! | the TLS handshake fails | not sent | TLS |
//! | the connection is closed while the request is written | not sent | closed |
//! | the connection is closed before an answer | sent | closed |
//! | the connection is closed within an answer | sent | closed |
//! | no answer in time | sent | timeout |
//! | an answer that is not HTTP | sent | protocol |
//! | an answer that the sink does not take | sent | too large |
//! | a kept connection was closed meanwhile | none: sent again on a new one | |
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use downbeat::{LeanTransport, StdClock, UreqTransport};
use downbeat_core::machine::{Clock, Fault};
use downbeat_core::ports::{
    Cause, Content, Failure, Head, Method, Reach, Request, Sink, TooLarge, Transport,
};
use downbeat_core::wire::{Accepted, CallKind, classify};
use support::{Received, Reply, Server, json};

/// The transport that a test is about. Each test runs over both.
#[derive(Clone, Copy)]
enum Over {
    Ureq,
    Lean,
}

macro_rules! over_both {
    ($($test:ident,)*) => {
        mod ureq {
            $(#[test] fn $test() { super::$test(super::Over::Ureq); })*
        }

        mod lean {
            $(#[test] fn $test() { super::$test(super::Over::Lean); })*
        }
    };
}

over_both! {
    requests_and_answers_arrive_as_they_are,
    nobody_listens,
    the_name_has_no_address,
    the_tls_handshake_fails,
    the_connection_is_closed_before_an_answer,
    the_connection_is_closed_within_an_answer,
    no_answer_in_time,
    an_answer_that_is_not_http,
    an_answer_that_the_sink_does_not_take,
    a_close_that_was_announced_costs_nothing,
    a_kept_connection_that_was_closed_silently_costs_nothing,
    a_429_keeps_its_retry_after_in_seconds_and_as_a_date,
    every_status_is_an_answer_and_means_what_the_table_says,
    html_is_not_conductors_word,
}

/// Keeps an answer up to a bound.
struct Body {
    heads: usize,
    bytes: Vec<u8>,
    room: usize,
}

impl Sink for Body {
    fn head(&mut self, _: &Head) {
        self.heads += 1;
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.bytes.len() + bytes.len() > self.room {
            return Err(TooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

struct Client {
    clock: StdClock,
    transport: Box<dyn Transport>,
    patience: Duration,
    room: usize,
}

impl Client {
    fn new(over: Over, url: &str) -> Self {
        let clock = StdClock::new();
        let transport: Box<dyn Transport> = match over {
            Over::Ureq => Box::new(UreqTransport::new(url, clock).unwrap()),
            Over::Lean => Box::new(LeanTransport::new(url, clock).unwrap()),
        };
        Self { clock, transport, patience: Duration::from_secs(10), room: 1 << 20 }
    }

    fn exchange(&mut self, request: &Request<'_>) -> (Result<Head, Failure>, String) {
        let mut sink = Body { heads: 0, bytes: Vec::new(), room: self.room };
        let deadline = self.clock.now().saturating_add(self.patience);
        let end = self.transport.exchange(request, deadline, &mut sink);
        if end.is_ok() {
            assert_eq!(sink.heads, 1);
        }
        (end, String::from_utf8(sink.bytes).unwrap())
    }

    fn get(&mut self) -> (Result<Head, Failure>, String) {
        let request =
            Request { method: Method::Get, target: "/x?a=1", content: Content::None, body: &[], token: None };
        self.exchange(&request)
    }

    fn post(&mut self) -> (Result<Head, Failure>, String) {
        let request = Request {
            method: Method::Post,
            target: "/tasks",
            content: Content::Json,
            body: br#"{"taskId":"t"}"#,
            token: Some("a-token"),
        };
        self.exchange(&request)
    }

    fn failure(&mut self) -> Failure {
        let of_get = self.get().0.unwrap_err();
        let of_post = self.post().0.unwrap_err();
        assert_eq!(of_get, of_post);
        of_get
    }
}

fn sent(cause: Cause) -> Failure {
    Failure { reach: Reach::Sent, cause }
}

fn not_sent(cause: Cause) -> Failure {
    Failure { reach: Reach::NotSent, cause }
}

fn requests_and_answers_arrive_as_they_are(over: Over) {
    let server = Server::start(|_: &Received| json(200, r#"{"a":1}"#));
    let mut client = Client::new(over, &format!("{}/", server.url()));
    let (head, body) = client.post();
    assert_eq!(head.unwrap(), Head { status: 200, retry_after: None, json: true });
    assert_eq!(body, r#"{"a":1}"#);
    client.get().0.unwrap();
    let received = server.received();
    assert_eq!((received[0].method.as_str(), received[0].target.as_str()), ("POST", "/api/tasks"));
    assert_eq!(received[0].body, r#"{"taskId":"t"}"#);
    assert_eq!(received[0].headers["content-type"], "application/json");
    assert_eq!(received[0].headers["x-authorization"], "a-token");
    assert_eq!((received[1].method.as_str(), received[1].target.as_str()), ("GET", "/api/x?a=1"));
    assert!(!received[1].headers.contains_key("content-length"));
    assert!(!received[1].headers.contains_key("x-authorization"));
    // The same connection.
    assert_eq!((received[1].connection, received[1].nth), (0, 1));
}

fn nobody_listens(over: Over) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = Client::new(over, &format!("http://{address}/api")).failure();
    assert_eq!(failure, not_sent(Cause::Connect));
    assert_eq!(failure.fault(), Fault::NotSent);
}

fn the_name_has_no_address(over: Over) {
    let failure = Client::new(over, "http://conductor.invalid/api").failure();
    assert_eq!(failure, not_sent(Cause::Resolve));
}

fn the_tls_handshake_fails(over: Over) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let plain = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 16];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let failure = Client::new(over, &format!("https://{address}/api")).failure();
    assert_eq!(failure, not_sent(Cause::Tls));
    plain.join().unwrap();
}

fn the_connection_is_closed_before_an_answer(over: Over) {
    let server = Server::start(|_: &Received| Reply::Close);
    let failure = Client::new(over, &server.url()).failure();
    assert_eq!(failure, sent(Cause::Closed));
    assert_eq!(failure.fault(), Fault::Unknown);
    // It may have taken effect, so it is not sent again.
    assert_eq!(server.received().len(), 2);
}

fn the_connection_is_closed_within_an_answer(over: Over) {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n[".to_vec();
    let server = Server::start(move |_: &Received| Reply::Bytes(cut.clone()));
    assert_eq!(Client::new(over, &server.url()).failure(), sent(Cause::Closed));
}

fn no_answer_in_time(over: Over) {
    let server = Server::start(|_: &Received| Reply::Hold);
    let mut client = Client::new(over, &server.url());
    client.patience = Duration::from_millis(100);
    assert_eq!(client.failure(), sent(Cause::Timeout));
}

fn an_answer_that_is_not_http(over: Over) {
    let server = Server::start(|_: &Received| Reply::Bytes(b"220 mail.example ESMTP\r\n\r\n".to_vec()));
    assert_eq!(Client::new(over, &server.url()).failure(), sent(Cause::Protocol));
}

fn an_answer_that_the_sink_does_not_take(over: Over) {
    let server = Server::start(|_: &Received| json(200, "x".repeat(100_000)));
    let mut client = Client::new(over, &server.url());
    client.room = 10_000;
    assert_eq!(client.failure(), Failure::TOO_LARGE);
}

fn a_close_that_was_announced_costs_nothing(over: Over) {
    // As Conductor does after every 100th request, and with every 400 and 500.
    let server = Server::start(|received: &Received| {
        let mut answer = json(if received.nth == 1 { 500 } else { 200 }, "{}");
        answer.close = received.nth == 1;
        answer
    });
    let mut client = Client::new(over, &server.url());
    let statuses: Vec<u16> = (0..6).map(|_| client.post().0.unwrap().status).collect();
    assert_eq!(statuses, [200, 500, 200, 500, 200, 500]);
    let received = server.received();
    let connections: Vec<usize> = received.iter().map(|received| received.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1, 2, 2]);
}

fn a_kept_connection_that_was_closed_silently_costs_nothing(over: Over) {
    // As Conductor does after 60 s without a request.
    let server = Server::start(|_: &Received| {
        let mut answer = json(200, "{}");
        answer.close_silently = true;
        answer
    });
    let mut client = Client::new(over, &server.url());
    for connection in 1..20 {
        client.post().0.unwrap();
        server.wait_closed(connection);
    }
    assert_eq!(server.received().len(), 19);
}

fn a_429_keeps_its_retry_after_in_seconds_and_as_a_date(over: Over) {
    let server = Server::start(|received: &Received| {
        let answer = json(429, "{}").header("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
        match received.method.as_str() {
            "GET" => answer.header("Retry-After", "7"),
            _ => answer.header("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT"),
        }
    });
    let mut client = Client::new(over, &server.url());
    let seconds = client.get().0.unwrap();
    assert_eq!((seconds.status, seconds.retry_after), (429, Some(Duration::from_secs(7))));
    assert_eq!(client.post().0.unwrap().retry_after, Some(Duration::from_secs(60)));
    let error = classify(CallKind::Poll, &seconds, b"").unwrap_err();
    assert_eq!((error.fault, error.retry_after), (Fault::Throttled, Some(Duration::from_secs(7))));
}

fn every_status_is_an_answer_and_means_what_the_table_says(over: Over) {
    let server = Server::start(|received: &Received| {
        let status = received.target.rsplit('/').next().unwrap().parse().unwrap();
        json(status, "{}").header("Location", "http://127.0.0.1:1/")
    });
    let mut client = Client::new(over, &server.url());
    let mut meaning = |status: u16| {
        let target = format!("/{status}");
        let request =
            Request { method: Method::Get, target: &target, content: Content::None, body: &[], token: None };
        let (head, body) = client.exchange(&request);
        let head = head.unwrap();
        assert_eq!(head.status, status);
        classify(CallKind::Update, &head, body.as_bytes()).map_err(|error| error.fault)
    };
    assert_eq!(meaning(200), Ok(Accepted::Empty));
    assert_eq!(meaning(302), Err(Fault::Unknown));
    assert_eq!(meaning(400), Err(Fault::Rejected));
    assert_eq!(meaning(401), Err(Fault::Unauthorized));
    assert_eq!(meaning(403), Err(Fault::Forbidden));
    assert_eq!(meaning(404), Err(Fault::Server));
    assert_eq!(meaning(413), Err(Fault::TooLarge));
    assert_eq!(meaning(429), Err(Fault::Throttled));
    assert_eq!(meaning(500), Err(Fault::Internal));
    assert_eq!(meaning(502), Err(Fault::Server));
    assert_eq!(meaning(503), Err(Fault::Throttled));
    assert_eq!(meaning(504), Err(Fault::Server));
}

fn html_is_not_conductors_word(over: Over) {
    let server = Server::start(|_: &Received| json(200, "<html>").header("Content-Type", "text/html"));
    let head = Client::new(over, &server.url()).get().0.unwrap();
    assert!(!head.json);
    assert_eq!(classify(CallKind::Poll, &head, b"<html>").unwrap_err().fault, Fault::Unknown);
}

#[test]
fn addresses_that_are_none_are_refused_with_what_is_wrong() {
    let problem = |url: &str| UreqTransport::new(url, StdClock::new()).unwrap_err().to_string();
    assert!(problem("localhost:8080").contains("does not begin with http:// or https://"));
    assert!(problem("ftp://host/api").contains("does not begin with http:// or https://"));
    assert!(problem("http://host/api?x=1").contains("it has more than a path"));
    let lean = |url: &str| LeanTransport::new(url, StdClock::new()).unwrap_err().to_string();
    assert_eq!(lean("ftp://host/api"), problem("ftp://host/api"));
    let secret = problem("http://user:hunter2@host/api");
    assert!(secret.contains("it has a user in it") && !secret.contains("hunter2"), "{secret}");
}
