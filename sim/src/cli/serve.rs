//! `serve`: the model server over HTTP, until a signal ends it.

use std::io::{self, Write};
use std::net::SocketAddr;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{PASS, USAGE};
use crate::scenario::{Backend, Span};
use crate::serve::{Auth, Options, Server};

/// Arguments of `serve`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Want a token, given for this key and secret.
    #[arg(long, value_name = "KEY:SECRET")]
    auth: Option<String>,
    /// How long a token is good.
    #[arg(long, value_name = "TIME", default_value = "45m", requires = "auth")]
    token_life: Span,
    /// How a poll waits: until the first task (redis), until `count` tasks (sql), not at all (none).
    #[arg(long, value_name = "NAME", default_value = "redis", value_parser = backend)]
    backend: Backend,
    /// Feeds ids and the chance of faults; default: the clock.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Hand out inputs of more bytes as a path into the external storage.
    #[arg(long, value_name = "BYTES", default_value_t = 3_145_728)]
    input_inline_max: usize,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    // Before the server is there, so that no signal is missed.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let auth = match args.auth.as_deref().map(|text| auth(text, args)).transpose() {
        Ok(auth) => auth,
        Err(what) => {
            writeln!(err, "downbeat-sim: --auth: {what}")?;
            return Ok(USAGE);
        }
    };
    let options = Options {
        listen: args.listen,
        auth,
        backend: args.backend,
        seed: args.seed,
        input_inline_max: args.input_inline_max,
        ..Options::default()
    };
    let server = match Server::start(options) {
        Ok(server) => server,
        Err(error) => {
            writeln!(
                err,
                "downbeat-sim: cannot listen on {}: {error}; choose another --listen",
                args.listen
            )?;
            return Ok(USAGE);
        }
    };
    writeln!(out, "listening on {}", server.url())?;
    out.flush()?;
    signals.forever().next();
    server.stop();
    Ok(PASS)
}

/// The message does not repeat the text: it may hold the secret.
fn auth(text: &str, args: &Args) -> Result<Auth, &'static str> {
    let whole = text.split_once(':').filter(|(key, secret)| !key.is_empty() && !secret.is_empty());
    let (key, secret) = whole.ok_or("write the key and the secret with a colon between them")?;
    Ok(Auth { key: key.to_owned(), secret: secret.to_owned(), token_life: args.token_life.get() })
}

fn backend(text: &str) -> Result<Backend, String> {
    match text {
        "redis" => Ok(Backend::Redis),
        "sql" => Ok(Backend::Sql),
        "none" => Ok(Backend::None),
        _ => Err("it is redis, sql or none".to_owned()),
    }
}
