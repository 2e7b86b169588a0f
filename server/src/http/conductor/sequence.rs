//! Workflows: SIMPLE tasks in sequence (R-WORKFLOW-1 to R-WORKFLOW-5).

use std::collections::BTreeMap;
use std::sync::Arc;

use downbeat_core::machine::{Instant, TaskKey};
use serde::Serialize;
use serde_json::value::RawValue;

use super::definitions::WorkflowTask;
use super::json::{self, Raw};
use super::refused::Refused;
use super::task::{Received, Status, Task, id_of, uuid};
use super::workflow::{Start, TaskView, Workflow, WorkflowStatus, WorkflowView};
use super::{Conductor, fill};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    owner_app: &'a str,
    create_time: u64,
    update_time: u64,
    status: WorkflowStatus,
    end_time: u64,
    workflow_id: &'a str,
    tasks: Vec<Box<RawValue>>,
    input: &'a RawValue,
    output: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_for_incompletion: Option<&'a str>,
    task_to_domain: &'a BTreeMap<String, String>,
    failed_reference_task_names: &'a [String],
    workflow_definition: &'a RawValue,
    priority: u32,
    variables: BTreeMap<String, String>,
    last_retried_time: u64,
    failed_task_names: Vec<String>,
    start_time: u64,
    workflow_name: &'a str,
    workflow_version: i64,
}

impl Conductor {
    /// Starts a workflow, whose first task is scheduled before the answer, and returns its id.
    pub(crate) fn start(&mut self, now: Instant, start: Start<'_>) -> Result<String, Refused> {
        let Start { name, version, input, correlation_id, task_to_domain } = start;
        let versions = self.workflow_defs.get(&name);
        let definition = match version {
            Some(version) => versions.and_then(|versions| versions.get(&version)),
            None => versions.and_then(|versions| versions.values().next_back()),
        };
        let Some(definition) = definition.cloned() else {
            let version = version.map(|version| format!(", version={version}")).unwrap_or_default();
            return Err(Refused::not_found(format!("No such workflow defined. name={name}{version}")));
        };
        let number = self.next_id();
        let id = uuid(number);
        let workflow = Workflow {
            id: id.clone(),
            tasks: Vec::new(),
            definition,
            status: WorkflowStatus::Running,
            reason: None,
            correlation: correlation_id,
            created: now.as_millis(),
            updated: now.as_millis(),
            ended: 0,
            input: input
                .filter(|input| json::is_object(input))
                .map_or_else(json::empty, |input| input.to_owned().into()),
            output: json::empty(),
            domains: task_to_domain.unwrap_or_default(),
            failed: Vec::new(),
            undecided: Vec::new(),
        };
        self.workflows.insert(number, workflow);
        self.go_on(now, number, 0);
        Ok(id)
    }

    /// A workflow as the server writes it.
    pub(crate) fn workflow_json(&self, id: &str, with_tasks: bool) -> Result<String, Refused> {
        let number = self.number_of(id)?;
        let Some(workflow) = self.workflows.get(&number) else { return Ok(String::new()) };
        let tasks = workflow.tasks.iter().filter(|_| with_tasks).filter_map(|key| self.tasks.get(key));
        let wire = Wire {
            owner_app: "",
            create_time: workflow.created,
            update_time: workflow.updated,
            status: workflow.status,
            end_time: workflow.ended,
            workflow_id: &workflow.id,
            tasks: tasks.filter_map(|task| RawValue::from_string(task.render()).ok()).collect(),
            input: &workflow.input,
            output: &workflow.output,
            correlation_id: workflow.correlation.as_deref(),
            reason_for_incompletion: workflow.reason.as_deref(),
            task_to_domain: &workflow.domains,
            failed_reference_task_names: &workflow.failed,
            workflow_definition: &workflow.definition.raw,
            priority: 0,
            variables: BTreeMap::new(),
            last_retried_time: 0,
            failed_task_names: Vec::new(),
            start_time: workflow.created,
            workflow_name: &workflow.definition.name,
            workflow_version: workflow.definition.version,
        };
        serde_json::to_string(&wire).map_err(|error| Refused::failed(error.to_string()))
    }

    /// A workflow for a reader in Rust.
    pub(crate) fn workflow_view(&self, id: &str) -> Option<WorkflowView> {
        let workflow = self.workflows.get(&self.number_of(id).ok()?)?;
        let tasks = workflow.tasks.iter().filter_map(|key| self.tasks.get(key)).map(|task| TaskView {
            id: task.id.clone(),
            kind: task.kind.clone(),
            reference: task.reference.clone(),
            status: task.status,
            attempt: task.retry_count,
            polls: task.poll_count,
            reason: task.reason.clone(),
            worker: task.worker.clone(),
            input: task.input.get().to_owned(),
            output: task.output.get().to_owned(),
            logs: task.logs.iter().map(|log| log.log.clone()).collect(),
            received: task.received,
        });
        Some(WorkflowView {
            id: workflow.id.clone(),
            status: workflow.status,
            reason: workflow.reason.clone(),
            output: workflow.output.get().to_owned(),
            tasks: tasks.collect(),
        })
    }

