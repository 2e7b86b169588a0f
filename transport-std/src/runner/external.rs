//! Inputs that the server keeps in external storage: it sent a path, not the input.

use std::time::Duration;

use downbeat_core::machine::{Clock, Fault};
use downbeat_core::ports::Method;
use downbeat_core::wire::target;
use downbeat_core::wire::{CallKind, find, validate};

use super::calls::Call;
use super::perform::Performer;
use crate::handler::Ending;
use crate::metrics::Name;

/// How long each of the two calls may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the largest input that is fetched.
const ROOM: u64 = 64 * 1024 * 1024;

impl Performer {
    /// Fetches an input. An input that cannot be read fails its task, with its path as the reason: it is never run on
    /// the empty input that came instead. The failure is terminal unless the storage may only be out of reach.
    pub(super) fn fetch_input(&mut self, task_type: &str, path: &str) -> Result<Vec<u8>, Ending> {
        let what = format!("the task's input is in external storage under `{path}`");
        let terminal = |why: &str| Ending::terminal(format!("{what}, and {why}; give the task less input"));
        let passing = |why: &str| Ending::failed(format!("{what}, and {why}"));
        let Ok(target) = target::external_input::<2048>(path) else {
            return Err(terminal("the path is too long"));
        };
        self.shared.measure(|metrics| {
            let labels = [("entityName", task_type), ("operation", "READ"), ("payloadType", "TASK_INPUT")];
            metrics.add(Name::ExternalPayload, &labels, 1);
        });
        let deadline = self.shared.clock.now().after(TIMEOUT);
        let call = Call { kind: CallKind::Other, method: Method::Get, target: &target, body: &[], deadline };
        let (meaning, answer) = self.plain_call(&call);
        match meaning {
            Ok(_) => {}
            Err(trouble) if trouble.error.fault == Fault::Rejected => {
                return Err(terminal("the server does not say where that is"));
            }
            Err(trouble) => return Err(passing(&format!("the server did not say where that is: {trouble}"))),
        }
        let place: Option<String> = find(&answer, "uri")
            .ok()
            .flatten()
            .and_then(|value| value.text())
            .map(|text| text.chars().collect());
        let Some(place) = place.filter(|place| place.starts_with("http://") || place.starts_with("https://"))
        else {
            return Err(terminal("the server names no place that this worker can read"));
        };
        let deadline = self.shared.clock.now().after(TIMEOUT);
        // The place may be signed: it is a secret, and no reason or log shows it.
        match self.shared.storage.get(&place, deadline, ROOM) {
            Ok((200..=299, input)) if is_object(&input) => Ok(input),
            Ok((200..=299, _)) => Err(terminal("what is there is no JSON object")),
            Ok((status @ (400..=499), _)) => {
                Err(terminal(&format!("the storage answered with status {status}")))
            }
            Ok((status, _)) => Err(passing(&format!("the storage answered with status {status}"))),
            Err(_) => Err(passing("the storage could not be read")),
        }
    }
}

fn is_object(document: &[u8]) -> bool {
    document.trim_ascii_start().first() == Some(&b'{') && validate(document).is_ok()
}
