//! Bodies as the real server writes them.

use std::time::Duration;

use downbeat_core::machine::{TaskKey, TaskMeta};

use crate::expect::quoted;

/// Builds a task as a real Conductor 3.32.1 sends it: null members left out, empty maps there, the definition in it
/// twice, 2.3 KB for the smallest.
///
/// ```
/// use downbeat_core::wire::{Element, tasks};
/// use downbeat_mock::TaskBuilder;
///
/// let json = TaskBuilder::new("greet", "t1").input(r#"{"name":"Ada"}"#).response_timeout(30).json();
/// let Some(Ok(Element::Task(task))) = tasks(json.as_bytes()).next() else { panic!("a task") };
/// assert_eq!((task.ids.task.as_str(), task.input), ("t1", &br#"{"name":"Ada"}"#[..]));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "ends with `json`, or goes into `Answer::tasks`"]
pub struct TaskBuilder {
    task_type: String,
    task_id: String,
    workflow_id: String,
    input: String,
    output: String,
    response_timeout: u64,
    retry_count: u32,
    poll_count: u32,
    domain: Option<String>,
    external_input: Option<String>,
    extra: String,
}

impl TaskBuilder {
    /// Begins with a task of this type and id, of workflow `w1`, with `{}` as input and a response timeout of an
    /// hour, polled for the first time.
    pub fn new(task_type: &str, task_id: &str) -> Self {
        Self {
            task_type: task_type.to_owned(),
            task_id: task_id.to_owned(),
            workflow_id: "w1".to_owned(),
            input: "{}".to_owned(),
            output: "{}".to_owned(),
            response_timeout: 3600,
            retry_count: 0,
            poll_count: 1,
            domain: None,
            external_input: None,
            extra: String::new(),
        }
    }

    /// The workflow's id.
    pub fn workflow(mut self, id: &str) -> Self {
        id.clone_into(&mut self.workflow_id);
        self
    }

    /// `inputData`, as raw JSON; nothing checks it, so that it may be malformed.
    pub fn input(mut self, json: &str) -> Self {
        json.clone_into(&mut self.input);
        self
    }

    /// `outputData`, as raw JSON: what the task yielded with last time.
    pub fn output(mut self, json: &str) -> Self {
        json.clone_into(&mut self.output);
        self
    }

    /// `responseTimeoutSeconds`: how long the lease is; 0: there is none.
    pub const fn response_timeout(mut self, seconds: u64) -> Self {
        self.response_timeout = seconds;
        self
    }

    /// `retryCount`: how often the task was retried before.
    pub const fn retry_count(mut self, count: u32) -> Self {
        self.retry_count = count;
        self
    }

    /// `pollCount`: how often the task was delivered, this time included.
    pub const fn poll_count(mut self, count: u32) -> Self {
        self.poll_count = count;
        self
    }

    /// `domain`.
    pub fn domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }

    /// `externalInputPayloadStoragePath`: the input is kept elsewhere, and `inputData` is `{}`.
    pub fn external_input(mut self, path: &str) -> Self {
        self.external_input = Some(path.to_owned());
        self.input("{}")
    }

    /// A further member, with its value as raw JSON. It comes last, so it counts if there is another.
    pub fn member(mut self, name: &str, json: &str) -> Self {
        self.extra.push_str(&format!(",{}:{json}", quoted(name)));
        self
    }

    /// What the machine is told of the task.
    #[must_use]
    pub fn meta(&self) -> TaskMeta {
        let response_timeout =
            (self.response_timeout > 0).then(|| Duration::from_secs(self.response_timeout));
        TaskMeta::new(TaskKey::from_id(&self.task_id), response_timeout)
    }

    /// The task as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let Self { input, output, response_timeout, retry_count, poll_count, extra, .. } = self;
        let (name, id, workflow) =
            (quoted(&self.task_type), quoted(&self.task_id), quoted(&self.workflow_id));
        let definition = definition(&name, *response_timeout);
        let optional = |member: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| format!(",\"{member}\":{}", quoted(value)))
        };
        let domain = optional("domain", &self.domain);
        let external = optional("externalInputPayloadStoragePath", &self.external_input);
        format!(
            r#"{{"taskType":{name},"status":"IN_PROGRESS","inputData":{input},"referenceTaskName":"r1","retryCount":{retry_count},"seq":1,"pollCount":{poll_count},"taskDefName":{name},"scheduledTime":1795568181356,"startTime":1795568181578,"endTime":0,"updateTime":1795568181639,"startDelayInSeconds":0,"retried":false,"executed":false,"callbackFromWorker":true,"responseTimeoutSeconds":{response_timeout},"workflowInstanceId":{workflow},"workflowType":"wf1","taskId":{id},"callbackAfterSeconds":0,"workerId":"w1","outputData":{output},"workflowTask":{{"name":{name},"taskReferenceName":"r1","inputParameters":{{}},"type":"SIMPLE","decisionCases":{{}},"defaultCase":[],"forkTasks":[],"startDelay":0,"joinOn":[],"optional":false,"taskDefinition":{definition},"defaultExclusiveJoinTask":[],"asyncComplete":false,"loopOver":[],"onStateChange":{{}},"permissive":false}}{domain},"rateLimitPerFrequency":0,"rateLimitFrequencyInSeconds":1{external},"workflowPriority":0,"iteration":0,"subworkflowChanged":false,"firstStartTime":0,"executionMetadata":{{"additionalContext":{{}},"empty":true,"additionalContextMap":{{}}}},"taskDefinition":{definition},"loopOverTask":false,"queueWaitTime":222{extra}}}"#
        )
    }
}

fn definition(name: &str, response_timeout: u64) -> String {
    format!(
        r#"{{"createTime":1795571678410,"updateTime":1795571678432,"createdBy":"","updatedBy":"","name":{name},"retryCount":3,"timeoutSeconds":0,"inputKeys":[],"outputKeys":[],"runtimeMetadata":[],"timeoutPolicy":"TIME_OUT_WF","retryLogic":"FIXED","retryDelaySeconds":60,"responseTimeoutSeconds":{response_timeout},"inputTemplate":{{}},"rateLimitPerFrequency":0,"rateLimitFrequencyInSeconds":1,"ownerEmail":"a@example.com","backoffScaleFactor":1,"maxRetryDelaySeconds":0,"backoffJitterMs":0,"totalTimeoutSeconds":0,"taskStatusListenerEnabled":true,"enforceSchema":false}}"#
    )
}

/// The body of a batch poll's answer: an array of these tasks.
///
/// ```
/// use downbeat_mock::{TaskBuilder, poll_answer};
/// assert_eq!(poll_answer([]), "[]");
/// assert!(poll_answer([&TaskBuilder::new("greet", "t1")]).starts_with(r#"[{"taskType":"greet""#));
/// ```
#[must_use]
pub fn poll_answer<'t>(tasks: impl IntoIterator<Item = &'t TaskBuilder>) -> String {
    let tasks: Vec<String> = tasks.into_iter().map(TaskBuilder::json).collect();
    format!("[{}]", tasks.join(","))
}

/// The body of an error, as Conductor writes it.
#[must_use]
pub fn error_body(status: u16, message: &str) -> String {
    let message = quoted(message);
    format!(r#"{{"status":{status},"message":{message},"instance":"vm","retryable":false}}"#)
}

/// The body of `POST /token`'s answer.
#[must_use]
pub fn token_body(token: &str) -> String {
    format!(r#"{{"token":{}}}"#, quoted(token))
}
