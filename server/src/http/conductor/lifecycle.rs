//! What people do to a workflow: end it, start it anew, pause it, delete it (R-UPDATE-6, R-UPDATE-13, R-WORKFLOW-6).

use downbeat_core::machine::{Instant, TaskKey};

use super::Conductor;
use super::refused::Refused;
use super::task::Status;
use super::workflow::WorkflowStatus;

/// What is done to a workflow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// It ends, TERMINATED.
    Terminate,
    /// One that has ended begins anew, under its old id.
    Restart,
    /// It stops for a while.
    Pause,
    /// It goes on.
    Resume,
    /// It is forgotten, with its tasks.
    Remove,
}

impl Conductor {
    /// Changes a workflow; 409 if its status forbids it.
    pub(crate) fn change(
        &mut self,
        now: Instant,
        id: &str,
        change: Change,
        reason: Option<String>,
    ) -> Result<(), Refused> {
        let number = self.number_of(id)?;
        let Some(workflow) = self.workflows.get(&number) else { return Ok(()) };
        let fits = match (change, workflow.status) {
            (Change::Remove, _)
            | (Change::Terminate, WorkflowStatus::Running | WorkflowStatus::Paused)
            | (Change::Pause, WorkflowStatus::Running)
            | (Change::Resume, WorkflowStatus::Paused) => true,
            (Change::Restart, status) => !matches!(status, WorkflowStatus::Running | WorkflowStatus::Paused),
            (Change::Terminate | Change::Pause | Change::Resume, _) => false,
        };
        if !fits {
            let word = serde_json::to_string(&workflow.status).unwrap_or_default();
            let word = word.trim_matches('"');
            return Err(Refused::new(409, format!("Workflow {id} is {word}, so this cannot be done to it")));
        }
        match change {
            Change::Terminate => self.terminate(now, number, reason),
            Change::Restart => self.restart(now, number),
            Change::Pause => self.pause(number),
            Change::Resume => self.resume(now, number),
            Change::Remove => self.remove(now, number),
        }
        Ok(())
    }

    /// R-UPDATE-6: what has not ended is CANCELED.
    fn terminate(&mut self, now: Instant, number: u128, reason: Option<String>) {
        let Some(workflow) = self.workflows.get_mut(&number) else { return };
        let tasks = workflow.tasks.clone();
        workflow.end(now, WorkflowStatus::Terminated, reason);
        for key in tasks {
            if self.server.cancel(now, key) {
                self.ended(now, key, Status::Canceled);
            }
        }
        self.remember(number);
    }

    /// R-UPDATE-13: its tasks are gone, and whoever still works on one is told 404.
    fn restart(&mut self, now: Instant, number: u128) {
        let Some(workflow) = self.workflows.get_mut(&number) else { return };
        workflow.begin_again(now);
        let tasks = std::mem::take(&mut workflow.tasks);
        self.ended.retain(|ended| *ended != number);
        self.forget(tasks);
        self.go_on(now, number, 0);
    }

    /// R-WORKFLOW-6: polls and results as ever, but no timeout, no retry and no next task.
    fn pause(&mut self, number: u128) {
        let Some(workflow) = self.workflows.get_mut(&number) else { return };
        workflow.status = WorkflowStatus::Paused;
        for key in &workflow.tasks {
            self.server.hold(*key);
        }
    }

    fn resume(&mut self, now: Instant, number: u128) {
        let Some(workflow) = self.workflows.get_mut(&number) else { return };
        workflow.status = WorkflowStatus::Running;
        let undecided = std::mem::take(&mut workflow.undecided);
        for key in workflow.tasks.clone() {
            self.server.release(now, key);
        }
        for (key, status) in undecided {
            self.follow(now, key, status);
        }
    }

    fn remove(&mut self, now: Instant, number: u128) {
        let Some(workflow) = self.workflows.get(&number) else { return };
        for key in workflow.tasks.clone() {
            self.server.cancel(now, key);
        }
        self.ended.retain(|ended| *ended != number);
        self.drop_workflow(number);
    }

    /// A workflow has ended: it is kept, and the oldest is forgotten if there are too many.
    pub(super) fn remember(&mut self, number: u128) {
        self.ended.push_back(number);
        while self.ended.len() > self.rules.ended_kept {
            let Some(oldest) = self.ended.pop_front() else { return };
            self.drop_workflow(oldest);
        }
    }

    /// Forgets a workflow with its tasks; it counts all the same.
    fn drop_workflow(&mut self, number: u128) {
        let Some(workflow) = self.workflows.remove(&number) else { return };
        *self.forgotten.entry(workflow.status).or_default() += 1;
        self.forget(workflow.tasks);
    }

    /// Forgets tasks that have ended, with their payloads in the external storage.
    fn forget(&mut self, tasks: Vec<TaskKey>) {
        for key in tasks {
            self.server.forget(key);
            let Some(task) = self.tasks.remove(&key) else { continue };
            for path in [task.input_path, task.output_path].into_iter().flatten() {
                self.external.remove(&path);
            }
        }
    }
}
