//! `downbeat-sim serve`: the model of the server, with faults on request.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::run::{Pace, Server, address};
use crate::clock;
use crate::conductor::free_port;
use crate::process::{Failure, Guarded, command};
use crate::real_server::api::{Api, Key, parse};

/// The key that the firmware gets its tokens for.
pub(crate) const KEY: &str = "firmware";
/// Its other half: known to everybody, and good for nothing but this check.
pub(crate) const SECRET: &str = "example";

/// How long a token is good: shorter than a run, and the worker is not told.
const TOKEN_LIFE: &str = "15s";

/// Starts the model on a free port; with `auth`, it wants tokens of the one key.
pub(crate) fn start(simulator: &Path, auth: bool) -> Result<(Guarded, Server), Failure> {
    let port = free_port()?;
    let mut serve = command(simulator);
    serve.args(["serve", "--seed", "4711", "--listen"]).arg(format!("127.0.0.1:{port}"));
    if auth {
        serve.arg("--auth").arg(format!("{KEY}:{SECRET}")).args(["--token-life", TOKEN_LIFE]);
    }
    // It would say where it listens, which the caller does.
    serve.stdout(Stdio::null());
    let mut process = Guarded::start(&mut serve, Duration::from_secs(5))?;
    let up = clock::wait_for(Duration::from_secs(10), Duration::from_millis(50), || {
        if process.has_ended() {
            return Some(false);
        }
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
    });
    if up != Some(true) {
        return Err(Failure::new("`downbeat-sim serve` did not come up"));
    }
    let origin = format!("http://127.0.0.1:{port}");
    let base = format!("{origin}/api");
    let api = if auth { Api::with_key(&base, Key { id: KEY, secret: SECRET }) } else { Api::new(&base) };
    let faults = Some(Faults(Api::new(&origin)));
    let server = Server { address: address(&base)?, url: base, api, faults, pace: Pace::MODEL };
    Ok((process, server))
}

/// The server's own faults, by its control endpoint.
pub(crate) struct Faults(Api);

impl Faults {
    /// Many kinds at once, each hitting some of the worker's calls, until [`Faults::end`].
    pub(crate) fn storm(&self) -> Result<(), Failure> {
        let worker = json!(["poll", "update", "extend"]);
        let faults = [
            ("503", 6),
            ("lost_request", 5),
            ("lost_answer", 5),
            ("cut", 5),
            ("truncated", 4),
            ("garbage", 4),
            ("html", 4),
            ("over_deliver", 30),
            ("duplicate", 20),
        ];
        faults.iter().try_for_each(|(kind, percent)| {
            self.order(&json!({ "kind": kind, "percent": percent, "calls": worker })).map(drop)
        })
    }

    /// Puts a fault into force; its number.
    pub(crate) fn order(&self, fault: &Value) -> Result<u64, Failure> {
        let answer = parse(&self.0.post("/control/faults", &fault.to_string())?)?;
        answer["id"]
            .as_u64()
            .ok_or_else(|| Failure::new(format!("no number for the fault {fault}: {answer}")))
    }

    /// The numbers of the faults in force. One that was ordered for a count of hits leaves when it has had them.
    pub(crate) fn active(&self) -> Result<Vec<u64>, Failure> {
        let active = parse(&self.0.get("/control/faults")?)?;
        let active = active.as_array().map_or(&[][..], Vec::as_slice);
        Ok(active.iter().filter_map(|fault| fault["id"].as_u64()).collect())
    }

    /// Ends all faults; what those in force had hit, in words.
    pub(crate) fn end(&self) -> Result<String, Failure> {
        let active = parse(&self.0.get("/control/faults")?)?;
        self.0.delete("/control/faults")?;
        let told =
            |fault: &Value| format!("{} {}", fault["hits"], fault["kind"].as_str().unwrap_or_default());
        let told: Vec<String> = active.as_array().map_or(&[][..], Vec::as_slice).iter().map(told).collect();
        Ok(told.join(", "))
    }

    /// No token that was given so far is good any more.
    pub(crate) fn revoke_tokens(&self) -> Result<(), Failure> {
        self.0.post("/control/revoke_tokens", "").map(drop)
    }

    /// What was asked of the server and done by it.
    pub(crate) fn stats(&self) -> Result<Value, Failure> {
        parse(&self.0.get("/control/stats")?)
    }
}
