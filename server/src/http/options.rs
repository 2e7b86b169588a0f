//! How a server over HTTP is set up.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{Backend, Generation};

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 means any free one. Default: `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// A token is wanted on every call but `/token`, `/version` and `/health`. Default: none is.
    pub auth: Option<Auth>,
    /// How polls wait (R-POLL-3). Default: as on Redis.
    pub backend: Backend,
    /// Feeds ids, tokens and the chance of faults. Default: taken from the clock.
    pub seed: Option<u64>,
    /// Whether `update-v2` is known. Default: it is.
    pub update_v2: bool,
    /// How it is answered if it is not known (R-UPDATE-12). Default: 404.
    pub unknown_v2: UnknownV2,
    /// What `extendLease` means (R-LEASE-4). Default: what it means now.
    pub generation: Generation,
    /// A result with U+0000 is a 500 that says it may be repeated, and recorded all the same, as on PostgreSQL
    /// (R-PAYLOAD-6). Default: it is taken.
    pub refuse_nul: bool,
    /// Inputs of more bytes are handed out as a path into the external storage (R-PAYLOAD-4). Default: 3,145,728.
    pub input_inline_max: usize,
    /// Outputs of more bytes are moved there (R-PAYLOAD-2). Default: 3,145,728.
    pub output_inline_max: usize,
    /// Outputs of more bytes fail their task and workflow (R-PAYLOAD-3). Default: 10,485,760.
    pub output_max: usize,
    /// How many ended workflows are kept. The oldest are forgotten first, with their tasks: 404 from then on.
    /// Default: 100,000.
    pub ended_kept: usize,
    /// Whether the external storage tells a URL that can be read; the real default one does not. Default: it does.
    pub external_readable: bool,
    /// An idle connection is closed after this (R-HTTP-2). Default: 60 s.
    pub idle_close: Duration,
    /// A connection is closed after so many answers (R-HTTP-1). Default: 100.
    pub answers_per_connection: u32,
    /// Requests handled at once; a long poll holds one (R-HTTP-4). Default: 200.
    pub threads: usize,
}

/// How a server that does not know `update-v2` answers it (R-UPDATE-12).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UnknownV2 {
    /// 404.
    #[default]
    NotFound,
    /// 405, since 3.32.
    NotAllowed,
    /// 500, "Request method 'POST' not supported": before 3.21.12.
    Failed,
}

/// A key and its secret, and how long a token for them is good.
#[derive(Clone)]
pub struct Auth {
    /// `keyId`.
    pub key: String,
    /// `keySecret`.
    pub secret: String,
    /// How long a token is good (R-TOKEN-2).
    pub token_life: Duration,
}

impl std::fmt::Debug for Auth {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("token_life", &self.token_life).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            auth: None,
            backend: Backend::Redis,
            seed: None,
            update_v2: true,
            unknown_v2: UnknownV2::NotFound,
            generation: Generation::Now,
            refuse_nul: false,
            input_inline_max: 3_072 * 1_024,
            output_inline_max: 3_072 * 1_024,
            output_max: 10_240 * 1_024,
            ended_kept: 100_000,
            external_readable: true,
            idle_close: Duration::from_secs(60),
            answers_per_connection: 100,
            threads: 200,
        }
    }
}
