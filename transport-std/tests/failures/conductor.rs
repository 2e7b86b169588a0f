//! A small Conductor: it keeps tasks and what was reported of them, and has one quirk per test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::support::{Answer, PATIENCE, Received, Server, json};

/// What is known of one task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    pub(crate) task_type: String,
    /// As the server says it: `SCHEDULED`, `IN_PROGRESS`, and whatever was reported.
    pub(crate) status: String,
    /// The reason of a failure.
    pub(crate) reason: String,
    /// How often a result of it arrived, whether it was taken or not.
    pub(crate) results: usize,
    deliveries: usize,
    /// Members of the task besides the usual ones: each begins with a comma.
    members: String,
}

/// The server's memory.
#[derive(Default)]
pub(crate) struct Conductor {
    tasks: Mutex<BTreeMap<String, Task>>,
    changed: Condvar,
}

impl Conductor {
    /// Starts a server that answers what `quirk` leaves to it.
    pub(crate) fn start(
        tasks: &[(&str, &str)],
        quirk: impl Fn(&Self, &Received) -> Option<Answer> + Send + Sync + 'static,
    ) -> (Arc<Self>, Server) {
        let conductor = Arc::new(Self::default());
        for (id, task_type) in tasks {
            conductor.schedule(id, task_type, r#","responseTimeoutSeconds":60"#);
        }
        let serving = Arc::clone(&conductor);
        let server = Server::start(move |received: &Received| {
            quirk(&serving, received).unwrap_or_else(|| serving.answer(received))
        });
        (conductor, server)
    }

    pub(crate) fn schedule(&self, id: &str, task_type: &str, members: &str) {
        let task = Task {
            task_type: task_type.to_owned(),
            status: "SCHEDULED".to_owned(),
            members: members.to_owned(),
            ..Task::default()
        };
        self.lock().insert(id.to_owned(), task);
        self.changed.notify_all();
    }

    /// The task ends otherwise: its workflow is terminated (`CANCELED`), or its lease is over (`TIMED_OUT`).
    pub(crate) fn end(&self, id: &str, status: &str) {
        self.lock().get_mut(id).unwrap().status = status.to_owned();
        self.changed.notify_all();
    }

    /// The workflow is restarted: the server does not know the task any more.
    pub(crate) fn forget(&self, id: &str) {
        self.lock().remove(id).unwrap();
    }

    pub(crate) fn task(&self, id: &str) -> Task {
        self.lock().get(id).unwrap().clone()
    }

    /// All tasks, in the order of their ids.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        self.lock().values().cloned().collect()
    }

    /// Waits until so many tasks have ended.
    pub(crate) fn wait_ended(&self, count: usize) {
        self.wait("ended tasks", |tasks| {
            tasks.values().filter(|task| is_over(&task.status)).count() >= count
        });
    }

    /// Waits until `enough` says so of all tasks.
    pub(crate) fn wait(&self, what: &str, enough: impl Fn(&BTreeMap<String, Task>) -> bool) {
        let wait = self.changed.wait_timeout_while(self.lock(), PATIENCE, |tasks| !enough(tasks));
        let (tasks, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "no {what} in time: {:#?}", *tasks);
    }

    /// What a server without quirks answers.
    pub(crate) fn answer(&self, received: &Received) -> Answer {
        let path = received.target.strip_prefix("/api/tasks").unwrap_or_default();
        if let Some((task_type, query)) =
            path.strip_prefix("/poll/batch/").and_then(|rest| rest.split_once('?'))
        {
            let count = query.split('&').find_map(|part| part.strip_prefix("count="));
            let count = count.and_then(|count| count.parse().ok()).unwrap_or(1);
            return json(200, format!("[{}]", self.deliver(task_type, count).join(",")));
        }
        match (received.method.as_str(), path) {
            ("POST", "") => self.update(&received.body).1,
            ("POST", "/update-v2") => match self.update(&received.body) {
                (Some(task_type), answer) if answer.status == 200 => {
                    self.deliver(&task_type, 1).pop().map_or_else(|| json(204, ""), |task| json(200, task))
                }
                (_, answer) => answer,
            },
            ("GET", _) => self.state(path.trim_start_matches('/')),
            _ if received.target == "/api/token" => json(200, r#"{"token":"one"}"#),
            _ => json(404, r#"{"message":"no such path"}"#),
        }
    }

    fn deliver(&self, task_type: &str, count: usize) -> Vec<String> {
        let mut tasks = self.lock();
        self.changed.notify_all();
        let waiting =
            tasks.iter_mut().filter(|(_, task)| task.task_type == task_type && task.status == "SCHEDULED");
        waiting
            .take(count)
            .map(|(id, task)| {
                task.status = "IN_PROGRESS".to_owned();
                task.deliveries += 1;
                format!(
                    r#"{{"taskId":"{id}","workflowInstanceId":"w-{id}","taskType":"{task_type}","taskDefName":"{task_type}","status":"IN_PROGRESS","retryCount":0,"pollCount":{},"inputData":{{}}{}}}"#,
                    task.deliveries, task.members
                )
            })
            .collect()
    }

    /// Takes a report, as the server does: what has ended stays as it is. Answers the task's type, too.
    fn update(&self, body: &str) -> (Option<String>, Answer) {
        let report: serde_json::Value = serde_json::from_str(body).unwrap();
        let text = |member: &str| report[member].as_str().unwrap_or_default().to_owned();
        let id = text("taskId");
        let mut tasks = self.lock();
        let Some(task) = tasks.get_mut(&id) else { return (None, no_such_task(&id)) };
        if report["extendLease"] != true {
            task.results += 1;
            if !is_over(&task.status) {
                task.status = text("status");
                task.reason = text("reasonForIncompletion");
                if task.status == "IN_PROGRESS" {
                    task.status = "SCHEDULED".to_owned();
                }
            }
        }
        let task_type = task.task_type.clone();
        drop(tasks);
        self.changed.notify_all();
        (Some(task_type), json(200, id).header("Content-Type", "text/plain"))
    }

    fn state(&self, id: &str) -> Answer {
        let tasks = self.lock();
        let Some(task) = tasks.get(id) else { return no_such_task(id) };
        // As large as tasks may be: nobody should keep it to look at one word of it.
        let mut body = format!(
            r#"{{"taskId":"{id}","workflowInstanceId":"w-{id}","outputData":{{"status":"FAILED","x":""#
        );
        body.push_str(&"x".repeat(100_000));
        write!(body, r#""}},"pollCount":{},"status":"{}"}}"#, task.deliveries, task.status).unwrap();
        json(200, body)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(status: &str) -> bool {
    !matches!(status, "SCHEDULED" | "IN_PROGRESS")
}

fn no_such_task(id: &str) -> Answer {
    json(404, format!(r#"{{"status":404,"message":"No such task found by id: {id}","retryable":false}}"#))
}

/// Whether it is a report of a result, or of the like: no lease is extended by it.
pub(crate) fn is_result(received: &Received) -> bool {
    received.method == "POST"
        && received.target.starts_with("/api/tasks")
        && received.body.contains(r#""status""#)
        && !is_extension(received)
}

pub(crate) fn is_extension(received: &Received) -> bool {
    received.body.contains(r#""extendLease":true"#)
}

/// An answer takes this long: that is the quirk.
pub(crate) fn takes(time: Duration) {
    let (_sender, receiver) = channel::<()>();
    let _ = receiver.recv_timeout(time);
}
