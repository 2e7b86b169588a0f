//! What has been asked about each task, for tests that count.

use downbeat_core::machine::TaskKey;
use serde::Serialize;

use super::result::{Gist, Matter};
use super::task::{Received, Status, Task};
use super::{Conductor, TaskCounts};

/// A task with what has been asked about it, as the control endpoint shows it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Told<'a> {
    task: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    workflow: &'a str,
    status: Status,
    attempt: u32,
    deliveries: u32,
    #[serde(flatten)]
    received: Received,
}

impl TaskCounts {
    /// Counts a report that arrived, extensions aside.
    pub(super) fn note(&mut self, task: &mut Task, status: Status) {
        if !status.is_final() {
            task.received.yields += 1;
            return;
        }
        self.results += 1;
        self.repeated_results += u64::from(task.received.results > 0);
        task.received.results += 1;
    }
}

impl Conductor {
    /// Counts a request about a task that a fault kept from having an effect.
    pub(crate) fn kept_off(&mut self, gist: &Gist) {
        let Self { tasks, counts, .. } = self;
        let task = tasks.get_mut(&TaskKey::from_id(&gist.task));
        let Some(task) = task.filter(|task| task.id == gist.task) else { return };
        task.received.kept_off += 1;
        match gist.matter {
            Matter::Extension => task.received.extensions += 1,
            Matter::Read => task.received.reads += 1,
            Matter::Report(Some(status)) => counts.note(task, status),
            Matter::Report(None) => {}
        }
    }

    /// Reads a task as a worker does, by `GET /api/tasks/ID`.
    pub(crate) fn read_task(&mut self, id: &str) -> Option<String> {
        let task = self.find_mut(id)?;
        task.received.reads += 1;
        Some(task.render())
    }

    /// What has been asked about a task that is still kept.
    pub(crate) fn received(&self, id: &str) -> Option<Received> {
        self.find(id).map(|task| task.received)
    }

    /// What has been asked about one task, as JSON.
    pub(crate) fn received_json(&self, id: &str) -> Option<String> {
        serde_json::to_string(&Told::new(self.find(id)?)).ok()
    }

    /// What has been asked about the tasks of a type, or about all, as JSON.
    pub(crate) fn all_received_json(&self, kind: Option<&str>) -> String {
        let tasks = self.tasks.values().filter(|task| kind.is_none_or(|kind| task.kind == kind));
        serde_json::to_string(&tasks.map(Told::new).collect::<Vec<_>>()).unwrap_or_default()
    }
}

impl<'a> Told<'a> {
    fn new(task: &'a Task) -> Self {
        Self {
            task: &task.id,
            kind: &task.kind,
            workflow: &task.workflow_id,
            status: task.status,
            attempt: task.retry_count,
            deliveries: task.poll_count,
            received: task.received,
        }
    }
}
