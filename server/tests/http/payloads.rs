//! Payloads, logs and definitions: R-PAYLOAD-1 to R-PAYLOAD-5, R-LOG-1 to R-LOG-3, R-DEF-1 to R-DEF-3, R-WORKFLOW-1.

use downbeat_server::http::{Options, Server, Status, WorkflowStatus};

use crate::client::{call, poll, result};

fn start(options: Options) -> Server {
    Server::start(options).expect("a server")
}

#[test]
fn odd_values_pass_through_both_ways() {
    let server = start(Options::default());
    let odd = r#"{"i64":9223372036854775807,"u64":18446744073709551615,"big":123456789012345678901234567890,"f":0.1,"n":null,"u":"\u0000é😀","nest":{"a":[1,null,{"b":null}]},"empty":{},"el":[]}"#;
    let workflow = server.schedule("t", &format!(r#"{{"k":{odd}}}"#)).expect("scheduled");
    let polled = poll(&server, "t", 1, 0);
    assert!(polled.body.contains(&format!(r#""inputData":{{"k":{odd}}}"#)), "{}", polled.body);
    call(
        &server,
        "POST",
        "/api/tasks",
        &result(&polled, &format!(r#""status":"COMPLETED","outputData":{odd}"#)),
    );
    assert_eq!(server.workflow(&workflow).expect("known").output, odd);
}

#[test]
fn outputs_have_two_limits() {
    let options = Options { output_inline_max: 20, output_max: 40, ..Options::default() };
    for (length, status, moved) in [
        (20, Status::Completed, false),
        (21, Status::Completed, true),
        (40, Status::Completed, true),
        (41, Status::FailedWithTerminalError, false),
    ] {
        let server = start(options.clone());
        let workflow = server.schedule("t", "{}").expect("scheduled");
        let polled = poll(&server, "t", 1, 0);
        let output = format!(r#"{{"x":"{}"}}"#, "y".repeat(length - 8));
        assert_eq!(output.len(), length);
        let body = result(&polled, &format!(r#""status":"COMPLETED","outputData":{output}"#));
        assert_eq!(call(&server, "POST", "/api/tasks", &body).status, 200);
        let ended = server.workflow(&workflow).expect("known");
        assert_eq!(ended.tasks[0].status, status, "{length}");
        let task = call(&server, "GET", &format!("/api/tasks/{}", polled.text("/0/taskId")), "");
        assert_eq!(task.at("/externalOutputPayloadStoragePath").is_string(), moved, "{length}");
        if length == 41 {
            assert_eq!(ended.status, WorkflowStatus::Failed);
            assert!(task.text("/reasonForIncompletion").starts_with("The payload size: 41 of task"));
        }
    }
}

#[test]
fn a_long_input_is_handed_out_as_a_path() {
    for (readable, length) in [(true, 21), (false, 21), (true, 20)] {
        let options = Options { input_inline_max: 20, external_readable: readable, ..Options::default() };
        let server = start(options);
        let input = format!(r#"{{"x":"{}"}}"#, "y".repeat(length - 8));
        server.schedule("t", &input).expect("scheduled");
        let polled = poll(&server, "t", 1, 0);
        let path = polled.text("/0/externalInputPayloadStoragePath");
        if length == 20 {
            assert_eq!((path.as_str(), polled.at("/0/inputData").to_string()), ("", input));
            continue;
        }
        assert_eq!(polled.at("/0/inputData").to_string(), "{}");
        let query = format!("path={path}&operation=READ&payloadType=TASK_INPUT");
        let place = call(&server, "GET", &format!("/api/tasks/externalstoragelocation?{query}"), "");
        assert_eq!(place.text("/path"), path);
        let uri = place.text("/uri");
        assert_eq!(uri.is_empty(), !readable);
        if readable {
            let at = uri.find("/control").expect("a path of this server");
            assert_eq!(call(&server, "GET", &uri[at..], "").body, input);
        }
    }
}

#[test]
fn a_string_over_twenty_million_bytes_is_a_500_and_changes_nothing() {
    let server = start(Options::default());
    let workflow = server.schedule("t", "{}").expect("scheduled");
    let polled = poll(&server, "t", 1, 0);
    let long = "x".repeat(20_000_001);
    let body = result(&polled, &format!(r#""status":"COMPLETED","outputData":{{"x":"{long}"}}"#));
    assert_eq!(call(&server, "POST", "/api/tasks", &body).status, 500);
    assert_eq!(server.workflow(&workflow).expect("known").tasks[0].status, Status::InProgress);
}

#[test]
fn logs_are_kept_as_they_come() {
    let server = start(Options::default());
    server.schedule("t", "{}").expect("scheduled");
    let polled = poll(&server, "t", 1, 0);
    let path = format!("/api/tasks/{}/log", polled.text("/0/taskId"));
    assert_eq!(call(&server, "GET", &path, "").status, 204);
    for text in ["hello log line", "\"quoted json string\""] {
        let added = call(&server, "POST", &path, text);
        assert_eq!((added.status, added.body.as_str()), (200, ""));
    }
    assert_eq!(call(&server, "POST", &path, "").status, 500);
    assert_eq!(call(&server, "POST", "/api/tasks/nope/log", "x").status, 200);
    assert_eq!(call(&server, "GET", "/api/tasks/nope/log", "").status, 204);
    let lines: Vec<String> = (0..15).map(|line| format!(r#"{{"log":"l{line}"}}"#)).collect();
    let done = format!(r#""status":"COMPLETED","logs":[{}]"#, lines.join(","));
    call(&server, "POST", "/api/tasks", &result(&polled, &done));
    let logs = call(&server, "GET", &path, "");
    assert_eq!(logs.at("").as_array().map(Vec::len), Some(2 + 10));
    assert_eq!((logs.text("/1/log"), logs.text("/11/log")), ("\"quoted json string\"".into(), "l9".into()));
    assert_eq!(logs.at("/11/createdTime"), 0);
    assert_eq!(logs.at("/0/createdTime").as_u64().map(|time| time > 1_700_000_000_000), Some(true));
}

#[test]
fn task_definitions_are_registered_read_and_refused() {
    let server = start(Options::default());
    let path = "/api/metadata/taskdefs";
    let definition =
        r#"{"name":"d","retryCount":2,"responseTimeoutSeconds":10,"ownerEmail":null,"inputKeys":null}"#;
    for (method, body) in [("POST", format!("[{definition}]")), ("PUT", definition.to_owned())] {
        assert_eq!(call(&server, method, path, &body).status, 200);
    }
    let read = call(&server, "GET", &format!("{path}/d"), "");
    assert_eq!((read.at("/retryCount"), read.at("/retryDelaySeconds")), (2.into(), 60.into()));
    assert_eq!(read.text("/timeoutPolicy"), "TIME_OUT_WF");
    let missing = call(&server, "GET", &format!("{path}/nope"), "");
    assert_eq!(
        (missing.status, missing.text("/message")),
        (404, "No such taskType found by name: nope".into())
    );
    let bad = call(&server, "POST", path, r#"[{"name":"bad","responseTimeoutSeconds":0}]"#);
    assert_eq!((bad.status, bad.closes()), (400, true));
    assert_eq!(bad.text("/validationErrors/0/path"), "registerTaskDef.arg0[0].responseTimeoutSeconds");
    assert_eq!(bad.text("/validationErrors/0/invalidValue"), "0");
}

#[test]
fn an_undefined_type_has_the_defaults() {
    let server = start(Options::default());
    server.schedule("undefined", "{}").expect("scheduled");
    let polled = poll(&server, "undefined", 1, 0);
    assert_eq!(polled.at("/0/responseTimeoutSeconds"), 3_600);
    assert_eq!(polled.at("/0/taskDefinition/retryCount"), 3);
}

#[test]
fn workflow_definitions_have_versions() {
    let server = start(Options::default());
    let definition = |version: u32, kind: &str| {
        format!(
            r#"{{"name":"v","version":{version},"tasks":[{{"name":"t","taskReferenceName":"r","type":"{kind}"}}]}}"#
        )
    };
    let path = "/api/metadata/workflow";
    assert_eq!(call(&server, "POST", path, &definition(1, "SIMPLE")).status, 200);
    assert_eq!(call(&server, "POST", path, &definition(1, "SIMPLE")).status, 409);
    assert_eq!(
        call(&server, "POST", &format!("{path}?overwrite=true"), &definition(1, "SIMPLE")).status,
        200
    );
    let put = call(&server, "PUT", path, &format!("[{}]", definition(2, "SIMPLE")));
    assert_eq!(put.text("/bulkSuccessfulResults/0"), "v");
    assert_eq!(call(&server, "GET", &format!("{path}/v"), "").at("/version"), 2);
    assert_eq!(call(&server, "GET", &format!("{path}/v?version=1"), "").at("/version"), 1);
    let switch = call(&server, "POST", path, &definition(3, "SWITCH"));
    assert_eq!(switch.status, 400);
    assert!(switch.text("/validationErrors/0/message").contains("SIMPLE"));
    let unknown = call(&server, "POST", "/api/workflow", r#"{"name":"nope","version":1}"#);
    assert_eq!(
        (unknown.status, unknown.text("/message")),
        (404, "No such workflow defined. name=nope, version=1".into())
    );
    assert_eq!(call(&server, "GET", "/api/workflow/nope", "").status, 404);
}
