//! The official Python client against `downbeat-sim serve`.

use crate::ci::Done;
use crate::process::{Failure, command, release_binary, root, run};

/// Runs `tools/python-client/run.sh`, which makes a virtual environment of its own and drives the server named.
pub(crate) fn check() -> Result<Done, Failure> {
    let script = root().join("tools/python-client/run.sh");
    if !script.exists() {
        return Err(Failure::new(format!("{} is missing", script.display())));
    }
    let simulator = release_binary("downbeat-sim")?;
    run(command("bash").arg(script).env("DOWNBEAT_SIM", simulator)).map(|()| Done::Passed)
}
