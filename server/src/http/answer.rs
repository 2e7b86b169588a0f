//! Responses, and the bodies that a fault spoils.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::Refused;
use super::faults::FaultBody;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    kind: Kind,
    pub(super) body: String,
    pub(super) retry_after: Option<u64>,
    /// The task or tasks in it.
    pub(super) tasks: usize,
    /// The connection is cut in the middle of it.
    pub(super) cut: bool,
    /// `Connection: close`.
    pub(super) close: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Json,
    Text,
    Html,
    Empty,
}

impl Answer {
    fn new(status: u16, kind: Kind, body: String) -> Self {
        // R-HTTP-3: a 400 and a 500 close the connection.
        let close = matches!(status, 400 | 500);
        Self { status, kind, body, retry_after: None, tasks: 0, cut: false, close }
    }

    /// 200 with JSON, chunked.
    pub(super) fn json(body: String) -> Self {
        Self::new(200, Kind::Json, body)
    }

    /// 200 with text, of known length.
    pub(super) fn text(body: String) -> Self {
        Self::new(200, Kind::Text, body)
    }

    /// 200 or 204 with nothing.
    pub(super) fn empty(status: u16) -> Self {
        Self::new(status, Kind::Empty, String::new())
    }

    /// An HTML page, as Tomcat or some proxy sends it.
    pub(super) fn html(status: u16, body: &str) -> Self {
        Self::new(status, Kind::Html, body.to_owned())
    }

    /// What a fault answers in place of Conductor; only Conductor's own 400 and 500 close the connection.
    pub(super) fn ordered(status: u16, by: FaultBody) -> Self {
        let (kind, body) = match by {
            FaultBody::Conductor => return Refused::new(status, "ordered by a fault").into(),
            FaultBody::Gateway => {
                (Kind::Json, r#"{"message":"no Route matched with those values"}"#.to_owned())
            }
            FaultBody::Html => {
                (Kind::Html, format!("<html><head><title>{status}</title></head><body>proxy</body></html>"))
            }
            FaultBody::Empty => (Kind::Empty, String::new()),
        };
        Self { close: false, ..Self::new(status, kind, body) }
    }

    /// As the wire gets it. With `close` it is the last response of its connection.
    pub(super) fn into_response(mut self, close: bool) -> Response<Content> {
        let kind = match self.kind {
            Kind::Json => Some("application/json"),
            Kind::Text => Some("text/plain;charset=UTF-8"),
            Kind::Html => Some("text/html;charset=utf-8"),
            Kind::Empty => None,
        };
        if self.cut {
            let mut half = self.body.len() / 2;
            while !self.body.is_char_boundary(half) {
                half -= 1;
            }
            self.body.truncate(half);
        }
        let content = Content {
            data: Some(Bytes::from(self.body)).filter(|body| !body.is_empty()),
            sized: self.kind != Kind::Json && !self.cut,
            cut: self.cut.then(|| Box::pin(tokio::time::sleep(Duration::from_millis(20)))),
        };
        let mut response = Response::new(content);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        // Tomcat sends no reason phrase.
        response.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b""));
        let headers = response.headers_mut();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if close || self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        Self::new(refused.status, Kind::Json, refused.body())
    }
}

/// A body: whole, with its length told or in chunks, or cut off after a while.
#[derive(Debug)]
pub(super) struct Content {
    data: Option<Bytes>,
    sized: bool,
    /// The rest never comes: the connection breaks when this is over.
    cut: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.cut.as_mut() {
            Some(pause) => match pause.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(io::Error::other("cut by a fault")))),
                Poll::Pending => Poll::Pending,
            },
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.data.as_ref().map_or(0, Bytes::len) as u64;
        if self.sized { SizeHint::with_exact(length) } else { SizeHint::default() }
    }
}
