//! Results and heartbeats (R-UPDATE-1 to R-UPDATE-12), logs (R-LOG-1 to R-LOG-3), payload limits (R-PAYLOAD-2, R-PAYLOAD-3).

use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, TaskKey};
use serde_json::value::RawValue;

use super::json::{self, Raw};
use super::refused::Refused;
use super::result::TaskResult;
use super::task::{Log, Status, Task};
use super::{BATCH_LOGS_MAX, Caller, Conductor, refused, ticket};
use crate::model::{End, Stage, Taken, Update};

/// A longer reason is cut, in characters (R-RETRY-4).
const REASON_MAX: usize = 500;

impl Conductor {
    /// Takes a result or a heartbeat; whether it was a final one, so that `update-v2` polls (R-UPDATE-9).
    pub(crate) fn update(
        &mut self,
        now: Instant,
        caller: Caller,
        result: &TaskResult<'_>,
    ) -> Result<bool, Refused> {
        let key = TaskKey::from_id(&result.task);
        // R-LEASE-4: what is no extension to this generation is a report like any other.
        if result.extend && self.rules.generation.takes(result.beat()) == Taken::Extension {
            return self.extend(now, caller, &result.task).map(|()| false);
        }
        self.number_of(&result.workflow)?;
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.id == result.task) else {
            return Err(Refused::not_found(format!("No such task found by id: {}", result.task)));
        };
        let Some(status) = result.status else {
            return Err(Refused::failed(
                "Cannot invoke \"com.netflix.conductor.common.metadata.tasks.TaskResult$Status.name()\" because the return value of \"com.netflix.conductor.common.metadata.tasks.TaskResult.getStatus()\" is null",
            ));
        };
        if result.extend {
            task.received.extensions += 1;
        } else {
            self.counts.note(task, status);
        }
        // R-UPDATE-2: the first final result wins, and whatever follows is accepted and changes nothing.
        if task.status.is_final() {
            self.counts.ignored_reports += 1;
            return Ok(status.is_final());
        }
        let (status, reason, output, path) = self.bounded(status, result)?;
        let nul = self.rules.refuse_nul && result.has_nul();
        let update =
            Update { key, report: status.report(), callback_after: result.callback_after, take_next: false };
        let call = Some(CallId::from_bits(caller.call));
        self.server.update(now, ticket(caller.call), caller.token, call, update).map_err(refused)?;
        let Some(task) = self.tasks.get_mut(&key) else { return Ok(false) };
        task.updated = now.as_millis();
        task.reason = reason;
        task.worker.clone_from(&result.worker);
        (task.output, task.output_path) = (output, path);
        task.callback_after = result.callback_after.as_secs();
        let log = |(log, created_time): &(String, u64)| Log {
            log: log.clone(),
            task_id: result.task.clone(),
            created_time: *created_time,
        };
        let logs = if nul { &[] } else { result.logs.as_slice() };
        task.logs.extend(logs.iter().take(BATCH_LOGS_MAX).map(log));
        if status.is_final() {
            self.ended(now, key, status);
        } else {
            task.status = Status::Scheduled;
            self.counts.put_back += 1;
        }
        // R-TIMEOUT-3: what was put back too late has ended by now.
        self.absorb(now);
        // R-PAYLOAD-6: recorded, and refused all the same.
        if nul { Err(Refused::nul()) } else { Ok(status.is_final()) }
    }

    /// R-LEASE-3: a heartbeat moves the time of the last sign of life, and nothing else counts.
    fn extend(&mut self, now: Instant, caller: Caller, id: &str) -> Result<(), Refused> {
        let key = TaskKey::from_id(id);
        let missing = || Refused::not_found(format!("No such task found by id: {id}"));
        let task = self.tasks.get_mut(&key).filter(|task| task.id == id).ok_or_else(missing)?;
        task.received.extensions += 1;
        if task.status.is_final() {
            self.counts.ignored_reports += 1;
            return Ok(());
        }
        task.updated = now.as_millis();
        self.counts.extended += 1;
        self.server.extend(now, 0, caller.token, key).map_err(refused)?;
        self.absorb(now);
        Ok(())
    }

    /// Takes a result by workflow, reference and status. Returns the task's id, or `None` if all of that name
    /// have ended.
    pub(crate) fn update_by_reference(
        &mut self,
        now: Instant,
        caller: Caller,
        path: (&str, &str, &str),
        worker: Option<String>,
        output: &str,
    ) -> Result<Option<String>, Refused> {
        let (workflow, reference, word) = path;
        let Some(status) = Status::parse(word).filter(|status| status.may_be_reported()) else {
            return Err(Refused::failed(format!("No enum constant TaskResult.Status.{word}")));
        };
        let output: &RawValue = serde_json::from_str(output).map_err(|error| Refused::unreadable(&error))?;
        if !json::is_object(output) {
            return Err(Refused::failed(
                "JSON parse error: Cannot deserialize value of type `java.util.LinkedHashMap`",
            ));
        }
        let number = self.number_of(workflow)?;
        let Some(found) = self.workflows.get(&number) else { return Ok(None) };
        let pending = found.tasks.iter().rev().filter_map(|key| self.tasks.get(key));
        let pending = pending.filter(|task| !task.status.is_final() && task.reference == reference);
        let Some(task) = pending.map(|task| task.id.clone()).next() else { return Ok(None) };
        let result = TaskResult {
            workflow: workflow.to_owned(),
            task: task.clone(),
            status: Some(status),
            reason: None,
            callback_after: Duration::ZERO,
            worker,
            output: Some(output),
            logs: Vec::new(),
            extend: false,
        };
        self.update(now, caller, &result).map(|_| Some(task))
    }

    /// A result as the payload limits leave it.
    fn bounded(
        &mut self,
        status: Status,
        result: &TaskResult<'_>,
    ) -> Result<(Status, Option<String>, Raw, Option<String>), Refused> {
        let cut = |reason: &String| reason.chars().take(REASON_MAX).collect::<String>();
        let reason = result.reason.as_ref().map(cut);
        let Some(output) = result.output else { return Ok((status, reason, json::empty(), None)) };
        let size = output.get().len();
        if size > self.rules.output_max {
            let why = format!(
                "The payload size: {size} of task: {} in workflow: {}  is greater than the permissible limit: {} bytes",
                result.task, result.workflow, self.rules.output_max
            );
            return Ok((Status::FailedWithTerminalError, Some(why), json::empty(), None));
        }
        let output = json::parse(output.get()).map_err(|error| Refused::unreadable(&error))?;
        if size > self.rules.output_inline_max {
            let path = self.store(output);
            return Ok((status, reason, json::empty(), Some(path)));
        }
        Ok((status, reason, output, None))
    }

    /// Puts a payload into the external storage; its path there.
    pub(super) fn store(&mut self, payload: Raw) -> String {
        let path = format!("{}.json", super::task::uuid(self.next_id()));
        self.external.insert(path.clone(), payload);
        path
    }

    /// A payload of the external storage.
    pub(crate) fn stored(&self, path: &str) -> Option<Raw> {
        self.external.get(path).cloned()
    }

    // ---------------------------------------------------------------- logs

    /// Adds a line to a task's log; one for an unknown task is accepted and dropped (R-LOG-1).
    pub(crate) fn add_log(&mut self, now: Instant, id: &str, text: &str) -> Result<(), Refused> {
        if self.rules.refuse_nul && text.contains('\0') {
            return Err(Refused::nul());
        }
        if let Some(task) = self.tasks.get_mut(&TaskKey::from_id(id)).filter(|task| task.id == id) {
            let created_time = now.as_millis();
            task.logs.push(Log { log: text.to_owned(), task_id: id.to_owned(), created_time });
        }
        Ok(())
    }

    /// The log of a task; empty for an unknown one.
    pub(crate) fn logs(&self, id: &str) -> Vec<Log> {
        self.find(id).map(|task| task.logs.clone()).unwrap_or_default()
    }

    // ---------------------------------------------------------------- ends

    /// The model server ended a task: TIMED_OUT.
    pub(super) fn lapsed(&mut self, now: Instant, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let Some(Stage::Ended(end)) = self.server.view(key).map(|view| view.stage) else { return };
        let Task { id, kind, response_timeout, .. } = &*task;
        task.reason = Some(match end {
            End::NoResponse => format!(
                "responseTimeout: {response_timeout} exceeded for the taskId: {id} with Task Definition: {kind}"
            ),
            End::Overran => {
                format!("Task timed out after its timeoutSeconds. taskId: {id}, Task Definition: {kind}")
            }
            End::NotPolled => format!("Task poll timed out. taskId: {id}, Task Definition: {kind}"),
            End::Reported(_) | End::Canceled => return,
        });
        self.ended(now, key, Status::TimedOut);
    }

    /// A task has ended: its retry is there already, or its workflow goes on (R-RETRY-1, R-WORKFLOW-3).
    pub(super) fn ended(&mut self, now: Instant, key: TaskKey, status: Status) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.status = status;
        task.ended = now.as_millis();
        self.counts.ended += 1;
        let counts = &mut self.counts;
        match status {
            Status::Completed => counts.completed += 1,
            Status::Failed => counts.failed += 1,
            Status::FailedWithTerminalError => counts.failed_terminally += 1,
            Status::TimedOut => counts.timed_out += 1,
            Status::Canceled => counts.canceled += 1,
            Status::Scheduled | Status::InProgress => {}
        }
        self.follow(now, key, status);
    }

    /// What follows the end of a task.
    pub(super) fn follow(&mut self, now: Instant, key: TaskKey, status: Status) {
        match self.server.view(key).and_then(|view| view.retried_as) {
            Some(next) => self.retried(now, key, next),
            None => self.decide(now, key, status),
        }
    }
}
