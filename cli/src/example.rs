//! Definitions for the development server: workflows of SIMPLE tasks in sequence.

use downbeat_server::http::{Refused, Server};
use serde_json::{Value, json};

/// Registers the tasks, and the workflow that runs them one after the other, each on the workflow's own input.
///
/// A task whose worker is silent for `lease` seconds is delivered again.
pub(crate) fn register(
    server: &Server,
    workflow: &str,
    tasks: &[&str],
    inputs: &[&str],
    lease: u32,
) -> Result<(), Refused> {
    let owner = "downbeat@localhost.invalid";
    for task in tasks {
        let definition = json!({
            "name": task, "ownerEmail": owner, "retryCount": 3, "retryLogic": "FIXED", "retryDelaySeconds": 1,
            "timeoutSeconds": 0, "responseTimeoutSeconds": lease,
        });
        server.define_task(&definition.to_string())?;
    }
    let parameter = |name: &&str| ((*name).to_owned(), Value::from(format!("${{workflow.input.{name}}}")));
    let parameters: serde_json::Map<String, Value> = inputs.iter().map(parameter).collect();
    let step = |task: &&str| json!({ "name": task, "taskReferenceName": task, "type": "SIMPLE", "inputParameters": parameters });
    let definition = json!({
        "name": workflow, "version": 1, "schemaVersion": 2, "ownerEmail": owner, "timeoutPolicy": "ALERT_ONLY",
        "timeoutSeconds": 0, "tasks": tasks.iter().map(step).collect::<Vec<_>>(),
    });
    server.define_workflow(&definition.to_string())
}
