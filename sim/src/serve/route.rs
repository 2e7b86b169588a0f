//! Which endpoint a request is for.

use hyper::Method;

use super::faults::CallKind;
use super::request::Request;

/// An endpoint under `/api`, with the names in its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Route<'a> {
    PollBatch(&'a str),
    PollOne(&'a str),
    Update,
    UpdateV2,
    UpdateByReference(&'a str, &'a str, &'a str),
    AddLog(&'a str),
    ReadLog(&'a str),
    ReadTask(&'a str),
    Token,
    PutTaskDefs,
    ReadTaskDefs,
    ReadTaskDef(&'a str),
    DeleteTaskDef(&'a str),
    PostWorkflowDef,
    PutWorkflowDefs,
    ReadWorkflowDefs,
    ReadWorkflowDef(&'a str),
    Start,
    StartNamed(&'a str),
    ReadWorkflow(&'a str),
    Terminate(&'a str),
    Running(&'a str),
    QueueSize,
    QueueSizes,
    QueueAll,
    QueueVerbose,
    PollData,
    PollDataAll,
    StorageLocation,
    Version,
    Health,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoRoute {
    /// 404.
    Path,
    /// 405.
    Method,
}

/// The endpoint of a path below `/api`.
pub(super) fn find<'a>(method: &Method, path: &[&'a str]) -> Result<Route<'a>, NoRoute> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    Ok(match (method, path) {
        ("GET", ["tasks", "poll", "batch", kind]) => Route::PollBatch(kind),
        ("GET", ["tasks", "poll", kind]) => Route::PollOne(kind),
        ("POST", ["tasks"]) => Route::Update,
        ("POST", ["tasks", "update-v2"]) => Route::UpdateV2,
        ("GET", ["tasks", "queue", "size"]) => Route::QueueSize,
        ("GET", ["tasks", "queue", "sizes"]) => Route::QueueSizes,
        ("GET", ["tasks", "queue", "all"]) => Route::QueueAll,
        ("GET", ["tasks", "queue", "all", "verbose"]) => Route::QueueVerbose,
        ("GET", ["tasks", "queue", "polldata"]) => Route::PollData,
        ("GET", ["tasks", "queue", "polldata", "all"]) => Route::PollDataAll,
        ("GET", ["tasks", "externalstoragelocation"]) => Route::StorageLocation,
        ("POST", ["tasks", id, "log"]) => Route::AddLog(id),
        ("GET", ["tasks", id, "log"]) => Route::ReadLog(id),
        ("GET", ["tasks", id]) => Route::ReadTask(id),
        ("POST", ["tasks", workflow, reference, status]) => {
            Route::UpdateByReference(workflow, reference, status)
        }
        ("POST", ["token"]) => Route::Token,
        ("POST" | "PUT", ["metadata", "taskdefs"]) => Route::PutTaskDefs,
        ("GET", ["metadata", "taskdefs"]) => Route::ReadTaskDefs,
        ("GET", ["metadata", "taskdefs", name]) => Route::ReadTaskDef(name),
        ("DELETE", ["metadata", "taskdefs", name]) => Route::DeleteTaskDef(name),
        ("POST", ["metadata", "workflow"]) => Route::PostWorkflowDef,
        ("PUT", ["metadata", "workflow"]) => Route::PutWorkflowDefs,
        ("GET", ["metadata", "workflow"]) => Route::ReadWorkflowDefs,
        ("GET", ["metadata", "workflow", name]) => Route::ReadWorkflowDef(name),
        ("POST", ["workflow"]) => Route::Start,
        ("POST", ["workflow", name]) => Route::StartNamed(name),
        ("GET", ["workflow", "running", name]) => Route::Running(name),
        ("GET", ["workflow", id]) => Route::ReadWorkflow(id),
        ("DELETE", ["workflow", id] | ["workflow", id, "terminate"]) => Route::Terminate(id),
        ("GET", ["version"]) => Route::Version,
        ("GET", ["health"]) => Route::Health,
        _ => return Err(if is_known(path) { NoRoute::Method } else { NoRoute::Path }),
    })
}

/// Whether a path is known with some other method.
fn is_known(path: &[&str]) -> bool {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    matches!(path, ["tasks" | "token" | "version" | "health"])
        || methods.iter().any(|method| {
            let fixed = path.first().is_some_and(|first| ["metadata", "workflow", "tasks"].contains(first));
            fixed && path.len() <= 2 && find_exact(method, path)
        })
}

fn find_exact(method: &Method, path: &[&str]) -> bool {
    let known: &[(&Method, &[&str])] = &[
        (&Method::POST, &["tasks", "update-v2"]),
        (&Method::GET, &["metadata", "taskdefs"]),
        (&Method::GET, &["metadata", "workflow"]),
        (&Method::POST, &["workflow"]),
    ];
    known.iter().any(|(of, known)| *of == method && *known == path)
}

impl Route<'_> {
    /// Its name in the counters.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::PollBatch(_) => "poll_batch",
            Self::PollOne(_) => "poll",
            Self::Update => "update",
            Self::UpdateV2 => "update_v2",
            Self::UpdateByReference(..) => "update_by_reference",
            Self::AddLog(_) => "log",
            Self::ReadLog(_) => "read_log",
            Self::ReadTask(_) => "read_task",
            Self::Token => "token",
            Self::PutTaskDefs => "put_taskdefs",
            Self::ReadTaskDefs | Self::ReadTaskDef(_) => "read_taskdefs",
            Self::DeleteTaskDef(_) => "delete_taskdef",
            Self::PostWorkflowDef | Self::PutWorkflowDefs => "put_workflow",
            Self::ReadWorkflowDefs | Self::ReadWorkflowDef(_) => "read_workflowdef",
            Self::Start | Self::StartNamed(_) => "start_workflow",
            Self::ReadWorkflow(_) | Self::Running(_) => "read_workflow",
            Self::Terminate(_) => "terminate_workflow",
            Self::QueueSize | Self::QueueSizes | Self::QueueAll | Self::QueueVerbose => "queue",
            Self::PollData | Self::PollDataAll => "polldata",
            Self::StorageLocation => "storage_location",
            Self::Version => "version",
            Self::Health => "health",
        }
    }

    /// Its kind, for faults. `extends`: the body of the update asks for more time.
    pub(super) const fn kind(&self, extends: bool) -> CallKind {
        match self {
            Self::PollBatch(_) | Self::PollOne(_) => CallKind::Poll,
            Self::Update | Self::UpdateV2 if extends => CallKind::Extend,
            Self::Update | Self::UpdateV2 | Self::UpdateByReference(..) => CallKind::Update,
            Self::AddLog(_) | Self::ReadLog(_) => CallKind::Log,
            Self::Token => CallKind::Token,
            Self::PutTaskDefs
            | Self::ReadTaskDefs
            | Self::ReadTaskDef(_)
            | Self::DeleteTaskDef(_)
            | Self::PostWorkflowDef
            | Self::PutWorkflowDefs
            | Self::ReadWorkflowDefs
            | Self::ReadWorkflowDef(_) => CallKind::Metadata,
            Self::Start
            | Self::StartNamed(_)
            | Self::ReadWorkflow(_)
            | Self::Terminate(_)
            | Self::Running(_) => CallKind::Workflow,
            Self::ReadTask(_)
            | Self::QueueSize
            | Self::QueueSizes
            | Self::QueueAll
            | Self::QueueVerbose
            | Self::PollData
            | Self::PollDataAll
            | Self::StorageLocation
            | Self::Version
            | Self::Health => CallKind::Other,
        }
    }

    /// Whether it wants no token (R-TOKEN-3).
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Token | Self::Version | Self::Health)
    }

    /// Whether its body must be called JSON (R-HTTP-5).
    pub(super) const fn wants_json(&self) -> bool {
        matches!(
            self,
            Self::Update
                | Self::UpdateV2
                | Self::PutTaskDefs
                | Self::PostWorkflowDef
                | Self::PutWorkflowDefs
                | Self::Start
                | Self::StartNamed(_)
                | Self::UpdateByReference(..)
        )
    }
}

/// The content type that the server does not take, as it words it.
pub(super) fn unsupported_type(request: &Request) -> Option<String> {
    let given = request.header("content-type");
    let is_json = given.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    });
    (!is_json).then(|| given.unwrap_or("application/octet-stream").to_owned())
}
