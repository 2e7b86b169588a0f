//! Endpoints that change nothing.

use std::collections::BTreeMap;

use super::Refused;
use super::answer::Answer;
use super::request::Request;
use super::route::Read;
use super::shared::Shared;

/// Handles a request that reads.
pub(super) fn read(shared: &Shared, request: &Request, what: Read<'_>) -> Result<Answer, Refused> {
    let kind = request.query("taskType").unwrap_or_default();
    let version = || request.query("version").and_then(|version| version.parse().ok());
    shared.with(|conductor, _| {
        Ok(Answer::json(match what {
            // R-UPDATE-14: the one way in which a worker can learn that its task has ended otherwise.
            Read::Task(id) => conductor
                .read_task(id)
                .ok_or_else(|| Refused::not_found(format!("Task not found for taskId: {id}")))?,
            Read::Log(id) => match conductor.logs(id) {
                // R-LOG-2: no line, no body.
                logs if logs.is_empty() => return Ok(Answer::empty(204)),
                logs => json(&logs),
            },
            Read::TaskDefs => conductor.task_defs_json(),
            Read::TaskDef(name) => conductor.task_def_json(name)?,
            Read::WorkflowDefs => conductor.workflow_defs_json(),
            Read::WorkflowDef(name) => conductor.workflow_def_json(name, version())?,
            Read::Workflow(id) => {
                conductor.workflow_json(id, request.query("includeTasks") != Some("false"))?
            }
            Read::Running(name) => json(&conductor.running_workflows(name)),
            Read::QueueSize => conductor.queue_size(kind, request.query("domain")).to_string(),
            Read::QueueSizes => {
                let kinds = request.query_all("taskType");
                json(&kinds.map(|kind| (kind, conductor.queue_size(kind, None))).collect::<BTreeMap<_, _>>())
            }
            Read::QueueAll => json(&conductor.queue_sizes()),
            Read::QueueVerbose => verbose(&conductor.queue_sizes()),
            Read::PollData => conductor.poll_data(Some(kind)),
            Read::PollDataAll => conductor.poll_data(None),
            Read::StorageLocation => {
                let path = request.query("path").unwrap_or_default();
                let known = conductor.stored(path).is_some() && shared.options.external_readable;
                location(path, known.then_some(shared.address))
            }
            Read::Version => return Ok(Answer::text("3.32.1".to_owned())),
            Read::Health => r#"{"healthResults":[],"suppressedHealthResults":[],"healthy":true}"#.to_owned(),
        }))
    })
}

/// Where a payload of the external storage is (R-PAYLOAD-4).
fn location(path: &str, readable: Option<std::net::SocketAddr>) -> String {
    let path_json = json(&path);
    readable.map_or_else(
        || format!("{{\"path\":{path_json}}}"),
        |address| {
            let uri = json(&format!("http://{address}/control/payload/{path}"));
            format!("{{\"uri\":{uri},\"path\":{path_json}}}")
        },
    )
}

fn verbose(sizes: &BTreeMap<String, usize>) -> String {
    let queue = |(name, size): (&String, &usize)| {
        let shard = BTreeMap::from([("a", BTreeMap::from([("size", *size), ("uacked", 0)]))]);
        (name.clone(), shard)
    };
    json(&sizes.iter().map(queue).collect::<BTreeMap<_, _>>())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
