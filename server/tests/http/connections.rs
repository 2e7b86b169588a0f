//! Connections: R-HTTP-1 to R-HTTP-4, R-HTTP-7, R-HTTP-8.

use std::time::Duration;

use downbeat_server::http::{Options, Server};

use crate::client::{Client, call, until};

fn start() -> Server {
    Server::start(Options::default()).expect("a server")
}

#[test]
fn the_hundredth_answer_closes_its_connection_and_the_ninety_ninth_does_not() {
    let server = start();
    let mut client = Client::new(&server);
    for _ in 1..=99 {
        assert!(!client.call("GET", "/api/version", "").expect("an answer").closes());
    }
    let last = client.call("GET", "/api/version", "").expect("an answer");
    assert_eq!((last.status, last.closes()), (200, true));
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let options = Options { idle_close: Duration::from_millis(150), ..Options::default() };
    let server = Server::start(options).expect("a server");
    let mut client = Client::new(&server);
    assert!(!client.call("GET", "/api/version", "").expect("an answer").closes());
    assert!(client.is_closed());
}

#[test]
fn a_poll_that_waits_longer_than_the_idle_time_is_answered() {
    let options = Options { idle_close: Duration::from_millis(100), ..Options::default() };
    let server = Server::start(options).expect("a server");
    let mut client = Client::new(&server);
    let polled = client.call("GET", "/api/tasks/poll/batch/t?timeout=400", "").expect("an answer");
    assert_eq!((polled.status, polled.body.as_str()), (200, "[]"));
}

#[test]
fn a_400_and_a_500_close_and_404_405_409_do_not() {
    let server = start();
    let mut client = Client::new(&server);
    for (method, path, status) in
        [("GET", "/api/nope", 404), ("PUT", "/api/tasks", 405), ("GET", "/api/tasks/nope-id", 404)]
    {
        let answer = client.call(method, path, "{}").expect("an answer");
        assert_eq!((answer.status, answer.closes()), (status, false), "{method} {path}");
    }
    for (path, body, status) in [("/api/tasks", "{}", 400), ("/api/tasks", "{", 500)] {
        let mut client = Client::new(&server);
        let answer = client.call("POST", path, body).expect("an answer");
        assert_eq!((answer.status, answer.closes()), (status, true), "{body}");
        assert!(client.is_closed());
    }
}

#[test]
fn json_is_chunked_text_is_measured_and_the_reason_is_empty() {
    let server = start();
    let json = call(&server, "GET", "/api/tasks/queue/all", "");
    assert_eq!(json.header("transfer-encoding"), Some("chunked"));
    assert_eq!(json.header("content-length"), None);
    let text = call(&server, "GET", "/api/version", "");
    assert_eq!(text.header("content-length"), Some("6"));
    assert!(text.head.starts_with("HTTP/1.1 200 \r\n"), "{}", text.head);
    assert_eq!(call(&server, "GET", "/health", "").at("/healthy"), true);
    assert_eq!(call(&server, "GET", "/api/health", "").at("/healthy"), true);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start();
    let mut client = Client::new(&server);
    client
        .raw("GET /api/version HTTP/1.1\r\nHost: x\r\n\r\nGET /api/nope HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    assert_eq!(client.read().expect("the first").status, 200);
    assert_eq!(client.read().expect("the second").status, 404);
}

#[test]
fn no_host_and_an_encoded_slash_are_400_in_html() {
    let server = start();
    let mut client = Client::new(&server);
    client.raw("GET /api/version HTTP/1.1\r\n\r\n").expect("sent");
    let no_host = client.read().expect("an answer");
    let slash = call(&server, "GET", "/api/tasks/poll/batch/a%2Fb?timeout=0", "");
    for answer in [no_host, slash] {
        assert_eq!((answer.status, answer.closes()), (400, true));
        assert_eq!(answer.header("content-type"), Some("text/html;charset=utf-8"));
    }
    assert_eq!(call(&server, "GET", "/api/tasks/poll/batch/a%20b%3F%C3%A9?timeout=0", "").status, 200);
    assert!(call(&server, "GET", "/api/tasks/queue/polldata/all", "").body.contains("a b?é"));
}

#[test]
fn long_polls_hold_the_threads_that_others_need() {
    let options = Options { threads: 2, ..Options::default() };
    let server = Server::start(options).expect("a server");
    let mut polls: Vec<Client> = (0..2).map(|_| Client::new(&server)).collect();
    for poll in &mut polls {
        poll.send("GET", "/api/tasks/poll/batch/t?timeout=300", "", "").expect("sent");
    }
    until("both polls are there", || server.stats().requests_to("poll_batch") == 2);
    let mut other = Client::new(&server);
    other.send("GET", "/api/version", "", "").expect("sent");
    assert_eq!(polls[0].read().expect("the poll's answer").body, "[]");
    assert_eq!(other.read().expect("an answer").status, 200);
    let answers = server.stats().answers;
    assert_eq!(answers.get(&200), Some(&3), "the poll's thread was waited for: {answers:?}");
}

#[test]
fn a_server_that_stops_ends_its_polls_and_refuses_connections() {
    let server = start();
    let address = server.address();
    let mut client = Client::new(&server);
    client.send("GET", "/api/tasks/poll/batch/t?timeout=5000", "", "").expect("sent");
    until("the poll is there", || server.stats().requests_to("poll_batch") == 1);
    server.stop();
    let polled = client.read().expect("an answer");
    assert_eq!((polled.body.as_str(), polled.closes()), ("[]", true));
    assert!(Client::to(address).is_err());
}
