//! `downbeat-sim serve`: the model of the server, with faults on request.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::run::{Server, address};
use crate::clock;
use crate::conductor::free_port;
use crate::process::{Failure, Guarded, command};
use crate::real_server::api::{Api, Key, parse};

/// The key that the firmware gets its tokens for.
pub(crate) const KEY: &str = "firmware";
/// Its other half: known to everybody, and good for nothing but this check.
pub(crate) const SECRET: &str = "example";

/// Starts the model on a free port; with `auth`, it wants tokens of the one key.
pub(crate) fn start(simulator: &Path, auth: bool) -> Result<(Guarded, Server), Failure> {
    let port = free_port()?;
    let mut serve = command(simulator);
    serve.args(["serve", "--seed", "4711", "--listen"]).arg(format!("127.0.0.1:{port}"));
    if auth {
        serve.arg("--auth").arg(format!("{KEY}:{SECRET}"));
    }
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
    let server = Server { address: address(&base)?, url: base, api, faults: Some(Faults(Api::new(&origin))) };
    Ok((process, server))
}

/// The server's own faults, by its control endpoint.
pub(crate) struct Faults(Api);

impl Faults {
    /// Every kind of fault that a worker must get over, each hitting some of its calls; and no token is good any more.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        let worker = json!(["poll", "update", "extend"]);
        let faults = [
            ("503", 6, &worker),
            ("429", 3, &worker),
            ("lost_request", 5, &worker),
            ("lost_answer", 5, &worker),
            ("cut", 5, &worker),
            ("truncated", 4, &worker),
            ("garbage", 4, &worker),
            ("html", 4, &worker),
            ("over_deliver", 30, &worker),
            ("duplicate", 20, &worker),
        ];
        for (kind, percent, calls) in faults {
            self.order(&json!({ "kind": kind, "percent": percent, "calls": calls }))?;
        }
        self.0.post("/control/revoke_tokens", "").map(drop)
    }

    /// Ends all faults.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        self.0.delete("/control/faults").map(drop)
    }

    /// What the faults in force have hit so far, in words.
    pub(crate) fn hits(&self) -> Result<String, Failure> {
        let active = parse(&self.0.get("/control/faults")?)?;
        let told =
            |fault: &Value| format!("{} {}", fault["hits"], fault["kind"].as_str().unwrap_or_default());
        let told: Vec<String> = active.as_array().map_or(&[][..], Vec::as_slice).iter().map(told).collect();
        Ok(told.join(", "))
    }

    /// How often tokens were asked for.
    pub(crate) fn stats(&self) -> Result<Value, Failure> {
        parse(&self.0.get("/control/stats")?)
    }

    fn order(&self, fault: &Value) -> Result<(), Failure> {
        self.0.post("/control/faults", &fault.to_string()).map(drop)
    }
}
