//! What an answer's bytes mean.

use std::time::Duration;

use downbeat_core::http::{Event, Response, ResponseError};
use downbeat_core::ports::Head;

/// All that an answer says: its head, its body, and whether the connection may be used again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) head: Option<Head>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: Option<Result<bool, ResponseError>>,
    pub(crate) rest: Vec<u8>,
}

/// Reads an answer that comes in these pieces, after which the connection ends.
pub(crate) fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Told {
    let (mut response, mut told, mut inbox) = (Response::new(), Told::default(), Vec::new());
    let mut pieces = pieces.into_iter();
    loop {
        match response.next(&inbox) {
            Ok((taken, event)) => {
                let mut over = false;
                match event {
                    Event::More => match pieces.next() {
                        Some(piece) => {
                            inbox.drain(..taken);
                            inbox.extend_from_slice(piece);
                            continue;
                        }
                        None => over = true,
                    },
                    Event::Head(head) => told.head = Some(head),
                    Event::Chunk(bytes) => told.body.extend_from_slice(bytes),
                    Event::End => over = true,
                }
                inbox.drain(..taken);
                if over {
                    let end = response.finish().map(|()| response.keeps_connection());
                    told.end = Some(end);
                    told.rest = inbox;
                    told.rest.extend(pieces.flatten());
                    return told;
                }
            }
            Err(error) => {
                assert_eq!(response.next(b"more"), Err(error), "an error stays");
                told.end = Some(Err(error));
                return told;
            }
        }
    }
}

fn whole(answer: &str) -> Told {
    read([answer.as_bytes()])
}

fn error(answer: &str) -> ResponseError {
    whole(answer).end.expect("an end").expect_err("an answer that cannot be read")
}

fn retry_after(headers: &str) -> Option<Duration> {
    whole(&format!("HTTP/1.1 503 \r\n{headers}Content-Length: 0\r\n\r\n")).head?.retry_after
}

#[test]
fn a_body_has_the_length_that_the_head_says() {
    let told = whole("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello and more");
    assert_eq!(told.body, b"hello");
    assert_eq!(told.end, Some(Ok(true)));
    assert_eq!(told.rest, b" and more");
}

#[test]
fn a_chunked_body_is_joined_and_its_extensions_and_trailers_are_skipped() {
    let told = whole(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
         3;name=\"a;b\"\r\nabc\r\n0A \r\n0123456789\r\n000;last\r\nExpires: never\r\nX: y\r\n\r\nnext",
    );
    assert_eq!(told.body, b"abc0123456789");
    assert_eq!((told.end, told.rest.as_slice()), (Some(Ok(true)), &b"next"[..]));
}

#[test]
fn statuses_without_a_body_have_none() {
    for answer in ["HTTP/1.1 204 \r\n\r\n", "HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n"] {
        let told = whole(answer);
        assert_eq!((told.body.as_slice(), told.end), (&b""[..], Some(Ok(true))));
    }
}

#[test]
fn interim_answers_are_skipped_but_not_for_ever() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let last = "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n";
    let told = whole(&format!("{interim}HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{last}"));
    assert_eq!(told.head.map(|head| head.status), Some(200));
    assert_eq!(told.end, Some(Ok(true)));
    assert_eq!(error(&(interim.repeat(9) + last)), ResponseError::Status);
    assert_eq!(error("HTTP/1.1 101 Switching Protocols\r\n\r\n"), ResponseError::Status);
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let told = whole("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it");
    assert_eq!((told.body.as_slice(), told.end), (&b"all of it"[..], Some(Ok(false))));
}

#[test]
fn a_connection_is_kept_unless_one_side_closes_it() {
    let keeps = |head: &str| whole(&format!("{head}\r\nContent-Length: 0\r\n\r\n")).end == Some(Ok(true));
    assert!(keeps("HTTP/1.1 200 OK"));
    assert!(keeps("HTTP/1.1 200 OK\r\nConnection: keep-alive"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: close"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nconnection: x , CLOSE"));
    assert!(!keeps("HTTP/1.0 200 OK"));
}

#[test]
fn json_is_told_by_its_content_type() {
    let json = |kind: &str| {
        whole(&format!("HTTP/1.1 200 \r\nContent-Type: {kind}\r\n\r\n")).head.expect("a head").json
    };
    assert!(json("application/json"));
    assert!(json("Application/JSON ; charset=utf-8"));
    assert!(json("application/problem+json"));
    assert!(!json("text/html; x=application/json"));
    assert!(!json("application/jsonp"));
}

