//! However an answer is cut, it says the same, or that it is not whole.

use downbeat_core::http::ResponseError;
use proptest::prelude::*;

use super::response::{Told, read};

/// Responses of every framing; the last two end with the connection, or not at all.
const ANSWERS: [&str; 7] = [
    "HTTP/1.1 200 \r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n[{\"a\":\"\\u00e9\"",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nDate: Wed, 26 Nov 2026 07:00:00 GMT\r\n\
     Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n\
     1\r\n!\r\n0\r\nX-Sum: 7\r\n\r\n",
    "HTTP/1.1 204 \r\n\r\n",
    "\r\nHTTP/1.0 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 429 \nRetry-After: Wed, 26 Nov 2026 07:01:30 GMT\nDate: Wed, 26 Nov 2026 07:00:00 GMT\nContent-Length: 1\n\nx",
    "HTTP/1.1 200 OK\r\n\r\nto the end",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwor",
];

/// Whether `cut` is the beginning of what `all` says.
fn begins(cut: &Told, all: &Told) -> bool {
    (cut.head.is_none() || cut.head == all.head) && all.body.starts_with(&cut.body)
}

#[test]
fn an_answer_that_is_cut_off_anywhere_says_so() {
    for answer in ANSWERS {
        let all = read([answer.as_bytes()]);
        for at in 0..answer.len() {
            let cut = read([&answer.as_bytes()[..at]]);
            assert!(begins(&cut, &all), "{at} bytes of {answer:?}: {cut:?}");
            let to_the_end = answer.ends_with("to the end") && cut.head.is_some();
            let expected = if to_the_end { Ok(false) } else { Err(ResponseError::Closed) };
            assert_eq!(cut.end, Some(expected), "{at} bytes of {answer:?}");
        }
    }
}

#[test]
fn an_answer_in_two_pieces_says_the_same() {
    for answer in ANSWERS {
        let all = read([answer.as_bytes()]);
        for at in 0..=answer.len() {
            let (front, back) = answer.as_bytes().split_at(at);
            assert_eq!(read([front, back]), all, "cut at {at}: {answer:?}");
        }
        assert_eq!(read(answer.as_bytes().chunks(1)), all, "byte by byte: {answer:?}");
    }
}

proptest! {
    #[test]
    fn an_answer_in_any_pieces_says_the_same(
        which in 0..ANSWERS.len(),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(1_usize..40, 0..40),
        tail in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = [ANSWERS[which].as_bytes(), &tail].concat();
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let all = read([bytes.as_slice()]);
        let (mut rest, mut pieces) = (bytes.as_slice(), Vec::new());
        for cut in cuts {
            let (front, back) = rest.split_at(cut.min(rest.len()));
            pieces.push(front);
            rest = back;
        }
        pieces.push(rest);
        prop_assert_eq!(read(pieces), all);
    }

    #[test]
    fn a_head_is_taken_where_httparse_takes_it(
        lines in prop::collection::vec(
            prop_oneof![
                "[ -~\t\r\u{1}é]{0,12}",
                "[A-Za-z!#$()-]{0,6}[: ]{1,2}[ -~\tü\u{7f}\r]{0,8}",
                Just("Content-Length: 0".to_owned()),
            ],
            0..5,
        ),
        start in prop_oneof![Just("HTTP/1.1 204 "), Just("HTTP/1.0 200 OK"), Just("HTTP/1.1 200"), Just("HTTP/1.1  200 OK"),
            Just("HTTP/1.2 200 OK"), Just("HTTP/1.1 2x0 OK"), Just("HTTP/1.1 404Not"), Just("HTTP/1.1 503 a\tb")],
        end in prop_oneof![Just("\r\n"), Just("\n")],
    ) {
        // An empty line would end the head early.
        prop_assume!(lines.iter().all(|line| !line.trim_end_matches('\r').is_empty()));
        let text = format!("{start}{end}{}{end}", lines.iter().map(|line| format!("{line}{end}")).collect::<String>());
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let theirs = httparse::Response::new(&mut headers).parse(text.as_bytes()).is_ok();
        let ours = read([text.as_bytes()]);
        let refused = ours.head.is_none() && ours.end == Some(Err(ResponseError::Syntax));
        prop_assert_eq!(theirs, !refused, "{:?}: {:?}", text, ours);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let all = read([bytes.as_slice()]);
        prop_assert_eq!(read(bytes.chunks(7)), all);
    }
}
