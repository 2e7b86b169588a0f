//! Which endpoint a request is for.

use hyper::Method;

use super::conductor::Change;
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
    Token,
    Define(Define<'a>),
    /// By name in the path, or in the body.
    Start(Option<&'a str>),
    Change(Change, &'a str),
    Read(Read<'a>),
}

/// Endpoints that change definitions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Define<'a> {
    Tasks,
    DeleteTask(&'a str),
    Workflow,
    Workflows,
}

/// Endpoints that change nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Read<'a> {
    Task(&'a str),
    Log(&'a str),
    TaskDefs,
    TaskDef(&'a str),
    WorkflowDefs,
    WorkflowDef(&'a str),
    Workflow(&'a str),
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
        ("GET", ["tasks", "queue", "size"]) => Route::Read(Read::QueueSize),
        ("GET", ["tasks", "queue", "sizes"]) => Route::Read(Read::QueueSizes),
        ("GET", ["tasks", "queue", "all"]) => Route::Read(Read::QueueAll),
        ("GET", ["tasks", "queue", "all", "verbose"]) => Route::Read(Read::QueueVerbose),
        ("GET", ["tasks", "queue", "polldata"]) => Route::Read(Read::PollData),
        ("GET", ["tasks", "queue", "polldata", "all"]) => Route::Read(Read::PollDataAll),
        ("GET", ["tasks", "externalstoragelocation"]) => Route::Read(Read::StorageLocation),
        ("POST", ["tasks", id, "log"]) => Route::AddLog(id),
        ("GET", ["tasks", id, "log"]) => Route::Read(Read::Log(id)),
        ("GET", ["tasks", id]) => Route::Read(Read::Task(id)),
        ("POST", ["tasks", workflow, reference, status]) => {
            Route::UpdateByReference(workflow, reference, status)
        }
        ("POST", ["token"]) => Route::Token,
        ("POST" | "PUT", ["metadata", "taskdefs"]) => Route::Define(Define::Tasks),
        ("GET", ["metadata", "taskdefs"]) => Route::Read(Read::TaskDefs),
        ("GET", ["metadata", "taskdefs", name]) => Route::Read(Read::TaskDef(name)),
        ("DELETE", ["metadata", "taskdefs", name]) => Route::Define(Define::DeleteTask(name)),
        ("POST", ["metadata", "workflow"]) => Route::Define(Define::Workflow),
        ("PUT", ["metadata", "workflow"]) => Route::Define(Define::Workflows),
        ("GET", ["metadata", "workflow"]) => Route::Read(Read::WorkflowDefs),
        ("GET", ["metadata", "workflow", name]) => Route::Read(Read::WorkflowDef(name)),
        ("POST", ["workflow"]) => Route::Start(None),
        ("POST", ["workflow", name]) => Route::Start(Some(name)),
        ("GET", ["workflow", "running", name]) => Route::Read(Read::Running(name)),
        ("GET", ["workflow", id]) => Route::Read(Read::Workflow(id)),
        ("DELETE", ["workflow", id] | ["workflow", id, "terminate"]) => Route::Change(Change::Terminate, id),
        ("DELETE", ["workflow", id, "remove"]) => Route::Change(Change::Remove, id),
        ("POST", ["workflow", id, "restart"]) => Route::Change(Change::Restart, id),
        ("PUT", ["workflow", id, "pause"]) => Route::Change(Change::Pause, id),
        ("PUT", ["workflow", id, "resume"]) => Route::Change(Change::Resume, id),
        ("GET", ["version"]) => Route::Read(Read::Version),
        ("GET", ["health"]) => Route::Read(Read::Health),
        _ => return Err(if is_known(path) { NoRoute::Method } else { NoRoute::Path }),
    })
}

/// Whether a path without names in it is known with some other method.
fn is_known(path: &[&str]) -> bool {
    matches!(
        path,
        ["tasks" | "token" | "version" | "health" | "workflow"]
            | ["tasks", "update-v2"]
            | ["metadata", "taskdefs" | "workflow"]
            | ["tasks", "poll", "batch", _]
    )
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
            Self::Token => "token",
            Self::Define(Define::Tasks | Define::DeleteTask(_)) => "define_tasks",
            Self::Define(Define::Workflow | Define::Workflows) => "define_workflow",
            Self::Start(_) => "start_workflow",
            Self::Change(Change::Terminate, _) => "terminate_workflow",
            Self::Change(Change::Remove, _) => "remove_workflow",
            Self::Change(Change::Restart, _) => "restart_workflow",
            Self::Change(Change::Pause, _) => "pause_workflow",
            Self::Change(Change::Resume, _) => "resume_workflow",
            Self::Read(read) => read.name(),
        }
    }

    /// Its kind, for faults. `extends`: the body of the update asks for more time.
    pub(super) const fn kind(&self, extends: bool) -> CallKind {
        match self {
            Self::PollBatch(_) | Self::PollOne(_) => CallKind::Poll,
            Self::Update | Self::UpdateV2 if extends => CallKind::Extend,
            Self::Update | Self::UpdateV2 | Self::UpdateByReference(..) => CallKind::Update,
            Self::AddLog(_) | Self::Read(Read::Log(_)) => CallKind::Log,
            Self::Token => CallKind::Token,
            Self::Define(_) => CallKind::Metadata,
            Self::Start(_) | Self::Change(..) | Self::Read(Read::Workflow(_)) => CallKind::Workflow,
            Self::Read(Read::Task(_)) => CallKind::Ask,
            Self::Read(_) => CallKind::Other,
        }
    }

    /// Whether it wants no token (R-TOKEN-3).
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Token | Self::Read(Read::Version | Read::Health))
    }

    /// Whether its body must be called JSON (R-HTTP-5).
    pub(super) const fn wants_json(&self) -> bool {
        matches!(
            self,
            Self::Update | Self::UpdateV2 | Self::UpdateByReference(..) | Self::Define(_) | Self::Start(_)
        )
    }
}

impl Read<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Task(_) => "read_task",
            Self::Log(_) => "read_log",
            Self::TaskDefs | Self::TaskDef(_) => "read_taskdefs",
            Self::WorkflowDefs | Self::WorkflowDef(_) => "read_workflowdefs",
            Self::Workflow(_) | Self::Running(_) => "read_workflow",
            Self::QueueSize | Self::QueueSizes | Self::QueueAll | Self::QueueVerbose => "queue",
            Self::PollData | Self::PollDataAll => "polldata",
            Self::StorageLocation => "storage_location",
            Self::Version => "version",
            Self::Health => "health",
        }
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
