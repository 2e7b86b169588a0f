//! What becomes of tasks whose workflow is ended, restarted, paused or deleted, or that are put back too late:
//! R-UPDATE-6, R-UPDATE-13, R-UPDATE-14, R-WORKFLOW-6, R-TIMEOUT-3.

use downbeat_server::http::{Options, Server, Status, WorkflowStatus};

use crate::client::{Reply, call, poll, polled, result, until, update};

fn status(server: &Server, workflow: &str) -> Option<WorkflowStatus> {
    server.workflow(workflow).map(|seen| seen.status)
}

#[test]
fn a_task_can_be_read_with_its_status_until_it_is_unknown() {
    let (server, workflow, polled) = polled(r#"{"name":"t"}"#);
    let path = format!("/api/tasks/{}", polled.text("/0/taskId"));
    let read = || call(&server, "GET", &path, "").text("/status");
    assert_eq!(read(), "IN_PROGRESS");
    server.terminate(&workflow, "stop").expect("it runs");
    assert_eq!(read(), "CANCELED");
    assert_eq!(server.received(&polled.text("/0/taskId")).map(|received| received.reads), Some(2));
    assert_eq!(server.stats().requests_to("read_task"), 2);
    let unknown = call(&server, "GET", "/api/tasks/nobody", "");
    assert_eq!(
        (unknown.status, unknown.text("/message").as_str()),
        (404, "Task not found for taskId: nobody")
    );
}

#[test]
fn the_tasks_of_a_restarted_workflow_are_unknown_and_new_ones_come() {
    let (server, workflow, first) = polled(r#"{"name":"t"}"#);
    let restart = format!("/api/workflow/{workflow}/restart");
    assert_eq!(call(&server, "POST", &restart, "").status, 409, "it has not ended");
    server.terminate(&workflow, "stop").expect("it runs");
    assert_eq!(call(&server, "POST", &restart, "").status, 200);
    let id = first.text("/0/taskId");
    for members in [r#""status":"COMPLETED""#, r#""extendLease":true,"status":"IN_PROGRESS""#] {
        for path in ["/api/tasks", "/api/tasks/update-v2"] {
            let gone = call(&server, "POST", path, &result(&first, members));
            assert_eq!(gone.status, 404, "{path} {members}");
            assert_eq!(gone.text("/message"), format!("No such task found by id: {id}"));
        }
    }
    assert_eq!(call(&server, "GET", &format!("/api/tasks/{id}"), "").status, 404);
    let second = poll(&server, "t", 1, 0);
    assert_eq!(second.text("/0/workflowInstanceId"), workflow);
    assert_ne!(second.text("/0/taskId"), id);
    assert_eq!(update(&server, &second, r#""status":"COMPLETED""#).status, 200);
    assert_eq!(status(&server, &workflow), Some(WorkflowStatus::Completed));
}

#[test]
fn a_deleted_workflow_is_unknown_with_its_tasks() {
    let (server, workflow, polled) = polled(r#"{"name":"t"}"#);
    assert_eq!(call(&server, "DELETE", &format!("/api/workflow/{workflow}/remove"), "").status, 200);
    let gone = update(&server, &polled, r#""status":"COMPLETED""#);
    assert_eq!(gone.status, 404);
    assert_eq!(gone.text("/message"), format!("No such workflow found by id: {workflow}"));
    let beat = update(&server, &polled, r#""extendLease":true"#);
    assert_eq!(beat.text("/message"), format!("No such task found by id: {}", polled.text("/0/taskId")));
    assert_eq!(status(&server, &workflow), None);
}

#[test]
fn a_paused_workflow_takes_results_and_goes_on_when_it_is_resumed() {
    let server = Server::start(Options::default()).expect("a server");
    server
        .define_workflow(
            r#"{"name":"two","tasks":[{"name":"t","taskReferenceName":"a"},{"name":"t","taskReferenceName":"b"}]}"#,
        )
        .expect("a definition");
    let workflow = server.start_workflow("two", "{}").expect("started");
    let path = |what: &str| format!("/api/workflow/{workflow}/{what}");
    assert_eq!(call(&server, "PUT", &path("pause"), "").status, 200);
    assert_eq!(call(&server, "PUT", &path("pause"), "").status, 409);
    let first = poll(&server, "t", 1, 0);
    assert_eq!(update(&server, &first, r#""status":"COMPLETED""#).status, 200, "polled and taken as ever");
    assert_eq!(poll(&server, "t", 1, 0).body, "[]", "and nothing follows");
    assert_eq!(status(&server, &workflow), Some(WorkflowStatus::Paused));
    assert_eq!(call(&server, "PUT", &path("resume"), "").status, 200);
    let second = poll(&server, "t", 1, 0);
    assert_eq!(update(&server, &second, r#""status":"COMPLETED""#).status, 200);
    assert_eq!(status(&server, &workflow), Some(WorkflowStatus::Completed));
}

#[test]
fn a_failure_in_a_paused_workflow_is_retried_when_it_is_resumed() {
    let (server, workflow, polled) = polled(r#"{"name":"t","retryCount":1,"retryDelaySeconds":0}"#);
    server.pause(&workflow).expect("it runs");
    assert_eq!(update(&server, &polled, r#""status":"FAILED""#).status, 200);
    assert_eq!(poll(&server, "t", 1, 0).body, "[]");
    server.resume(&workflow).expect("it is paused");
    assert_eq!(poll(&server, "t", 1, 0).text("/0/retriedTaskId"), polled.text("/0/taskId"));
}

#[test]
fn a_lease_in_a_paused_workflow_ends_when_it_is_resumed() {
    let (server, workflow, _) =
        polled(r#"{"name":"t","responseTimeoutSeconds":1,"retryCount":1,"retryDelaySeconds":0}"#);
    server.pause(&workflow).expect("it runs");
    // The lease of another task, polled later, is over: so is this one's.
    server.schedule("t", "{}").expect("scheduled");
    poll(&server, "t", 1, 0);
    until("the later lease is over", || server.stats().tasks.timed_out == 1);
    assert_eq!(server.workflow(&workflow).map(|seen| seen.tasks[0].status), Some(Status::InProgress));
    server.resume(&workflow).expect("it is paused");
    until("timed out", || server.stats().tasks.timed_out == 2);
    let seen = server.workflow(&workflow).expect("known");
    assert_eq!((seen.status, seen.tasks.len()), (WorkflowStatus::Running, 2));
}

#[test]
fn a_give_back_after_the_poll_timeout_kills_task_and_workflow_in_that_request() {
    let (server, workflow, polled) = polled(r#"{"name":"t","pollTimeoutSeconds":1,"retryCount":3}"#);
    until("the poll timeout is over", || {
        let read = call(&server, "POST", "/api/tasks", &result(&polled, r#""extendLease":true"#));
        assert_eq!(read.status, 200);
        let task = call(&server, "GET", &format!("/api/tasks/{}", polled.text("/0/taskId")), "");
        let time = |member: &str| task.at(member).as_u64().unwrap_or(0);
        time("/updateTime") >= time("/scheduledTime") + 1_001
    });
    let back = update(&server, &polled, r#""status":"IN_PROGRESS","outputData":{"half":1}"#);
    assert_eq!(back.status, 200);
    let seen = server.workflow(&workflow).expect("known");
    assert_eq!((seen.status, seen.tasks[0].status), (WorkflowStatus::TimedOut, Status::TimedOut));
    assert_eq!(seen.tasks[0].output, r#"{"half":1}"#);
    assert!(seen.tasks[0].reason.as_deref().is_some_and(|why| why.starts_with("Task poll timed out")));
}

#[test]
fn the_delay_of_a_give_back_is_added_before_it_kills() {
    let (server, workflow, polled) = polled(r#"{"name":"t","pollTimeoutSeconds":1}"#);
    update(&server, &polled, r#""status":"IN_PROGRESS","callbackAfterSeconds":60"#);
    // A second task's wait of one second shows that the time of the first without its delay is over.
    let other = server.schedule("t", "{}").expect("scheduled");
    until("the second is over", || status(&server, &other) == Some(WorkflowStatus::TimedOut));
    assert_eq!(status(&server, &workflow), Some(WorkflowStatus::Running));
}

#[test]
fn a_polled_task_says_when_it_was_scheduled_and_what_it_retries() {
    let (server, _, first) = polled(
        r#"{"name":"t","pollTimeoutSeconds":77,"responseTimeoutSeconds":1,"retryCount":1,"retryDelaySeconds":0}"#,
    );
    for within in ["/0/taskDefinition", "/0/workflowTask/taskDefinition"] {
        assert_eq!(first.at(&format!("{within}/pollTimeoutSeconds")), 77, "{within}");
    }
    let time = |task: &Reply, member: &str| task.at(member).as_u64().unwrap_or(0);
    let [scheduled, started] = ["/0/scheduledTime", "/0/startTime"].map(|member| time(&first, member));
    assert!(scheduled > 0 && scheduled <= started && started <= time(&first, "/0/updateTime"));
    assert_eq!(first.at("/0/retriedTaskId"), serde_json::Value::Null);
    update(&server, &first, r#""status":"IN_PROGRESS""#);
    let again = poll(&server, "t", 1, 0);
    assert_eq!(time(&again, "/0/scheduledTime"), scheduled, "the first scheduling, also after a give-back");
    assert_eq!(time(&again, "/0/startTime"), started, "and the first delivery");
    until("timed out", || server.stats().tasks.timed_out == 1);
    let retry = poll(&server, "t", 1, 0);
    assert_eq!(retry.text("/0/retriedTaskId"), first.text("/0/taskId"), "after a lapsed lease too");
    assert_eq!(retry.at("/0/retryCount"), 1);
    assert!(time(&retry, "/0/scheduledTime") > scheduled);
}
