//! `/control`: faults, counters, tokens. Outside `/api`, and never hit by a fault but `down` and `reset`.

use std::sync::Arc;

use super::Refused;
use super::answer::Answer;
use super::faults::Fault;
use super::order::Wire;
use super::request::Request;
use super::shared::Shared;

/// Handles a request below `/control`.
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
        ("GET", ["tasks"]) => {
            let kind = request.query("type");
            Ok(Answer::json(shared.with(|conductor, _| conductor.all_received_json(kind))))
        }
        ("GET", ["tasks", id]) => received(shared, id),
        ("POST", ["revoke_tokens"]) => {
            shared.with(|conductor, _| conductor.revoke_tokens());
            Ok(Answer::json("{\"revoked\":true}".to_owned()))
        }
        ("GET", ["payload", path]) => payload(shared, path),
        _ => Err(Refused::not_found(
            "the control endpoints are POST, GET, DELETE /control/faults, DELETE /control/faults/ID, GET /control/stats, GET /control/tasks, GET /control/tasks/ID, POST /control/revoke_tokens",
        )),
    };
    answer.unwrap_or_else(Answer::from)
}

fn add(shared: &Shared, request: &Request) -> Result<Answer, Refused> {
    let wrong = |what: String| Refused::new(400, what);
    let id = shared.faults.add(Fault::from_json(&request.text()).map_err(wrong)?);
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

fn received(shared: &Shared, id: &str) -> Result<Answer, Refused> {
    let told = shared.with(|conductor, _| conductor.received_json(id));
    told.map(Answer::json).ok_or_else(|| Refused::not_found(format!("no task {id} is kept")))
}

fn payload(shared: &Shared, path: &str) -> Result<Answer, Refused> {
    let stored = shared.with(|conductor, _| conductor.stored(path));
    let stored = stored.ok_or_else(|| Refused::not_found(format!("no payload {path}")))?;
    Ok(Answer::json(stored.get().to_owned()))
}