#[test]
fn retry_after_is_seconds_or_a_date_that_counts_from_the_answers_own() {
    assert_eq!(retry_after("Retry-After: 7\r\n"), Some(Duration::from_secs(7)));
    let date = "Date: Wed, 26 Nov 2026 07:00:00 GMT\r\n";
    let later = "Retry-After: Wed, 26 Nov 2026 07:01:30 GMT\r\n";
    assert_eq!(retry_after(&format!("{later}{date}")), Some(Duration::from_secs(90)));
    assert_eq!(retry_after(later), None, "nobody knows the server's clock");
    let earlier = "Retry-After: Wed, 26 Nov 2026 06:00:00 GMT\r\n";
    assert_eq!(retry_after(&format!("{date}{earlier}")), Some(Duration::ZERO));
    assert_eq!(retry_after("Retry-After: -1\r\n"), None);
    assert_eq!(retry_after("Retry-After: soon\r\n"), None);
    assert_eq!(retry_after(""), None);
}

#[test]
fn two_framings_are_refused() {
    let head = "HTTP/1.1 200 \r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(error(&format!("{head}Content-Length: 1\r\n{chunked}\r\nx")), ResponseError::Coding);
    assert_eq!(error(&format!("{head}{chunked}{chunked}\r\n0\r\n\r\n")), ResponseError::Coding);
    assert_eq!(error(&format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n")), ResponseError::Coding);
    assert_eq!(
        error(&format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx")),
        ResponseError::Length
    );
    assert_eq!(whole(&format!("{head}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx")).body, b"x");
}

#[test]
fn lengths_that_are_no_numbers_are_refused() {
    for length in ["", "-1", "+1", "1 1", "0x1", "99999999999999999999"] {
        let answer = format!("HTTP/1.1 200 \r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(error(&answer), ResponseError::Length, "{length}");
    }
    let size = |size: &str| error(&format!("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n"));
    assert_eq!(size("g"), ResponseError::Chunk);
    assert_eq!(size(""), ResponseError::Chunk);
    assert_eq!(size("1\nx"), ResponseError::Chunk);
    assert_eq!(size("11111111111111111"), ResponseError::TooLarge);
    assert_eq!(size("40000001"), ResponseError::TooLarge);
    assert_eq!(error("HTTP/1.1 200 \r\nContent-Length: 1073741825\r\n\r\n"), ResponseError::TooLarge);
}

#[test]
fn a_chunk_ends_where_it_says() {
    let chunked = "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(error(&format!("{chunked}3\r\nabcd\r\n0\r\n\r\n")), ResponseError::Chunk);
    assert_eq!(error(&format!("{chunked}0\r\nX\n\n")), ResponseError::Trailers);
    assert_eq!(error(&format!("{chunked}0\r\n\rx")), ResponseError::Trailers);
}

#[test]
fn what_surrounds_a_body_is_bounded() {
    let chunked = "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(error(&format!("{chunked}1;{}", "x".repeat(1_024))), ResponseError::Chunk);
    assert_eq!(error(&format!("{chunked}0\r\n{}", "X: y\r\n".repeat(700))), ResponseError::Trailers);
    let many: String = (0..33).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(error(&format!("HTTP/1.1 200 \r\n{many}\r\n")), ResponseError::TooManyHeaders);
}

#[test]
fn noise_is_noticed_at_its_first_byte() {
    for noise in ["\0", "x", "HTTQ", "HTTP/2 200\r\n\r\n", "\r\n\r\n\r\n", "{}"] {
        assert_eq!(error(noise), ResponseError::Syntax, "{noise}");
    }
    assert_eq!(error("HTTP/1.1 000 \r\n\r\n"), ResponseError::Status);
    assert_eq!(error("HTTP/1.1 700 \r\n\r\n"), ResponseError::Status);
    assert_eq!(error("HTTP/1.1 20 \r\n\r\n"), ResponseError::Syntax);
    assert_eq!(error("HTTP/1.1 200 \r\nno colon\r\n\r\n"), ResponseError::Syntax);
}

#[test]
fn blank_lines_before_an_answer_are_skipped() {
    let told = whole("\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    assert_eq!((told.body.as_slice(), told.end), (&b"ok"[..], Some(Ok(true))));
}
