//! Inputs that the server keeps in external storage: it sent a path, not the input.

use std::time::Duration;

use downbeat_core::machine::{Clock as _, Fault};
use downbeat_core::wire::target;
use downbeat_core::wire::{CallKind, find, validate};

use super::calls::Call;
use super::performer::Performer;
use crate::handler::Ending;
use crate::metrics::Name;
use crate::transport::Missing;

/// How long each of the two calls may take.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Performer {
    /// Fetches an input. An input that cannot be read fails its task, with its path as the reason: it is never run on
    /// the empty input that came instead. The failure is terminal unless the next try may find what this one did not:
    /// each try asks the server for a new link. No token is sent to the storage, and no reason shows more of its address
    /// than the host, for a signed address is a secret.
    pub(super) fn fetch_input(&mut self, task_type: &str, path: &str) -> Result<Vec<u8>, Ending> {
        let what = format!("the task's input is in external storage under `{path}`");
        let terminal = |why: &str| Ending::terminal(format!("{what}, and {why}; give the task less input"));
        let passing = |why: &str| Ending::failed(format!("{what}, and {why}"));
        let Ok(target) = target::external_input::<2048>(path) else {
            return Err(terminal("the path is too long"));
        };
        self.shared.measure(|metrics| {
            metrics.add(Name::ExternalPayload, &[task_type, "READ", "TASK_INPUT"], 1);
        });
        let deadline = self.shared.clock.now().saturating_add(TIMEOUT);
        let call = Call::get(CallKind::Other, &target, 1, deadline);
        let (meaning, answer) = self.plain_call(&call);
        match meaning {
            Ok(_) => {}
            Err(failure) if failure.error.fault == Fault::Rejected => {
                return Err(terminal("the server does not say where that is"));
            }
            Err(failure) => return Err(passing(&format!("the server did not say where that is: {failure}"))),
        }
        let place: Option<String> = find(&answer, "uri")
            .ok()
            .flatten()
            .and_then(|value| value.text())
            .map(|text| text.chars().collect());
        let place = place.unwrap_or_default();
        let deadline = self.shared.clock.now().saturating_add(TIMEOUT);
        let room = u64::try_from(self.shared.max_task).unwrap_or(u64::MAX);
        match self.shared.storage.get(&place, deadline, room) {
            Ok(input) if is_object(&input) => Ok(input),
            Ok(_) => Err(terminal("what is there is no JSON object")),
            Err(Missing::Terminal(why)) => Err(terminal(&why)),
            Err(Missing::Passing(why)) => Err(passing(&why)),
        }
    }
}

fn is_object(document: &[u8]) -> bool {
    document.trim_ascii_start().first() == Some(&b'{') && validate(document).is_ok()
}
