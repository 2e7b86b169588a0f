//! A request, taken apart: path segments and query, percent-decoded.

use hyper::Method;
use hyper::header::HeaderMap;

/// A request whose body has been read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The path, decoded, without its leading slash, cut at the slashes.
    pub(super) path: Vec<String>,
    query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The path has a percent-encoded slash, which Tomcat refuses (R-HTTP-7).
    pub(super) has_encoded_slash: bool,
}

impl Request {
    pub(super) fn new(parts: hyper::http::request::Parts, body: Vec<u8>) -> Self {
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self {
            path: path.trim_start_matches('/').split('/').map(|segment| decode(segment, false)).collect(),
            query: pairs.collect(),
            has_encoded_slash: path.to_ascii_lowercase().contains("%2f"),
            method: parts.method,
            headers: parts.headers,
            body,
        }
    }

    /// The first value of a parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(super) fn query_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Decodes `%41`, and `+` if it is a query; what is not well-formed stays.
fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = code {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(if plus && *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
