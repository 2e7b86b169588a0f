//! One exchange over a stream: what is sent, what is sent again, and what a failure says.

use std::collections::VecDeque;

use downbeat_core::http::{Client, Link, Site};
use downbeat_core::machine::Instant;
use downbeat_core::ports::{Cause, Content, Failure, Head, Method, Reach, Request, Sink, TooLarge};
use embedded_io::ErrorKind;

/// What the stream does next; a script that is used up ends the connection.
#[derive(Clone, Copy, Debug)]
enum Next {
    Connects,
    Refuses(Cause),
    /// Takes so many bytes at most.
    Takes(usize),
    WriteFails(ErrorKind),
    Brings(&'static str),
    ReadFails(ErrorKind),
    Ends,
}

use Next::*;

#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Next>,
    written: Vec<Vec<u8>>,
    stale: bool,
}

impl Script {
    fn new(steps: &[Next]) -> Self {
        Self { steps: steps.iter().copied().collect(), ..Self::default() }
    }
}

impl embedded_io::ErrorType for Script {
    type Error = ErrorKind;
}

impl embedded_io::Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        match self.steps.pop_front() {
            Some(Brings(text)) => {
                buf[..text.len()].copy_from_slice(text.as_bytes());
                Ok(text.len())
            }
            Some(ReadFails(kind)) => Err(kind),
            Some(Ends) | None => Ok(0),
            Some(other) => panic!("read instead of {other:?}"),
        }
    }
}

impl embedded_io::Write for Script {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        let most = match self.steps.front() {
            Some(Takes(most)) => *most,
            Some(WriteFails(kind)) => {
                let kind = *kind;
                self.steps.pop_front();
                return Err(kind);
            }
            _ => buf.len(),
        };
        if most < usize::MAX && matches!(self.steps.front(), Some(Takes(_))) {
            self.steps.pop_front();
        }
        let taken = &buf[..most.min(buf.len())];
        self.written.last_mut().expect("a connection").extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Link for Script {
    fn reconnect(&mut self) -> Result<(), Cause> {
        self.written.push(Vec::new());
        match self.steps.pop_front() {
            Some(Connects) => Ok(()),
            Some(Refuses(cause)) => Err(cause),
            other => panic!("a connection instead of {other:?}"),
        }
    }

    fn set_deadline(&mut self, _: Instant) {}

    fn is_stale(&mut self) -> bool {
        self.stale
    }
}

#[derive(Default)]
struct Keep {
    body: Vec<u8>,
    room: Option<usize>,
}

impl Sink for Keep {
    fn head(&mut self, _: &Head) {}

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.body.extend_from_slice(bytes);
        if self.room.is_some_and(|room| self.body.len() > room) { Err(TooLarge) } else { Ok(()) }
    }
}

const SITE: Site<'_> = Site { host: "h:1", base: "/api" };
const GET: Request<'_> =
    Request { method: Method::Get, target: "/t", content: Content::None, body: b"", token: Some("k") };
const POST: Request<'_> =
    Request { method: Method::Post, target: "/t", content: Content::Json, body: b"{\"a\":1}", token: None };
const GET_BYTES: &str =
    "GET /api/t HTTP/1.1\r\nHost: h:1\r\nUser-Agent: downbeat\r\nX-Authorization: k\r\n\r\n";
const POST_BYTES: &str = "POST /api/t HTTP/1.1\r\nHost: h:1\r\nUser-Agent: downbeat\r\n\
                          Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
const OK: &str = "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok";
const FAREWELL: &str = "HTTP/1.1 200 \r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

type Tried = Client<Script, [u8; 256]>;

fn client(steps: &[Next]) -> Tried {
    Client::new(Script::new(steps), [0; 256])
}

fn exchange(client: &mut Tried, request: &Request<'_>) -> Result<u16, Failure> {
    let mut sink = Keep::default();
    let head = client.exchange(&SITE, request, Instant::from_secs(1), &mut sink)?;
    assert_eq!(sink.body, b"ok");
    Ok(head.status)
}

