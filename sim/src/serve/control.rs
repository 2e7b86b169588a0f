//! `/control`: faults, counters, tokens. Outside `/api`, and never hit by a fault but `down` and `reset`.

use std::sync::Arc;

use super::Refused;
use super::answer::Answer;
use super::faults::Wire;
use super::request::Request;
use super::shared::Shared;

/// Answers a request below `/control`.
pub(super) fn handle(shared: &Arc<Shared>, request: &Request, path: &[&str]) -> Answer {
    let answer = match (request.method.as_str(), path) {
        ("POST", ["faults"]) => add(shared, request),
        ("GET", ["faults"]) => Ok(list(shared)),
        ("DELETE", ["faults"]) => {
            shared.faults.clear();
            Ok(list(shared))
        }
        ("DELETE", ["faults", id]) => remove(shared, id),
        ("GET", ["stats"]) => Ok(Answer::json(serde_json::to_string(&shared.stats()).unwrap_or_default())),
        ("POST", ["revoke_tokens"]) => {
            shared.with(|conductor, _| conductor.revoke_tokens());
            Ok(Answer::json("{\"revoked\":true}".to_owned()))
        }
        ("GET", ["payload", path]) => payload(shared, path),
        _ => Err(Refused::not_found(
            "the control endpoints are POST, GET, DELETE /control/faults, DELETE /control/faults/ID, GET /control/stats, POST /control/revoke_tokens",
        )),
    };
    answer.unwrap_or_else(Answer::from)
}

fn add(shared: &Shared, request: &Request) -> Result<Answer, Refused> {
    let wrong = |what: String| Refused::new(400, what);
    let order: Wire = serde_json::from_slice(&request.body).map_err(|error| wrong(error.to_string()))?;
    let id = shared.faults.add(order.read().map_err(wrong)?);
    Ok(Answer::json(format!("{{\"id\":{id}}}")))
}

fn list(shared: &Shared) -> Answer {
    let active: Vec<Wire> = shared.faults.active().iter().map(Wire::from).collect();
    Answer::json(serde_json::to_string(&active).unwrap_or_default())
}

fn remove(shared: &Shared, id: &str) -> Result<Answer, Refused> {
    let gone = id.parse().is_ok_and(|id| shared.faults.remove(id));
    if gone { Ok(list(shared)) } else { Err(Refused::not_found(format!("no fault {id} is in force"))) }
}

fn payload(shared: &Shared, path: &str) -> Result<Answer, Refused> {
    let stored = shared.with(|conductor, _| conductor.stored(path));
    let stored = stored.ok_or_else(|| Refused::not_found(format!("no payload {path}")))?;
    Ok(Answer::json(stored.get().to_owned()))
}