    /// How many workflows there are of each status.
    pub(crate) fn workflow_counts(&self) -> BTreeMap<WorkflowStatus, u64> {
        let mut counts = self.forgotten.clone();
        for workflow in self.workflows.values() {
            *counts.entry(workflow.status).or_default() += 1;
        }
        counts
    }

    /// The ids of the workflows of a name that run.
    pub(crate) fn running_workflows(&self, name: &str) -> Vec<String> {
        let running = self.workflows.values().filter(|workflow| workflow.status == WorkflowStatus::Running);
        running
            .filter(|workflow| workflow.definition.name == name)
            .map(|workflow| workflow.id.clone())
            .collect()
    }

    pub(super) fn number_of(&self, id: &str) -> Result<u128, Refused> {
        let number = TaskKey::from_id(id).to_u128();
        let known = self.workflows.get(&number).is_some_and(|workflow| workflow.id == id);
        if known {
            Ok(number)
        } else {
            Err(Refused::not_found(format!("No such workflow found by id: {id}")))
        }
    }

    // ---------------------------------------------------------------- deciding

    /// The decider, which runs inside the request: what follows the end of a task (R-WORKFLOW-3, R-WORKFLOW-4).
    pub(super) fn decide(&mut self, now: Instant, key: TaskKey, status: Status) {
        let Some(task) = self.tasks.get(&key) else { return };
        let (number, place, reference) = (task.workflow, task.place, task.reference.clone());
        let reason = task.reason.clone();
        let id = task.id.clone();
        let Some(workflow) = self.workflows.get_mut(&number) else { return };
        if workflow.status == WorkflowStatus::Paused {
            return workflow.undecided.push((key, status));
        }
        if workflow.status != WorkflowStatus::Running {
            return;
        }
        let end = match status {
            Status::Completed => return self.go_on(now, number, place + 1),
            Status::TimedOut => WorkflowStatus::TimedOut,
            Status::Canceled => WorkflowStatus::Terminated,
            Status::Failed | Status::FailedWithTerminalError | Status::Scheduled | Status::InProgress => {
                WorkflowStatus::Failed
            }
        };
        workflow.failed.push(reference);
        let word = serde_json::to_string(&end).unwrap_or_default();
        let reason = reason.unwrap_or_else(|| "null".to_owned());
        let word = word.trim_matches('"');
        let why = format!("Task {id} failed with status: {word} and reason: '{reason}'");
        workflow.end(now, end, Some(why));
        self.remember(number);
    }

    /// Schedules the task at a place of the definition, or ends the workflow after the last.
    pub(super) fn go_on(&mut self, now: Instant, number: u128, place: usize) {
        let Some(workflow) = self.workflows.get(&number) else { return };
        let definition = Arc::clone(&workflow.definition);
        let Some(wanted) = definition.tasks.get(place) else { return self.complete(now, number) };
        let filled = fill::fill(&wanted.input_parameters, &|path| self.find_source(workflow, path));
        let task_def = self.task_def(&wanted.name);
        let input = with_template(&filled, &task_def.input_template);
        let domain = workflow.domains.get(&wanted.name).or_else(|| workflow.domains.get("*")).cloned();
        let (workflow_id, seq) = (workflow.id.clone(), workflow.tasks.len());
        let kind = self.kind(&wanted.name, domain.as_deref());
        let Some(key) = self.server.schedule(now, kind) else { return };
        let too_long = input.get().len() > self.rules.input_inline_max;
        let input_path = too_long.then(|| self.store(Raw::clone(&input)));
        let definition_json = json::of(&task_def);
        let task = Task {
            id: id_of(key),
            workflow: number,
            workflow_id,
            workflow_name: definition.name.clone(),
            kind: wanted.name.clone(),
            domain,
            reference: wanted.reference.clone(),
            place,
            seq: u32::try_from(seq + 1).unwrap_or(u32::MAX),
            status: Status::Scheduled,
            retry_count: 0,
            poll_count: 0,
            scheduled: now.as_millis(),
            started: 0,
            ended: 0,
            updated: now.as_millis(),
            start_delay: 0,
            response_timeout: task_def.response_timeout_seconds,
            retry_of: None,
            retried: false,
            reason: None,
            callback_after: 0,
            worker: None,
            input: if too_long { json::empty() } else { input },
            output: json::empty(),
            input_path,
            output_path: None,
            logs: Vec::new(),
            workflow_task: workflow_task(wanted, &definition_json),
            definition: definition_json,
            received: Received::default(),
        };
        self.add(number, key, task);
    }

    fn add(&mut self, number: u128, key: TaskKey, task: Task) {
        self.tasks.insert(key, task);
        self.counts.scheduled += 1;
        if let Some(workflow) = self.workflows.get_mut(&number) {
            workflow.tasks.push(key);
        }
    }

