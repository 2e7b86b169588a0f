//! Results and heartbeats, row by row: R-UPDATE-1 to R-UPDATE-11, R-LEASE-3, R-RETRY-3, R-RETRY-4, R-HTTP-5.

use downbeat_server::http::{Options, Server, Status, WorkflowStatus};

use crate::client::{Client, call, poll, polled, result, until, update};

#[test]
fn mistakes_are_answered_as_the_server_answers_them() {
    let (server, workflow, polled) = polled(r#"{"name":"t"}"#);
    let task = polled.text("/0/taskId");
    let ids = format!(r#""workflowInstanceId":"{workflow}","taskId":"{task}""#);
    for (body, status, message) in [
        ("{".to_owned(), 500, "JSON parse error"),
        ("[]".to_owned(), 500, "from Array value"),
        (String::new(), 500, "Required request body is missing"),
        ("{}".to_owned(), 400, "Validation failed"),
        (format!("{{{ids}}}"), 500, "getStatus()\" is null"),
        (format!(r#"{{{ids},"status":"DONE"}}"#), 500, "not one of the values accepted"),
        (format!(r#"{{{ids},"status":"COMPLETED_WITH_ERRORS"}}"#), 500, "not one of the values accepted"),
        (format!(r#"{{{ids},"status":"SCHEDULED"}}"#), 500, "not one of the values accepted"),
        (format!(r#"{{{ids},"status":"TIMED_OUT"}}"#), 500, "not one of the values accepted"),
        (format!(r#"{{{ids},"status":"COMPLETED","outputData":"text"}}"#), 500, "LinkedHashMap"),
        (
            r#"{"workflowInstanceId":"nope","taskId":"x","status":"COMPLETED"}"#.to_owned(),
            404,
            "workflow found by id: nope",
        ),
        (
            format!(
                r#"{{"workflowInstanceId":"{workflow}","taskId":"11111111-2222-3333-4444-555555555555","status":"COMPLETED"}}"#
            ),
            404,
            "No such task found by id: 11111111",
        ),
    ] {
        let answer = call(&server, "POST", "/api/tasks", &body);
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.text("/message").contains(message), "{body}: {}", answer.body);
        assert_eq!(answer.at("/retryable"), false);
        assert_eq!(answer.closes(), status != 404, "{body}");
    }
    let empty = call(&server, "POST", "/api/tasks", "{}");
    assert_eq!(empty.text("/validationErrors/1/path"), "updateTask.arg0.taskId");
    assert_eq!(empty.at("/instance"), serde_json::Value::Null);
    assert_eq!(call(&server, "POST", "/api/tasks/update-v2", "{}").status, 500);
    assert_eq!(server.workflow(&workflow).map(|workflow| workflow.status), Some(WorkflowStatus::Running));
}

#[test]
fn a_body_must_be_called_json() {
    let (server, _, polled) = polled(r#"{"name":"t"}"#);
    let body = result(&polled, r#""status":"COMPLETED""#);
    for (headers, status) in [
        ("", 500),
        ("Content-Type: text/plain\r\n", 500),
        ("Content-Type: application/json;charset=UTF-8\r\nAccept: application/json\r\n", 200),
    ] {
        let mut client = Client::new(&server);
        client.send("POST", "/api/tasks", headers, &body).expect("sent");
        let answer = client.read().expect("an answer");
        assert_eq!(answer.status, status, "{headers}: {}", answer.body);
    }
}

#[test]
fn a_result_is_answered_with_the_id_in_plain_text_when_its_workflow_has_ended() {
    let (server, workflow, polled) = polled(r#"{"name":"t"}"#);
    let done = update(&server, &polled, r#""status":"COMPLETED","outputData":{"ok":true},"bogus":3"#);
    assert_eq!(done.header("content-type"), Some("text/plain;charset=UTF-8"));
    assert_eq!(done.body, polled.text("/0/taskId"));
    let ended = server.workflow(&workflow).expect("known");
    assert_eq!((ended.status, ended.output.as_str()), (WorkflowStatus::Completed, r#"{"ok":true}"#));
}

#[test]
fn later_results_are_accepted_and_change_nothing() {
    let (server, workflow, polled) = polled(r#"{"name":"t"}"#);
    update(&server, &polled, r#""status":"COMPLETED","outputData":{"first":1},"logs":[{"log":"a"}]"#);
    for later in [
        r#""status":"COMPLETED","outputData":{"second":1},"logs":[{"log":"b"}]"#,
        r#""status":"FAILED""#,
        r#""status":"IN_PROGRESS""#,
        r#""extendLease":true"#,
    ] {
        assert_eq!(update(&server, &polled, later).status, 200, "{later}");
    }
    let ended = server.workflow(&workflow).expect("known");
    assert_eq!(ended.tasks[0].output, r#"{"first":1}"#);
    assert_eq!(ended.tasks[0].logs, ["a"]);
    let stats = server.stats();
    assert_eq!((stats.tasks.ended, stats.tasks.ignored_reports), (1, 4));
}

#[test]
fn a_give_back_keeps_its_output_and_comes_again_with_the_same_id() {
    let (server, _, polled) = polled(r#"{"name":"t"}"#);
    let given = update(&server, &polled, r#""status":"IN_PROGRESS","outputData":{"progress":50}"#);
    assert_eq!(given.status, 200);
    let task = polled.text("/0/taskId");
    assert_eq!(call(&server, "GET", &format!("/api/tasks/{task}"), "").text("/status"), "SCHEDULED");
    let again = poll(&server, "t", 1, 0);
    assert_eq!((again.text("/0/taskId"), again.at("/0/pollCount")), (task, 2.into()));
    assert_eq!(again.at("/0/outputData/progress"), 50);
    // R-UPDATE-4: what an update leaves out is gone.
    update(&server, &again, r#""status":"IN_PROGRESS","outputData":null"#);
    assert_eq!(poll(&server, "t", 1, 0).at("/0/outputData").to_string(), "{}");
}

#[test]
fn a_failure_is_retried_as_a_new_task_and_its_reason_is_cut() {
    let (server, workflow, polled) = polled(r#"{"name":"t","retryCount":1,"retryDelaySeconds":0}"#);
    let reason = "é".repeat(600);
    update(&server, &polled, &format!(r#""status":"FAILED","reasonForIncompletion":"{reason}""#));
    let retry = poll(&server, "t", 1, 0);
    assert_ne!(retry.text("/0/taskId"), polled.text("/0/taskId"));
    assert_eq!(retry.text("/0/retriedTaskId"), polled.text("/0/taskId"));
    assert_eq!((retry.at("/0/retryCount"), retry.at("/0/inputData/a")), (1.into(), 1.into()));
    assert_eq!(retry.text("/0/reasonForIncompletion").chars().count(), 500);
    update(&server, &retry, r#""status":"FAILED","reasonForIncompletion":"again""#);
    let ended = server.workflow(&workflow).expect("known");
    assert_eq!(ended.status, WorkflowStatus::Failed);
    assert!(
        ended.reason.is_some_and(|reason| reason.ends_with("failed with status: FAILED and reason: 'again'"))
    );
}

#[test]
fn terminal_errors_and_cancellation_are_not_retried() {
    for (word, status, workflow_status) in [
        ("FAILED_WITH_TERMINAL_ERROR", Status::FailedWithTerminalError, WorkflowStatus::Failed),
        ("CANCELED", Status::Canceled, WorkflowStatus::Terminated),
    ] {
        let (server, workflow, polled) = polled(r#"{"name":"t","retryCount":3}"#);
        update(&server, &polled, &format!(r#""status":"{word}""#));
        let ended = server.workflow(&workflow).expect("known");
        assert_eq!((ended.status, ended.tasks.len()), (workflow_status, 1));
        assert_eq!(ended.tasks[0].status, status);
    }
}

#[test]
fn a_lease_that_lapses_makes_a_new_task_and_the_late_result_is_ignored() {
    let (server, workflow, polled) =
        polled(r#"{"name":"t","responseTimeoutSeconds":1,"retryCount":1,"retryDelaySeconds":0}"#);
    until("timed out", || server.stats().tasks.timed_out == 1);
    assert_eq!(update(&server, &polled, r#""status":"COMPLETED""#).status, 200);
    let seen = server.workflow(&workflow).expect("known");
    assert_eq!(seen.status, WorkflowStatus::Running);
    assert_eq!([seen.tasks[0].status, seen.tasks[1].status], [Status::TimedOut, Status::Scheduled]);
    assert!(
        seen.tasks[0].reason.as_deref().is_some_and(|why| why.starts_with("responseTimeout: 1 exceeded"))
    );
    until("timed out again", || {
        poll(&server, "t", 1, 0);
        server.workflow(&workflow).is_some_and(|workflow| workflow.status == WorkflowStatus::TimedOut)
    });
}

#[test]
fn a_heartbeat_keeps_a_task_alive_and_loses_what_else_it_says() {
    let (server, workflow, polled) = polled(r#"{"name":"t","responseTimeoutSeconds":1,"retryCount":0}"#);
    let path = format!("/api/tasks/{}", polled.text("/0/taskId"));
    until("one and a half leases are over", || {
        update(&server, &polled, r#""extendLease":true,"status":"COMPLETED","outputData":{"lost":1}"#);
        let task = call(&server, "GET", &path, "");
        let time = |member: &str| task.at(member).as_u64().unwrap_or(0);
        time("/updateTime") > time("/startTime") + 1_500
    });
    let seen = server.workflow(&workflow).expect("known");
    assert_eq!((seen.tasks[0].status, seen.tasks[0].output.as_str()), (Status::InProgress, "{}"));
    let unknown = r#"{"workflowInstanceId":"x","taskId":"nope","extendLease":true}"#;
    assert_eq!(call(&server, "POST", "/api/tasks", unknown).status, 404);
    let no_workflow = format!(r#"{{"taskId":"{}","extendLease":true}}"#, polled.text("/0/taskId"));
    assert_eq!(call(&server, "POST", "/api/tasks", &no_workflow).status, 400);
}

#[test]
fn the_worker_of_a_terminated_workflow_is_not_told() {
    let (server, workflow, polled) = polled(r#"{"name":"t"}"#);
    assert_eq!(call(&server, "DELETE", &format!("/api/workflow/{workflow}?reason=stop"), "").status, 200);
    for late in [r#""status":"COMPLETED""#, r#""extendLease":true"#] {
        assert_eq!(update(&server, &polled, late).status, 200);
    }
    let ended = server.workflow(&workflow).expect("known");
    assert_eq!((ended.status, ended.reason.as_deref()), (WorkflowStatus::Terminated, Some("stop")));
    assert_eq!(ended.tasks[0].status, Status::Canceled);
}

#[test]
fn update_v2_brings_the_next_task_and_a_repeated_one_a_second() {
    let (server, _, polled) = polled(r#"{"name":"t"}"#);
    for _ in 0..2 {
        server.schedule("t", "{}").expect("scheduled");
    }
    let done = result(&polled, r#""status":"COMPLETED""#);
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let next = call(&server, "POST", "/api/tasks/update-v2", &done);
            assert_eq!((next.status, next.text("/status").as_str()), (200, "IN_PROGRESS"));
            assert_eq!(next.text("/workerId"), "w1");
            next.text("/taskId")
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(call(&server, "POST", "/api/tasks/update-v2", &done).status, 204);
    let beat = result(&polled, r#""extendLease":true"#);
    assert_eq!(call(&server, "POST", "/api/tasks/update-v2", &beat).status, 204);
}

#[test]
fn the_oldest_of_too_many_ended_workflows_is_forgotten() {
    let server = Server::start(Options { ended_kept: 2, ..Options::default() }).expect("a server");
    let workflows: Vec<String> = (0..3).map(|_| server.schedule("t", "{}").expect("scheduled")).collect();
    for _ in &workflows {
        let polled = poll(&server, "t", 1, 0);
        assert_eq!(update(&server, &polled, r#""status":"COMPLETED""#).status, 200);
    }
    let known: Vec<bool> = workflows.iter().map(|id| server.workflow(id).is_some()).collect();
    assert_eq!(known, [false, true, true]);
    assert_eq!(server.workflows().get(&WorkflowStatus::Completed), Some(&3), "they count all the same");
}

#[test]
fn a_server_without_update_v2_says_404() {
    let options = Options { update_v2: false, ..Options::default() };
    let server = Server::start(options).expect("a server");
    assert_eq!(call(&server, "POST", "/api/tasks/update-v2", "{}").status, 404);
}

#[test]
fn a_task_can_be_reported_by_its_reference_once() {
    let (server, workflow, _) = polled(r#"{"name":"t"}"#);
    let path = format!("/api/tasks/{workflow}/task/COMPLETED?workerid=w9");
    let done = call(&server, "POST", &path, r#"{"by":"ref"}"#);
    let ended = server.workflow(&workflow).expect("known");
    assert_eq!((done.status, done.body.as_str()), (200, ended.tasks[0].id.as_str()));
    assert_eq!((ended.output.as_str(), ended.tasks[0].worker.as_deref()), (r#"{"by":"ref"}"#, Some("w9")));
    let again = call(&server, "POST", &path, r#"{"by":"ref"}"#);
    assert_eq!((again.status, again.body.as_str()), (200, ""));
}
