//! Bodies as a worker writes them, to compare with.

use std::time::Duration;

use downbeat_core::wire::{Full, Log, Out, Output, Status, TaskResult};

/// Builds the body of a report, in the order of members in which core writes it.
///
/// ```
/// use downbeat_mock::ResultBuilder;
/// let body = ResultBuilder::completed("t1", "w1").output(r#"{"n":1}"#).json();
/// assert_eq!(body, r#"{"taskId":"t1","workflowInstanceId":"w1","status":"COMPLETED","outputData":{"n":1}}"#);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "ends with `json`"]
pub struct ResultBuilder {
    task_id: String,
    workflow_id: String,
    worker_id: String,
    end: End,
    output: String,
    logs: Vec<(String, i64)>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum End {
    Completed,
    Failed(String),
    Terminal(String),
    InProgress(Duration),
}

impl ResultBuilder {
    /// `COMPLETED`, with `{}` as output.
    pub fn completed(task_id: &str, workflow_id: &str) -> Self {
        Self::new(task_id, workflow_id, End::Completed)
    }

    /// `FAILED`, for this reason.
    pub fn failed(task_id: &str, workflow_id: &str, reason: &str) -> Self {
        Self::new(task_id, workflow_id, End::Failed(reason.to_owned()))
    }

    /// `FAILED_WITH_TERMINAL_ERROR`, for this reason.
    pub fn terminal(task_id: &str, workflow_id: &str, reason: &str) -> Self {
        Self::new(task_id, workflow_id, End::Terminal(reason.to_owned()))
    }

    /// `IN_PROGRESS`, to be delivered again after this time (whole seconds on the wire).
    pub fn in_progress(task_id: &str, workflow_id: &str, callback_after: Duration) -> Self {
        Self::new(task_id, workflow_id, End::InProgress(callback_after))
    }

    /// `workerId`.
    pub fn worker(mut self, id: &str) -> Self {
        id.clone_into(&mut self.worker_id);
        self
    }

    /// `outputData`, as raw JSON.
    pub fn output(mut self, json: &str) -> Self {
        json.clone_into(&mut self.output);
        self
    }

    /// A log line, with its time in milliseconds since 1970.
    pub fn log(mut self, text: &str, created: i64) -> Self {
        self.logs.push((text.to_owned(), created));
        self
    }

    /// The body.
    ///
    /// # Panics
    /// When the output is not a JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        let output = match Output::new(self.output.as_bytes()) {
            Ok(output) => output,
            Err(error) => panic!("`ResultBuilder::output`: {error}"),
        };
        let logs: Vec<Log<'_>> =
            self.logs.iter().map(|(text, created)| Log { text, created: *created }).collect();
        let status = match &self.end {
            End::Completed => Status::Completed,
            End::Failed(reason) => Status::Failed { reason },
            End::Terminal(reason) => Status::FailedTerminal { reason },
            End::InProgress(callback_after) => Status::InProgress { callback_after: *callback_after },
        };
        let result = TaskResult {
            task_id: &self.task_id,
            workflow_id: &self.workflow_id,
            worker_id: &self.worker_id,
            status,
            output,
            logs: &logs,
        };
        let mut body = Growing(Vec::new());
        match result.encode(&mut body) {
            Ok(()) | Err(Full) => String::from_utf8_lossy(&body.0).into_owned(),
        }
    }

    fn new(task_id: &str, workflow_id: &str, end: End) -> Self {
        Self {
            task_id: task_id.to_owned(),
            workflow_id: workflow_id.to_owned(),
            worker_id: String::new(),
            end,
            output: "{}".to_owned(),
            logs: Vec::new(),
        }
    }
}

/// A buffer that is never full.
struct Growing(Vec<u8>);

impl Out for Growing {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
