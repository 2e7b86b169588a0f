//! From a definition to the end of a workflow.

use downbeat_server::http::{Options, Server, Status, WorkflowStatus};

use crate::client::{call, poll, result};

const WORKFLOW: &str = r#"{"name":"two","version":1,"tasks":[
    {"name":"t","taskReferenceName":"r1","type":"SIMPLE","inputParameters":{"k":"${workflow.input.k}"}},
    {"name":"t","taskReferenceName":"r2","type":"SIMPLE","inputParameters":{
        "deep":"${r1.output.a.b[1]}","text":"k is ${workflow.input.k}!","none":"${r1.output.nope}","list":["${workflow.input.k}"]}}],
    "outputParameters":{"sum":"${r2.output.sum}","id":"${workflow.workflowId}"}}"#;

#[test]
fn a_workflow_of_two_tasks_runs_to_its_end() {
    let server = Server::start(Options::default()).expect("a server");
    let defined = call(&server, "POST", "/api/metadata/taskdefs", r#"[{"name":"t","retryCount":0}]"#);
    assert_eq!((defined.status, defined.body.as_str()), (200, ""));
    assert_eq!(call(&server, "POST", "/api/metadata/workflow", WORKFLOW).status, 200);
    let again = call(&server, "POST", "/api/metadata/workflow", WORKFLOW);
    assert_eq!((again.status, again.text("/message").as_str()), (409, "Workflow with two.1 already exists!"));

    let started = call(&server, "POST", "/api/workflow/two", r#"{"k":123456789012345678901234567890}"#);
    assert_eq!(started.header("content-type"), Some("text/plain;charset=UTF-8"));
    let id = started.body;
    assert_eq!(id.len(), 36);

    let first = poll(&server, "t", 5, 0);
    assert!(first.body.contains(r#""inputData":{"k":123456789012345678901234567890}"#), "{}", first.body);
    let done = call(
        &server,
        "POST",
        "/api/tasks",
        &result(&first, r#""status":"COMPLETED","outputData":{"a":{"b":[1,18446744073709551616]}}"#),
    );
    assert_eq!((done.status, done.body), (200, first.text("/0/taskId")));

    let second = poll(&server, "t", 1, 0);
    let input = second.at("/0/inputData").to_string();
    assert!(second.body.contains(r#""deep":18446744073709551616"#), "{input}");
    assert!(second.body.contains(r#""text":"k is 123456789012345678901234567890!""#), "{input}");
    assert!(second.body.contains(r#""none":null"#), "{input}");
    assert!(second.body.contains(r#""list":[123456789012345678901234567890]"#), "{input}");
    let next = call(
        &server,
        "POST",
        "/api/tasks/update-v2",
        &result(&second, r#""status":"COMPLETED","outputData":{"sum":1e30}"#),
    );
    assert_eq!(next.status, 204);

    let workflow = server.workflow(&id).expect("the workflow");
    assert_eq!(workflow.status, WorkflowStatus::Completed);
    assert_eq!(workflow.output, format!(r#"{{"id":"{id}","sum":1e30}}"#));
    let ends: Vec<_> = workflow.tasks.iter().map(|task| (task.status, task.polls, task.attempt)).collect();
    assert_eq!(ends, [(Status::Completed, 1, 0); 2]);
    let read = call(&server, "GET", &format!("/api/workflow/{id}?includeTasks=true"), "");
    assert_eq!(read.text("/status"), "COMPLETED");
    assert_eq!(read.at("/tasks").as_array().map(Vec::len), Some(2));
    assert_eq!(server.stats().tasks.completed, 2);
}
