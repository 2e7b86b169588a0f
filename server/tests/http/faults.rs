//! Faults to order, one test for each kind.

use std::time::Duration;

use downbeat_server::http::{CallKind, Fault, FaultKind, Options, Server};

use crate::client::{Client, Reply, call, poll, result, until};

fn start() -> Server {
    Server::start(Options::default()).expect("a server")
}

/// A server with some tasks in the queue `t`.
fn with_tasks(count: usize) -> Server {
    let server = start();
    for _ in 0..count {
        server.schedule("t", r#"{"a":1}"#).expect("scheduled");
    }
    server
}

fn once(server: &Server, kind: FaultKind, on: CallKind) {
    server.faults().add(Fault::new(kind).times(1).on(&[on]));
}

fn batch(reply: &Reply) -> usize {
    reply.at("").as_array().map_or(0, Vec::len)
}

#[test]
fn down_refuses_and_cuts_and_ends_by_itself() {
    let server = start();
    let mut open = Client::new(&server);
    assert_eq!(open.call("GET", "/api/version", "").expect("an answer").status, 200);
    server.faults().add(Fault::new(FaultKind::Down));
    until("refused", || Client::to(server.address()).is_err());
    assert!(open.is_closed());
    server.faults().clear();
    until("back", || Client::to(server.address()).is_ok());

    let ordered = call(&server, "POST", "/control/faults", r#"{"kind":"down","for_ms":200}"#);
    assert_eq!(ordered.status, 200);
    until("refused", || Client::to(server.address()).is_err());
    until("back", || Client::to(server.address()).is_ok());
    assert_eq!(call(&server, "GET", "/api/version", "").status, 200);
}

#[test]
fn reset_takes_a_connection_and_drops_it() {
    let server = start();
    server.faults().add(Fault::new(FaultKind::Reset).times(2));
    for _ in 0..2 {
        let answer =
            Client::to(server.address()).and_then(|mut client| client.call("GET", "/api/version", ""));
        assert!(answer.is_err());
    }
    assert_eq!(call(&server, "GET", "/api/version", "").status, 200);
    assert_eq!(server.stats().reset_connections, 2);
}

#[test]
fn a_status_is_answered_without_effect() {
    for (status, closes) in [(500, true), (503, false), (429, false), (401, false)] {
        let server = with_tasks(1);
        server
            .faults()
            .add(Fault::new(FaultKind::Status(status)).times(1).retry_after(7).on(&[CallKind::Poll]));
        let refused = poll(&server, "t", 1, 0);
        assert_eq!((refused.status, refused.closes()), (status, closes));
        assert_eq!(refused.header("retry-after"), Some("7"));
        assert_eq!(refused.at("/status"), status);
        assert_eq!(server.waiting("t", None), 1, "without effect");
        assert_eq!(batch(&poll(&server, "t", 1, 0)), 1, "once");
    }
}

#[test]
fn slow_delays_the_effect() {
    let server = with_tasks(1);
    server.faults().add(Fault::new(FaultKind::Slow).by(Duration::from_millis(300)));
    let mut client = Client::new(&server);
    client.send("GET", "/api/tasks/poll/batch/t?timeout=0", "", "").expect("sent");
    until("the poll is there", || server.stats().requests_to("poll_batch") == 1);
    assert_eq!(server.waiting("t", None), 1);
    assert_eq!(batch(&client.read().expect("an answer")), 1);
}

#[test]
fn a_lost_request_has_no_effect_and_a_lost_answer_has() {
    for (kind, left) in [(FaultKind::LostRequest, 1), (FaultKind::LostAnswer, 0)] {
        let server = with_tasks(1);
        once(&server, kind, CallKind::Poll);
        let mut client = Client::new(&server);
        assert!(client.call("GET", "/api/tasks/poll/batch/t?timeout=0", "").is_err());
        assert_eq!(server.waiting("t", None), left, "{kind:?}");
    }
}

#[test]
fn a_cut_answer_stops_in_the_middle_after_the_effect() {
    let server = with_tasks(1);
    once(&server, FaultKind::Cut, CallKind::Poll);
    let mut client = Client::new(&server);
    client.send("GET", "/api/tasks/poll/batch/t?timeout=0", "", "").expect("sent");
    assert!(client.read().is_err());
    assert_eq!(server.waiting("t", None), 0);
}

#[test]
fn a_truncated_answer_is_whole_http_and_half_json() {
    let server = with_tasks(1);
    server.faults().add(Fault::new(FaultKind::Truncated).times(1).with_task());
    assert_eq!(poll(&server, "other", 1, 0).body, "[]", "no task, no fault");
    let half = poll(&server, "t", 1, 0);
    assert_eq!(half.status, 200);
    assert!(half.body.starts_with("[{") && serde_json::from_str::<serde_json::Value>(&half.body).is_err());
}

#[test]
fn html_and_garbage_are_200_without_effect() {
    let server = with_tasks(1);
    once(&server, FaultKind::Html, CallKind::Poll);
    let html = poll(&server, "t", 1, 0);
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html;charset=utf-8")));
    once(&server, FaultKind::Garbage, CallKind::Poll);
    let garbage = poll(&server, "t", 1, 0);
    assert_eq!((garbage.status, garbage.header("content-type")), (200, Some("application/json")));
    assert!(serde_json::from_str::<serde_json::Value>(&garbage.body).is_err());
    assert_eq!(server.waiting("t", None), 1);
}

#[test]
fn the_last_task_of_a_batch_is_spoiled_and_the_others_are_well() {
    let null = serde_json::Value::Null;
    for (kind, pointer, well, spoiled) in [
        (FaultKind::MalformedTask, "/1/inputData", "/0/inputData", "not an object".into()),
        (FaultKind::NoId, "/1/taskId", "/0/taskId", null),
        (FaultKind::WrongType, "/1/taskType", "/0/taskType", "another_type".into()),
    ] {
        let server = with_tasks(2);
        once(&server, kind, CallKind::Poll);
        assert_eq!(poll(&server, "nothing", 1, 0).body, "[]");
        let polled = poll(&server, "t", 2, 0);
        assert_eq!(batch(&polled), 2);
        assert_ne!(polled.at(pointer), polled.at(well), "{kind:?}");
        assert_eq!(polled.at(pointer), spoiled, "{kind:?}");
    }
}

#[test]
fn over_delivery_gives_one_more_and_duplicate_what_is_out() {
    let server = with_tasks(3);
    once(&server, FaultKind::OverDeliver, CallKind::Poll);
    let two = poll(&server, "t", 1, 0);
    assert_eq!(batch(&two), 2);
    once(&server, FaultKind::Duplicate, CallKind::Poll);
    let again = poll(&server, "t", 1, 0);
    assert_eq!(batch(&again), 2);
    let out = [two.text("/0/taskId"), two.text("/1/taskId")];
    assert!(out.contains(&again.text("/1/taskId")));
}

#[test]
fn one_type_of_task_can_be_poisoned() {
    let server = with_tasks(1);
    server.schedule("other", "{}").expect("scheduled");
    server.faults().add(Fault::new(FaultKind::Status(500)).on(&[CallKind::Update]).for_task("t"));
    for (kind, status) in [("t", 500), ("other", 200)] {
        let polled = poll(&server, kind, 1, 0);
        let done = call(&server, "POST", "/api/tasks", &result(&polled, r#""status":"COMPLETED""#));
        assert_eq!(done.status, status, "{kind}");
    }
}

#[test]
fn extensions_are_told_from_results() {
    let server = with_tasks(1);
    server.faults().add(Fault::new(FaultKind::Status(503)).on(&[CallKind::Extend]));
    let polled = poll(&server, "t", 1, 0);
    let extend = call(&server, "POST", "/api/tasks", &result(&polled, r#""extendLease":true"#));
    assert_eq!(extend.status, 503);
    let done = call(&server, "POST", "/api/tasks", &result(&polled, r#""status":"COMPLETED""#));
    assert_eq!(done.status, 200);
}

#[test]
fn faults_are_shown_counted_and_removed() {
    let server = start();
    let order =
        r#"{"kind":"429","count":3,"percent":100,"retry_after_s":2,"calls":["poll","update","token"]}"#;
    let id = call(&server, "POST", "/control/faults", order).at("/id");
    assert_eq!(poll(&server, "t", 1, 0).status, 429);
    let shown = call(&server, "GET", "/control/faults", "");
    assert_eq!(
        (shown.at("/0/id"), shown.at("/0/hits"), shown.at("/0/count")),
        (id.clone(), 1.into(), 3.into())
    );
    assert_eq!(call(&server, "DELETE", &format!("/control/faults/{id}"), "").body, "[]");
    assert_eq!(call(&server, "DELETE", &format!("/control/faults/{id}"), "").status, 404);
    assert_eq!(poll(&server, "t", 1, 0).status, 200);
    call(&server, "POST", "/control/faults", order);
    assert_eq!(call(&server, "DELETE", "/control/faults", "").body, "[]");
}

#[test]
fn a_fault_that_makes_no_sense_is_refused_with_what_is_allowed() {
    let server = start();
    for (order, what) in [
        ("{", "EOF"),
        (r#"{"kind":"dwon"}"#, "lost_answer"),
        (r#"{"kind":"down"}"#, "for_ms"),
        (r#"{"kind":"reset"}"#, "count"),
        (r#"{"kind":"slow","percent":101}"#, "percent"),
        (r#"{"kind":"slow","colour":1}"#, "colour"),
        (r#"{"kind":"slow","calls":["pole"]}"#, "poll"),
        (r#"{"kind":"slow","body":"html"}"#, "status"),
        (r#"{"kind":"503","body":"xml"}"#, "gateway"),
        (r#"{"kind":"503","with_status":"DONE"}"#, "COMPLETED"),
    ] {
        let refused = call(&server, "POST", "/control/faults", order);
        assert_eq!(refused.status, 400, "{order}");
        assert!(refused.text("/message").contains(what), "{}", refused.body);
    }
}

#[test]
fn seconds_of_history_count_connections_and_polls() {
    let server = start();
    for _ in 0..3 {
        poll(&server, "t", 1, 0);
    }
    let stats = call(&server, "GET", "/control/stats", "");
    assert_eq!(stats.at("/requests/poll_batch"), 3);
    assert_eq!(stats.at("/seconds/0/polls").as_u64().map(|polls| polls > 0), Some(true));
    assert!(server.stats().most_connections_per_second() > 0);
}
