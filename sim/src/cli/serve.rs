//! `serve`: the model server over HTTP, until a signal ends it.

use std::io::{self, Write};
use std::net::SocketAddr;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::{PASS, USAGE};
use crate::scenario::Span;
use downbeat_server::http::{Auth, Backend, Fault, Generation, Options, Server, UnknownV2};

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
    /// What `extendLease` means. before-2022-08: nothing, so that IN_PROGRESS is a give-back. demands-status:
    /// an extension, but an update without a status is a 500. now: an extension.
    #[arg(long, value_name = "NAME", default_value = "now", value_parser = generation)]
    generation: Generation,
    /// Whether `update-v2` is known, or which status it is answered with: 404, 405, or 500 as before 3.21.12.
    #[arg(long, value_name = "WORD", default_value = "known", value_parser = update_v2)]
    update_v2: UpdateV2,
    /// Answer 500 to a result with U+0000, and record it all the same, as on PostgreSQL.
    #[arg(long)]
    refuse_nul: bool,
    /// A fault that is in force from the start, as `POST /control/faults` takes it; may be given again.
    #[arg(long = "fault", value_name = "JSON", value_parser = Fault::from_json)]
    faults: Vec<Fault>,
    /// Feeds ids and the chance of faults; by default the clock does.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Hand out inputs of more bytes as a path into the external storage.
    #[arg(long, value_name = "BYTES", default_value_t = 3_145_728)]
    input_inline_max: usize,
}

/// How `update-v2` is answered, or `None` if it is known.
#[derive(Clone, Copy, Debug)]
struct UpdateV2(Option<UnknownV2>);

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
        update_v2: args.update_v2.0.is_none(),
        unknown_v2: args.update_v2.0.unwrap_or_default(),
        generation: args.generation,
        refuse_nul: args.refuse_nul,
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
    for fault in &args.faults {
        server.faults().add(fault.clone());
    }
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

fn generation(text: &str) -> Result<Generation, String> {
    match text {
        "before-2022-08" => Ok(Generation::BeforeExtendLease),
        "demands-status" => Ok(Generation::DemandsStatus),
        "now" => Ok(Generation::Now),
        _ => Err("it is before-2022-08, demands-status or now".to_owned()),
    }
}

fn update_v2(text: &str) -> Result<UpdateV2, String> {
    match text {
        "known" => Ok(UpdateV2(None)),
        "404" => Ok(UpdateV2(Some(UnknownV2::NotFound))),
        "405" => Ok(UpdateV2(Some(UnknownV2::NotAllowed))),
        "500" => Ok(UpdateV2(Some(UnknownV2::Failed))),
        _ => Err("it is known, 404, 405 or 500".to_owned()),
    }
}
