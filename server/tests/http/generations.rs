//! Servers of other years: R-LEASE-4, R-UPDATE-12.

use downbeat_server::http::{Generation, Options, Server, Status, UnknownV2};

use crate::client::{Reply, call, poll, result, update};

/// A server of a generation, with one task `t` polled.
fn polled(generation: Generation) -> (Server, String, Reply) {
    let server = Server::start(Options { generation, ..Options::default() }).expect("a server");
    let workflow = server.schedule("t", "{}").expect("scheduled");
    let polled = poll(&server, "t", 1, 0);
    (server, workflow, polled)
}

const BUSY: &str = r#""extendLease":true,"status":"IN_PROGRESS","callbackAfterSeconds":60"#;

#[test]
fn before_extend_lease_an_extension_is_a_give_back() {
    let (server, workflow, first) = polled(Generation::BeforeExtendLease);
    let at_once = update(&server, &first, r#""extendLease":true,"status":"IN_PROGRESS""#);
    assert_eq!(at_once.status, 200);
    let again = poll(&server, "t", 1, 0);
    assert_eq!(again.text("/0/taskId"), first.text("/0/taskId"), "delivered again while it runs");
    assert_eq!(update(&server, &again, BUSY).status, 200);
    assert_eq!(poll(&server, "t", 1, 0).body, "[]", "hidden for a minute");
    let bare = update(&server, &first, r#""extendLease":true"#);
    assert_eq!(bare.status, 500, "no status");
    assert_eq!(update(&server, &first, r#""extendLease":true,"status":"COMPLETED""#).status, 200);
    assert_eq!(server.workflow(&workflow).map(|seen| seen.tasks[0].status), Some(Status::Completed));
    let received = server.received(&first.text("/0/taskId")).expect("known");
    assert_eq!((received.extensions, received.results), (3, 0), "counted as what they were meant for");
}

#[test]
fn a_server_that_demands_a_status_extends_with_one() {
    let (server, workflow, polled) = polled(Generation::DemandsStatus);
    let bare = update(&server, &polled, r#""extendLease":true"#);
    assert_eq!(bare.status, 500);
    assert!(bare.text("/message").contains("getStatus()"));
    assert_eq!(server.stats().tasks.extended, 0);
    assert_eq!(update(&server, &polled, BUSY).status, 200);
    assert_eq!(server.stats().tasks.extended, 1);
    let v2 = call(&server, "POST", "/api/tasks/update-v2", &result(&polled, BUSY));
    assert_eq!(v2.status, 204);
    assert_eq!(server.workflow(&workflow).map(|seen| seen.tasks[0].status), Some(Status::InProgress));
}

#[test]
fn now_status_and_delay_of_an_extension_are_ignored() {
    let (server, workflow, polled) = polled(Generation::Now);
    for members in [BUSY, r#""extendLease":true"#, r#""extendLease":true,"status":"COMPLETED""#] {
        assert_eq!(update(&server, &polled, members).status, 200, "{members}");
    }
    assert_eq!(server.stats().tasks.extended, 3);
    assert_eq!(server.workflow(&workflow).map(|seen| seen.tasks[0].status), Some(Status::InProgress));
    let task = call(&server, "GET", &format!("/api/tasks/{}", polled.text("/0/taskId")), "");
    assert_eq!(task.at("/callbackAfterSeconds"), 0);
}

#[test]
fn an_unknown_update_v2_has_three_answers() {
    for (unknown_v2, status, message) in [
        (UnknownV2::NotFound, 404, "No static resource api/tasks/update-v2."),
        (UnknownV2::NotAllowed, 405, "Request method 'POST' is not supported"),
        (UnknownV2::Failed, 500, "Request method 'POST' not supported"),
    ] {
        let options = Options { update_v2: false, unknown_v2, ..Options::default() };
        let server = Server::start(options).expect("a server");
        let workflow = server.schedule("t", "{}").expect("scheduled");
        let polled = poll(&server, "t", 1, 0);
        let done = result(&polled, r#""status":"COMPLETED""#);
        let refused = call(&server, "POST", "/api/tasks/update-v2", &done);
        assert_eq!((refused.status, refused.text("/message").as_str()), (status, message));
        assert_eq!(server.workflow(&workflow).map(|seen| seen.tasks[0].status), Some(Status::InProgress));
        assert_eq!(call(&server, "POST", "/api/tasks", &done).status, 200);
    }
}
