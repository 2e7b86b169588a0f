//! Responses of what stands before a server, and results that it never takes: R-HTTP-9, R-UPDATE-15,
//! R-PAYLOAD-6, R-STORAGE-1, R-STORAGE-2.

use std::time::Duration;

use downbeat_server::http::{CallKind, Fault, FaultBody, FaultKind, Options, Server, Status};

use crate::client::{Client, Reply, call, poll, result, until, update};

/// A server with some tasks in the queue `t`, the first of them polled.
fn polled(count: usize) -> (Server, Reply) {
    let server = Server::start(Options::default()).expect("a server");
    for _ in 0..count {
        server.schedule("t", "{}").expect("scheduled");
    }
    let polled = poll(&server, "t", 1, 0);
    (server, polled)
}

const DONE: &str = r#""status":"COMPLETED""#;

#[test]
fn a_status_can_be_worded_by_a_gateway_a_proxy_or_nobody() {
    for (order, status, kind, body) in [
        (r#"{"kind":"404","body":"gateway"}"#, 404, Some("application/json"), "no Route matched"),
        (r#"{"kind":"503","body":"html"}"#, 503, Some("text/html;charset=utf-8"), "<html>"),
        (r#"{"kind":"502","body":"empty"}"#, 502, None, ""),
        (r#"{"kind":"422","body":"conductor"}"#, 422, Some("application/json"), "\"retryable\":false"),
        (r#"{"kind":"422"}"#, 422, Some("application/json"), "ordered by a fault"),
    ] {
        let (server, polled) = polled(1);
        let ordered = call(&server, "POST", "/control/faults", order);
        assert_eq!(ordered.status, 200, "{}", ordered.body);
        let refused = update(&server, &polled, DONE);
        assert_eq!((refused.status, refused.header("content-type")), (status, kind), "{order}");
        assert!(
            refused.body.contains(body) && refused.body.is_empty() == body.is_empty(),
            "{}",
            refused.body
        );
        assert_eq!(server.stats().tasks.completed, 0, "without effect");
    }
}

#[test]
fn bodies_above_a_size_are_refused_and_shorter_ones_taken() {
    let (server, polled) = polled(1);
    let long = result(&polled, &format!(r#"{DONE},"outputData":{{"a":"{}"}}"#, "x".repeat(2_000)));
    let too_large = Fault::new(FaultKind::Status(413)).worded_by(FaultBody::Html);
    server.faults().add(too_large.above_bytes(long.len() - 1));
    let refused = call(&server, "POST", "/api/tasks", &long);
    assert_eq!((refused.status, refused.closes()), (413, false));
    assert_eq!(
        call(&server, "POST", "/api/tasks", &long[..long.len() - 1]).status,
        500,
        "not whole, but short"
    );
    assert_eq!(update(&server, &polled, DONE).status, 200);
}

#[test]
fn a_poison_result_is_refused_and_the_failure_of_the_same_task_is_taken() {
    let (server, polled) = polled(1);
    let order = r#"{"kind":"500","calls":["update"],"task":"t","with_status":"COMPLETED"}"#;
    assert_eq!(call(&server, "POST", "/control/faults", order).status, 200);
    for _ in 0..3 {
        assert_eq!(update(&server, &polled, DONE).status, 500);
    }
    assert_eq!(update(&server, &polled, r#""extendLease":true,"status":"IN_PROGRESS""#).status, 200);
    assert_eq!(update(&server, &polled, r#""status":"FAILED_WITH_TERMINAL_ERROR""#).status, 200);
    let id = polled.text("/0/taskId");
    let received = server.received(&id).expect("known");
    assert_eq!((received.results, received.kept_off, received.extensions), (4, 3, 1));
    let shown = call(&server, "GET", &format!("/control/tasks/{id}"), "");
    for (member, value) in [("results", 4), ("kept_off", 3), ("deliveries", 1), ("extensions", 1)] {
        assert_eq!(shown.at(&format!("/{member}")), value, "{member}");
    }
    assert_eq!(shown.text("/status"), "FAILED_WITH_TERMINAL_ERROR");
    let tasks = server.stats().tasks;
    assert_eq!((tasks.results, tasks.repeated_results), (4, 3));
    assert_eq!(call(&server, "GET", "/control/tasks?type=t", "").at("/0/task"), id);
    assert_eq!(call(&server, "GET", "/control/tasks?type=u", "").body, "[]");
    assert_eq!(call(&server, "GET", "/control/tasks/nobody", "").status, 404);
}

#[test]
fn the_results_of_one_type_are_forbidden_and_others_taken() {
    let (server, polled) = polled(1);
    server.schedule("other", "{}").expect("scheduled");
    server.faults().add(Fault::new(FaultKind::Status(403)).on(&[CallKind::Update]).for_task("t"));
    assert_eq!(update(&server, &polled, DONE).status, 403);
    let v2 = call(&server, "POST", "/api/tasks/update-v2", &result(&polled, DONE));
    assert_eq!(v2.status, 403);
    let other = poll(&server, "other", 1, 0);
    assert_eq!(update(&server, &other, DONE).status, 200);
    assert_eq!(poll(&server, "t", 1, 0).status, 200);
}

#[test]
fn reads_of_a_task_can_be_hit_and_count_all_the_same() {
    let (server, polled) = polled(1);
    server.faults().add(Fault::new(FaultKind::Status(404)).on(&[CallKind::Ask]).for_task("t").times(1));
    let path = format!("/api/tasks/{}", polled.text("/0/taskId"));
    assert_eq!([404, 200].map(|_| call(&server, "GET", &path, "").status), [404, 200]);
    let received = server.received(&polled.text("/0/taskId")).expect("known");
    assert_eq!((received.reads, received.kept_off), (2, 1));
}

#[test]
fn a_result_can_be_taken_with_nothing_or_null_as_the_answer() {
    for (kind, body) in [("empty", ""), ("null", "null")] {
        let (server, polled) = polled(1);
        let order = format!(r#"{{"kind":"{kind}","calls":["update"]}}"#);
        assert_eq!(call(&server, "POST", "/control/faults", &order).status, 200);
        let taken = call(&server, "POST", "/api/tasks/update-v2", &result(&polled, DONE));
        assert_eq!((taken.status, taken.body.as_str()), (200, body));
        assert_eq!(server.stats().tasks.completed, 1, "with its effect");
    }
}

#[test]
fn nothing_and_null_take_the_place_of_a_task_only_when_that_is_ordered() {
    for (with_task, brings) in [(false, true), (true, false)] {
        let (server, polled) = polled(2);
        let fault = Fault::new(FaultKind::Null).on(&[CallKind::Update]);
        server.faults().add(if with_task { fault.with_task() } else { fault });
        let taken = call(&server, "POST", "/api/tasks/update-v2", &result(&polled, DONE));
        assert_eq!((taken.status, taken.body != "null"), (200, brings));
        assert_eq!(server.waiting("t", None), 0, "it is out in either case");
    }
}

#[test]
fn a_slow_answer_comes_later_than_its_effect() {
    let (server, polled) = polled(1);
    let slow = Fault::new(FaultKind::SlowAnswer).by(Duration::from_millis(300));
    server.faults().add(slow.on(&[CallKind::Update]));
    let mut client = Client::new(&server);
    let done = result(&polled, DONE);
    client.send("POST", "/api/tasks", "Content-Type: application/json\r\n", &done).expect("sent");
    until("the effect is there", || server.stats().tasks.completed == 1);
    assert_eq!(server.stats().answers.get(&200).copied().unwrap_or(0), 1, "the poll's; no answer yet");
    assert_eq!(client.read().expect("an answer").status, 200);
}

/// R-STORAGE-1, R-STORAGE-2, a database that is away, in small. Polls answer nothing, late, whatever their
/// `timeout`; results fail, late, and the server calls itself healthy.
#[test]
fn a_database_that_is_away_can_be_ordered() {
    let (server, polled) = polled(2);
    let late = |kind| Fault::new(kind).by(Duration::from_millis(200));
    for (fault, call) in [
        (late(FaultKind::Slow), CallKind::Poll),
        (Fault::new(FaultKind::Status(500)), CallKind::Update),
        (late(FaultKind::Slow), CallKind::Update),
    ] {
        server.faults().add(fault.on(&[call]));
    }
    server.faults().add(Fault::new(FaultKind::Nothing).on(&[CallKind::Poll]));
    let empty = poll(&server, "t", 1, 0);
    assert_eq!((empty.status, empty.body.as_str()), (200, "[]"));
    assert_eq!(call(&server, "GET", "/api/tasks/poll/t", "").status, 204);
    assert_eq!(server.waiting("t", None), 1, "though one waits");
    assert_eq!(update(&server, &polled, DONE).status, 500);
    assert_eq!(call(&server, "GET", "/health", "").at("/healthy"), true);
}

#[test]
fn a_result_with_nul_is_refused_as_repeatable_and_recorded() {
    let nul = |members: &str| {
        let options = Options { refuse_nul: true, ..Options::default() };
        let server = Server::start(options).expect("a server");
        server.schedule("t", "{}").expect("scheduled");
        let polled = poll(&server, "t", 1, 0);
        let refused = update(&server, &polled, members);
        let task = server.workflow(&polled.text("/0/workflowInstanceId")).expect("known").tasks.remove(0);
        let again = update(&server, &polled, members);
        assert_eq!(again.status, 200, "the first has ended the task");
        (refused, task)
    };
    for members in [
        r#""status":"COMPLETED","outputData":{"a":["\u0000"]}"#,
        r#""status":"COMPLETED","reasonForIncompletion":"a\u0000""#,
        r#""status":"COMPLETED","logs":[{"log":"b\u0000"}]"#,
    ] {
        let (refused, task) = nul(members);
        assert_eq!((refused.status, refused.at("/retryable")), (500, true.into()), "{members}");
        assert_eq!((task.status, task.logs.len()), (Status::Completed, 0), "{members}");
    }
    // A backslash before a u is no escape.
    let (taken, _) = nul(r#""status":"COMPLETED","outputData":{"a":"\\u0000"}"#);
    assert_eq!(taken.status, 200);
}

#[test]
fn a_log_line_with_nul_is_refused_where_a_result_is() {
    for (refuse_nul, status, lines) in [(true, 500, 204), (false, 200, 200)] {
        let server = Server::start(Options { refuse_nul, ..Options::default() }).expect("a server");
        server.schedule("t", "{}").expect("scheduled");
        let path = format!("/api/tasks/{}/log", poll(&server, "t", 1, 0).text("/0/taskId"));
        assert_eq!(call(&server, "POST", &path, "a\0b").status, status);
        assert_eq!(call(&server, "GET", &path, "").status, lines);
    }
}