fn written(client: &mut Tried) -> Vec<String> {
    client.link_mut().written.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

const fn sent(cause: Cause) -> Result<u16, Failure> {
    Err(Failure { reach: Reach::Sent, cause })
}

const fn not_sent(cause: Cause) -> Result<u16, Failure> {
    Err(Failure { reach: Reach::NotSent, cause })
}

#[test]
fn a_connection_is_kept_between_calls() {
    let mut client = client(&[Connects, Brings(OK), Brings(OK)]);
    assert_eq!(exchange(&mut client, &GET), Ok(200));
    assert_eq!(exchange(&mut client, &POST), Ok(200));
    assert_eq!(written(&mut client), [[GET_BYTES, POST_BYTES].concat()]);
}

#[test]
fn a_connection_that_the_server_announced_to_close_is_not_tried() {
    let mut client = client(&[Connects, Brings(FAREWELL), Connects, Brings(OK)]);
    assert_eq!(exchange(&mut client, &GET), Ok(200));
    assert_eq!(exchange(&mut client, &POST), Ok(200));
    assert_eq!(written(&mut client), [GET_BYTES, POST_BYTES]);
}

#[test]
fn a_stale_connection_is_replaced_before_a_byte_is_written() {
    let mut client = client(&[Connects, Brings(OK), Connects, Brings(OK)]);
    assert_eq!(exchange(&mut client, &GET), Ok(200));
    client.link_mut().stale = true;
    assert_eq!(exchange(&mut client, &POST), Ok(200));
    assert_eq!(written(&mut client), [GET_BYTES, POST_BYTES]);
}

#[test]
fn a_request_whose_head_did_not_leave_is_sent_again_once() {
    let reset = WriteFails(ErrorKind::ConnectionReset);
    let mut tried = client(&[Connects, Brings(OK), Takes(10), reset, Connects, Brings(OK)]);
    assert_eq!(exchange(&mut tried, &GET), Ok(200));
    assert_eq!(exchange(&mut tried, &POST), Ok(200));
    assert_eq!(written(&mut tried), [[GET_BYTES, &POST_BYTES[..10]].concat(), POST_BYTES.to_owned()]);

    let mut tried = client(&[Connects, Brings(OK), reset, Connects, reset]);
    assert_eq!(exchange(&mut tried, &GET), Ok(200));
    assert_eq!(exchange(&mut tried, &GET), not_sent(Cause::Closed));
}

#[test]
fn a_request_whose_head_left_is_not_sent_again() {
    let head = POST_BYTES.len() - 7;
    let reset = WriteFails(ErrorKind::ConnectionReset);
    let mut client = client(&[Connects, Brings(OK), Takes(head), reset, Ends]);
    assert_eq!(exchange(&mut client, &GET), Ok(200));
    assert_eq!(exchange(&mut client, &POST), sent(Cause::Closed));
}

#[test]
fn an_answer_before_all_was_written_counts() {
    let head = POST_BYTES.len() - 7;
    let reset = WriteFails(ErrorKind::BrokenPipe);
    let mut client = client(&[Connects, Takes(head), reset, Brings(OK), Connects, Brings(OK)]);
    assert_eq!(exchange(&mut client, &POST), Ok(200));
    assert_eq!(exchange(&mut client, &GET), Ok(200), "on a new connection");
}

#[test]
fn a_request_without_an_answer_may_have_taken_effect() {
    for request in [GET, POST] {
        let mut client = client(&[Connects, Brings(OK), Ends]);
        assert_eq!(exchange(&mut client, &GET), Ok(200));
        assert_eq!(exchange(&mut client, &request), sent(Cause::Closed));
    }
    let mut client = client(&[Connects, ReadFails(ErrorKind::TimedOut)]);
    assert_eq!(exchange(&mut client, &GET), sent(Cause::Timeout));
}

#[test]
fn what_was_not_sent_says_so() {
    for cause in [Cause::Resolve, Cause::Connect, Cause::Tls, Cause::Timeout] {
        assert_eq!(exchange(&mut client(&[Refuses(cause)]), &GET), not_sent(cause));
    }
    let mut client = client(&[Connects, WriteFails(ErrorKind::TimedOut)]);
    assert_eq!(exchange(&mut client, &GET), not_sent(Cause::Timeout));
}

#[test]
fn a_body_that_does_not_fit_beside_its_head_is_written_on_its_own() {
    let body = [b'x'; 1_000];
    let mut client = client(&[Connects, Brings(OK)]);
    assert_eq!(exchange(&mut client, &Request { body: &body, ..POST }), Ok(200));
    let written = written(&mut client).concat();
    assert!(written.contains("Content-Length: 1000\r\n\r\nxxx"));
    assert!(written.ends_with("xxx"));
}

#[test]
fn bounds_end_an_exchange() {
    let long =
        "HTTP/1.1 200 \r\nX: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
    let endless = [Connects, Brings(long), Brings(&long[15..]), Brings(&long[15..])];
    assert_eq!(exchange(&mut client(&endless), &GET), sent(Cause::Closed), "it fits still");
    let endless = [&endless[..], &[Brings(&long[long.len() - 16..])]].concat();
    assert_eq!(exchange(&mut client(&endless), &GET), sent(Cause::Protocol), "256 bytes and no end");
    let mut tried = client(&[Connects, Brings(OK)]);
    let long = "/0123456789".repeat(30);
    assert_eq!(exchange(&mut tried, &Request { target: &long, ..GET }), not_sent(Cause::RequestTooLarge));
    let injected = Request { target: "/t HTTP/1.1\r\nX: y", ..GET };
    assert_eq!(exchange(&mut tried, &injected), not_sent(Cause::Protocol));

    let mut sink = Keep { room: Some(1), ..Keep::default() };
    let answer = tried.exchange(&SITE, &GET, Instant::from_secs(1), &mut sink);
    assert_eq!(answer, Err(Failure::TOO_LARGE));
    assert!(!tried.is_open());
}

#[test]
fn bytes_after_an_answer_end_the_connection() {
    let twice: &'static str = concat!("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 ");
    let mut client = client(&[Connects, Brings(twice), Connects, Brings(OK)]);
    assert_eq!(exchange(&mut client, &GET), Ok(200));
    assert_eq!(exchange(&mut client, &GET), Ok(200));
}
