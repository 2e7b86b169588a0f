//! The scripted transport: order, latencies, failures, and what it says when the driver strays.

#![expect(clippy::unwrap_used, reason = "a step that goes wrong fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use downbeat_core::machine::{Clock, Instant};
use downbeat_core::ports::{Cause, Content, Failure, Head, Method, Reach, Request, Transport};
use downbeat_mock::{Answer, Collector, Expect, ManualClock, ScriptedTransport, TaskBuilder};

fn get(target: &str) -> Request<'_> {
    Request { method: Method::Get, target, content: Content::None, body: b"", token: None }
}

fn post<'a>(target: &'a str, body: &'a str) -> Request<'a> {
    let body = body.as_bytes();
    Request { method: Method::Post, target, content: Content::Json, body, token: Some("s3cret") }
}

fn send(
    transport: &ScriptedTransport,
    request: &Request<'_>,
    deadline: Instant,
) -> (Result<Head, Failure>, String) {
    let mut sink = Collector::new();
    let answer = transport.clone().exchange(request, deadline, &mut sink);
    (answer, String::from_utf8(sink.body().to_vec()).unwrap())
}

/// What a panicking piece of code says.
fn complaint(code: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(code)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

const LATER: Instant = Instant::from_secs(10);

#[test]
fn requests_are_answered_in_order_and_move_the_clock() {
    let clock = ManualClock::starting_at(Instant::from_millis(100));
    let script = ScriptedTransport::new(&clock);
    let task = TaskBuilder::new("greet", "t1");
    script
        .expect(
            Expect::poll("greet people").count(2).wait(Duration::from_secs(1)).worker("w 1").domain("d&1"),
        )
        .answer(Answer::tasks([&task]))
        .after(Duration::from_millis(7));
    script.expect(Expect::update("t1").with_token("s3cret")).answer(Answer::accepted("t1"));
    assert_eq!(script.remaining(), 2);

    let target = "/tasks/poll/batch/greet%20people?workerid=w%201&count=2&timeout=1000&domain=d%261";
    let (head, body) = send(&script, &get(target), LATER);
    assert_eq!((head.unwrap().status, body), (200, format!("[{}]", task.json())));
    assert_eq!(clock.now(), Instant::from_millis(107));
    let (_, body) = send(&script, &post("/tasks", r#"{"taskId":"t1","status":"COMPLETED"}"#), LATER);
    assert_eq!(body, "t1");
    script.finish();

    let made = script.made();
    assert_eq!(made.iter().map(|made| made.at.as_millis()).collect::<Vec<_>>(), [100, 107]);
    assert_eq!((made[0].authorized, made[1].authorized, made[1].deadline), (false, true, LATER));
    assert!(!format!("{made:?}").contains("s3cret"));
}

#[test]
fn failures_say_how_far_the_request_came() {
    let script = ScriptedTransport::new(&ManualClock::new());
    script.expect(Expect::any()).answer(Answer::refused());
    script.expect(Expect::any()).answer(Answer::lost());
    script.expect(Expect::any()).answer(Answer::json(200, "[1,2,3]").in_pieces(2).cut_after(4));
    let outcomes = [0, 1, 2].map(|_| send(&script, &get("/x"), LATER));
    let failure = |reach, cause| Err(Failure { reach, cause });
    assert_eq!(outcomes[0], (failure(Reach::NotSent, Cause::Connect), String::new()));
    assert_eq!(outcomes[1], (failure(Reach::Sent, Cause::Closed), String::new()));
    assert_eq!(outcomes[2], (failure(Reach::Sent, Cause::Closed), "[1,2".to_owned()));
}

#[test]
fn an_exchange_ends_at_its_deadline() {
    let clock = ManualClock::new();
    let script = ScriptedTransport::new(&clock);
    script.expect(Expect::any()).answer(Answer::no_tasks()).after(Duration::from_secs(10));
    script.expect(Expect::any()).answer(Answer::no_tasks()).after(Duration::from_micros(10_000_001));
    assert!(send(&script, &get("/x"), LATER).0.is_ok());
    let timeout = Failure { reach: Reach::Sent, cause: Cause::Timeout };
    assert_eq!(send(&script, &get("/x"), Instant::from_secs(20)).0, Err(timeout));
    assert_eq!(clock.now(), Instant::from_secs(20));
}

#[test]
fn a_sink_without_room_ends_the_exchange() {
    let mut script = ScriptedTransport::new(&ManualClock::new());
    script.expect(Expect::any()).answer(Answer::json(200, "[1,2,3]").in_pieces(3));
    let mut sink = Collector::with_limit(5);
    assert_eq!(script.exchange(&get("/x"), LATER, &mut sink), Err(Failure::TOO_LARGE));
    assert_eq!((sink.head().unwrap().status, sink.body()), (200, &b"[1,"[..]));
}

#[test]
fn a_request_that_is_not_expected_is_told_with_what_was() {
    let script = ScriptedTransport::new(&ManualClock::starting_at(Instant::from_micros(2_500)));
    script.expect(Expect::update("t1").status("COMPLETED"));
    let body = r#"{"taskId":"t1","status":"FAILED"}"#;
    let said = complaint(|| drop(send(&script, &post("/tasks", body), LATER)));
    let expected = "at 2.500 ms: request 1 is not the expected one:\n\
        expected: POST /tasks, \"taskId\":\"t1\", a member \"status\", \"status\":\"COMPLETED\"\n     \
        got: POST /tasks, 33 bytes: {\"taskId\":\"t1\",\"status\":\"FAILED\"}\n   \
        wrong: \"status\":\"COMPLETED\"";
    assert_eq!(said, expected);
}

#[test]
fn a_request_too_many_and_one_that_never_came_are_told() {
    let script = ScriptedTransport::new(&ManualClock::new());
    let said = complaint(|| drop(send(&script, &get("/x"), LATER)));
    assert_eq!(said, "at 0.000 ms: request 1 is one more than expected:\n     got: GET /x");

    let script = ScriptedTransport::new(&ManualClock::new());
    script.expect(Expect::any());
    script.expect(Expect::poll("greet"));
    let _ = send(&script, &get("/x"), LATER);
    let missing = "1 expected requests were never made (at 0.000 ms, after 1 others):\n       \
        2: GET /tasks/poll/batch/greet";
    assert_eq!(complaint(|| script.finish()), missing);
    let dropped = ScriptedTransport::new(&ManualClock::new());
    dropped.expect(Expect::token());
    assert!(complaint(|| drop(dropped)).contains("POST /token"));
}

#[test]
fn no_complaint_shows_a_token_or_a_secret() {
    let script = ScriptedTransport::new(&ManualClock::new());
    script.expect(Expect::any().with_token("other"));
    script.expect(Expect::any().without_token());
    let bodies = ["{}", r#"{"keyId":"k","keySecret":"s3cret"}"#];
    for (body, target) in bodies.into_iter().zip(["/tasks", "/token"]) {
        let said = complaint(|| drop(send(&script, &post(target, body), LATER)));
        assert!(!said.contains("s3cret") && !said.contains("other"), "{said}");
    }
}

#[test]
fn a_lease_extension_is_no_report() {
    let extension = post("/tasks", r#"{"taskId":"t1","workflowInstanceId":"w","extendLease":true}"#);
    assert_eq!(Expect::extend("t1").mismatch(&extension), None);
    assert!(Expect::update("t1").mismatch(&extension).is_some());
    let body = r#"{"taskId":"t1","status":"IN_PROGRESS","callbackAfterSeconds":1,"outputData":{}}"#;
    assert_eq!(Expect::give_back("t1").mismatch(&post("/tasks", body)), None);
    assert!(Expect::update_v2("t1").mismatch(&post("/tasks", body)).is_some());
    assert_eq!(Expect::update_v2("t1").mismatch(&post("/tasks/update-v2", body)), None);
}