    /// R-RETRY-1: a retry is a new task with a new id, and the input and reason of the one that failed.
    pub(super) fn retried(&mut self, now: Instant, key: TaskKey, next: TaskKey) {
        let Some(old) = self.tasks.get_mut(&key) else { return };
        old.retried = true;
        let number = old.workflow;
        let seq = self.workflows.get(&number).map_or(1, |workflow| workflow.tasks.len() + 1);
        let task = Task {
            id: id_of(next),
            workflow_id: old.workflow_id.clone(),
            workflow_name: old.workflow_name.clone(),
            kind: old.kind.clone(),
            domain: old.domain.clone(),
            reference: old.reference.clone(),
            seq: u32::try_from(seq).unwrap_or(u32::MAX),
            status: Status::Scheduled,
            retry_count: old.retry_count + 1,
            poll_count: 0,
            scheduled: now.as_millis(),
            started: 0,
            ended: 0,
            updated: now.as_millis(),
            retry_of: Some(old.id.clone()),
            retried: false,
            reason: old.reason.clone(),
            callback_after: 0,
            worker: None,
            input: Raw::clone(&old.input),
            output: json::empty(),
            input_path: old.input_path.clone(),
            output_path: None,
            logs: Vec::new(),
            definition: Raw::clone(&old.definition),
            workflow_task: Raw::clone(&old.workflow_task),
            received: Received::default(),
            ..*old
        };
        self.add(number, next, task);
    }

    /// R-WORKFLOW-5: the output is the definition's `outputParameters`, or else the last task's output.
    fn complete(&mut self, now: Instant, number: u128) {
        let Some(workflow) = self.workflows.get(&number) else { return };
        let parameters = &workflow.definition.output_parameters;
        let output = if parameters.get() == "{}" {
            workflow.tasks.last().and_then(|key| self.tasks.get(key)).map(|task| Raw::clone(&task.output))
        } else {
            json::parse(&fill::fill(parameters, &|path| self.find_source(workflow, path))).ok()
        };
        let Some(workflow) = self.workflows.get_mut(&number) else { return };
        workflow.output = output.unwrap_or_else(json::empty);
        workflow.end(now, WorkflowStatus::Completed, None);
        self.remember(number);
    }

    /// The value at `workflow.input.x` or `ref.output.x`.
    fn find_source(&self, workflow: &Workflow, path: &str) -> Option<String> {
        let (whose, rest) = path.split_once('.').unwrap_or((path, ""));
        let (what, rest) = rest.split_once('.').unwrap_or((rest, ""));
        let text = |text: &str| serde_json::to_string(text).ok();
        if whose == "workflow" {
            return match what {
                "input" => fill::at_path(workflow.input.get(), rest),
                "output" => fill::at_path(workflow.output.get(), rest),
                "workflowId" => text(&workflow.id),
                "workflowType" => text(&workflow.definition.name),
                "version" => Some(workflow.definition.version.to_string()),
                "correlationId" => workflow.correlation.as_deref().and_then(text),
                _ => None,
            };
        }
        let tasks = workflow.tasks.iter().rev().filter_map(|key| self.tasks.get(key));
        let task = tasks.filter(|task| task.reference == whose).max_by_key(|task| task.seq)?;
        match what {
            "output" => fill::at_path(task.output_in_full(self).get(), rest),
            "input" => fill::at_path(task.input.get(), rest),
            "taskId" => text(&task.id),
            "status" => serde_json::to_string(&task.status).ok(),
            _ => None,
        }
    }
}

impl Task {
    /// The output, also if it lies in the external storage.
    fn output_in_full(&self, conductor: &Conductor) -> Raw {
        let stored = self.output_path.as_deref().and_then(|path| conductor.stored(path));
        stored.unwrap_or_else(|| Raw::clone(&self.output))
    }
}

/// An input with what the definition's `inputTemplate` adds.
fn with_template(input: &str, template: &RawValue) -> Raw {
    let given = json::members(input).unwrap_or_default();
    let mut all = json::members(template.get()).unwrap_or_default();
    if all.is_empty() {
        return json::parse(input).unwrap_or_else(|_| json::empty());
    }
    all.extend(given);
    json::of(&all)
}

/// `workflowTask`, with the task definition in it, as a real server has it.
fn workflow_task(task: &WorkflowTask, definition: &RawValue) -> Raw {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire<'a> {
        name: &'a str,
        task_reference_name: &'a str,
        input_parameters: &'a RawValue,
        #[serde(rename = "type")]
        kind: &'static str,
        decision_cases: BTreeMap<String, String>,
        default_case: [u8; 0],
        fork_tasks: [u8; 0],
        start_delay: u32,
        join_on: [u8; 0],
        optional: bool,
        task_definition: &'a RawValue,
        default_exclusive_join_task: [u8; 0],
        async_complete: bool,
        loop_over: [u8; 0],
        on_state_change: BTreeMap<String, String>,
        permissive: bool,
    }
    json::of(&Wire {
        name: &task.name,
        task_reference_name: &task.reference,
        input_parameters: &task.input_parameters,
        kind: "SIMPLE",
        decision_cases: BTreeMap::new(),
        default_case: [],
        fork_tasks: [],
        start_delay: 0,
        join_on: [],
        optional: false,
        task_definition: definition,
        default_exclusive_join_task: [],
        async_complete: false,
        loop_over: [],
        on_state_change: BTreeMap::new(),
        permissive: false,
    })
}
