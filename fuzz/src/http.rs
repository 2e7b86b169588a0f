//! Answers.

use downbeat_core::http::{Event, Response, ResponseError, http_date};
use downbeat_core::ports::Head;

/// An answer says the same however it is cut, and an error stays.
pub fn http_answer(data: &[u8]) {
    let (cut, bytes) = super::pieces(data);
    let whole = read([bytes].into_iter());
    assert_eq!(read(cut), whole);
    let _ = http_date(bytes);
}

type Told = (Option<Head>, Vec<u8>, Result<bool, ResponseError>);

fn read<'p>(mut pieces: impl Iterator<Item = &'p [u8]>) -> Told {
    let (mut response, mut head, mut body, mut inbox) = (Response::new(), None, Vec::new(), Vec::new());
    loop {
        let (taken, event) = match response.next(&inbox) {
            Ok(told) => told,
            Err(error) => {
                assert_eq!(response.next(b"x"), Err(error));
                assert!(!response.keeps_connection());
                return (head, body, Err(error));
            }
        };
        assert!(taken <= inbox.len());
        let more = match event {
            Event::More => true,
            Event::Head(told) => {
                assert!(head.is_none() && (200..=599).contains(&told.status));
                head = Some(told);
                false
            }
            Event::Chunk(bytes) => {
                assert!(head.is_some() && !bytes.is_empty() && bytes.len() <= taken);
                body.extend_from_slice(bytes);
                false
            }
            Event::End => return (head, body, Ok(response.keeps_connection())),
        };
        inbox.drain(..taken);
        if more {
            let Some(piece) = pieces.next() else {
                let end = response.finish().map(|()| response.keeps_connection());
                return (head, body, end);
            };
            inbox.extend_from_slice(piece);
        }
    }
}
