//! HTTP/1.1 for one client, one request at a time, over any stream of bytes and in the caller's memory.
//!
//! - [`Response`] reads an answer: bytes in, [`Event`]s out, nothing kept but its state.
//! - [`write_head`] writes a request's head.
//! - [`Exchange`] is one request and its answer as a state machine without I/O: when to connect, what is to be
//!   written, when to read, and whether what failed may be sent again.
//! - [`Client`] performs exchanges over a blocking [`Link`]; it is a [`Transport`](crate::ports::Transport). The
//!   single-lane loop ([`drive`](crate::drive)) performs them over blocking and async links alike.
//!
//! Source: RFC 9110 and RFC 9112. Not here, on purpose: pipelining, upgrades, compression, cookies, redirects.

mod client;
mod date;
mod exchange;
mod inbox;
mod link;
mod request;
mod response;
mod word;

/// The streams' traits, in the version that [`Link`] and [`AsyncLink`] are made of.
pub use {embedded_io, embedded_io_async};

pub use client::{Client, Fixed};
pub use date::http_date;
pub use exchange::{Exchange, Want};
pub use inbox::Inbox;
pub use link::{AsyncLink, Link, cause_of};
pub use request::{HeadError, Site, write_head};
pub use response::{BODY_MAX, Event, HEADERS_MAX, Response, ResponseError};
