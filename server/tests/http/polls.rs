//! Polls, queues and tokens: R-POLL-1 to R-POLL-7, R-QUEUE-1, R-QUEUE-2, R-QUEUE-4, R-TOKEN-1 to R-TOKEN-4.

use std::time::Duration;

use downbeat_server::http::{Auth, Backend, Options, Server};

use crate::client::{Client, call, poll, result, until};

fn start() -> Server {
    Server::start(Options::default()).expect("a server")
}

#[test]
fn counts_and_timeouts_have_their_bounds() {
    let server = start();
    for (query, status) in [
        ("timeout=5001", 400),
        ("count=abc", 500),
        ("count=0&timeout=4000", 200),
        ("count=-1&timeout=4000", 200),
        ("count=1000&timeout=0", 200),
        ("", 200),
    ] {
        let answer = call(&server, "GET", &format!("/api/tasks/poll/batch/t?{query}"), "");
        assert_eq!(answer.status, status, "{query}");
        if status == 200 {
            assert_eq!(answer.body, "[]");
        }
    }
    let single = call(&server, "GET", "/api/tasks/poll/t?workerid=w", "");
    assert_eq!((single.status, single.body.as_str(), single.header("content-type")), (204, "", None));
}

#[test]
fn a_long_poll_ends_with_its_first_task_and_on_sql_with_its_count() {
    for (backend, tasks) in [(Backend::Redis, 1), (Backend::Sql, 2)] {
        let server = Server::start(Options { backend, ..Options::default() }).expect("a server");
        let mut client = Client::new(&server);
        client.send("GET", "/api/tasks/poll/batch/t?count=2&timeout=5000", "", "").expect("sent");
        until("the poll waits", || server.stats().requests_to("poll_batch") == 1);
        for _ in 0..2 {
            server.schedule("t", "{}").expect("scheduled");
        }
        let polled = client.read().expect("an answer");
        assert_eq!(polled.at("").as_array().map(Vec::len), Some(tasks), "{backend:?}");
    }
}

#[test]
fn a_poller_that_has_gone_takes_its_task_along() {
    let server = start();
    let mut client = Client::new(&server);
    client.send("GET", "/api/tasks/poll/batch/t?workerid=gone&timeout=5000", "", "").expect("sent");
    until("the poll waits", || server.stats().requests_to("poll_batch") == 1);
    drop(client);
    until("it has gone", || server.stats().open_connections == 0);
    let workflow = server.schedule("t", "{}").expect("scheduled");
    assert_eq!(poll(&server, "t", 1, 0).body, "[]");
    let seen = server.workflow(&workflow).expect("known");
    assert_eq!(seen.tasks[0].worker.as_deref(), Some("gone"));
}

#[test]
fn any_worker_may_finish_a_task() {
    let server = start();
    let workflow = server.schedule("t", "{}").expect("scheduled");
    let polled = poll(&server, "t", 1, 0);
    let other = result(&polled, r#""status":"COMPLETED""#).replace("w1", "someone-else");
    assert_eq!(call(&server, "POST", "/api/tasks", &other).status, 200);
    let seen = server.workflow(&workflow).expect("known");
    assert_eq!(seen.tasks[0].worker.as_deref(), Some("someone-else"));
}

#[test]
fn a_task_in_a_domain_is_seen_there_alone() {
    let server = start();
    let definition = r#"{"name":"wf","tasks":[{"name":"t","taskReferenceName":"r","type":"SIMPLE"}]}"#;
    server.define_workflow(definition).expect("defined");
    let started = call(&server, "POST", "/api/workflow", r#"{"name":"wf","taskToDomain":{"t":"d1"}}"#);
    assert_eq!(started.status, 200);
    server.schedule("t", "{}").expect("scheduled");
    let size =
        |query: &str| call(&server, "GET", &format!("/api/tasks/queue/size?taskType=t{query}"), "").body;
    assert_eq!((size(""), size("&domain=d1"), size("&domain=d2")), ("1".into(), "1".into(), "0".into()));
    let all = call(&server, "GET", "/api/tasks/queue/all", "");
    assert_eq!((all.at("/t"), all.at("/d1:t")), (1.into(), 1.into()));
    let inside = call(&server, "GET", "/api/tasks/poll/batch/t?domain=d1&count=5&timeout=0", "");
    assert_eq!(
        (inside.at("").as_array().map(Vec::len), inside.text("/0/domain")),
        (Some(1), "d1".to_owned())
    );
    assert_eq!(inside.text("/0/workflowInstanceId"), started.body);
    assert_eq!(poll(&server, "t", 5, 0).at("").as_array().map(Vec::len), Some(1));
    assert_eq!(size(""), "0", "polled tasks do not count");
    let data = call(&server, "GET", "/api/tasks/queue/polldata?taskType=t", "");
    assert_eq!((data.text("/0/domain"), data.text("/1/workerId")), ("d1".to_owned(), "w1".to_owned()));
    let sizes = call(&server, "GET", "/api/tasks/queue/sizes?taskType=t&taskType=nope", "");
    assert_eq!(sizes.body, r#"{"nope":0,"t":0}"#);
}

// -------------------------------------------------------------------- tokens

fn guarded(token_life: Duration) -> Server {
    let auth = Auth { key: "key".to_owned(), secret: "very secret".to_owned(), token_life };
    Server::start(Options { auth: Some(auth), ..Options::default() }).expect("a server")
}

fn token(server: &Server) -> String {
    let body = r#"{"keyId":"key","keySecret":"very secret"}"#;
    call(server, "POST", "/api/token", body).text("/token")
}

fn with(server: &Server, token: &str) -> u16 {
    let mut client = Client::new(server);
    let header = format!("X-Authorization: {token}\r\n");
    client.send("GET", "/api/tasks/poll/batch/t?timeout=0", &header, "").expect("sent");
    client.read().expect("an answer").status
}

#[test]
fn a_guarded_server_wants_a_good_token() {
    let server = guarded(Duration::from_secs(60));
    assert_eq!(poll(&server, "t", 1, 0).status, 401);
    assert_eq!(with(&server, "nonsense"), 401);
    let good = token(&server);
    assert_eq!(with(&server, &good), 200);
    assert_eq!(call(&server, "GET", "/api/version", "").status, 200);
    assert_eq!(call(&server, "GET", "/health", "").status, 200);
    let wrong = call(&server, "POST", "/api/token", r#"{"keyId":"key","keySecret":"guess"}"#);
    assert_eq!(wrong.status, 401);
    assert!(!wrong.body.contains("guess"));
    call(&server, "POST", "/control/revoke_tokens", "");
    assert_eq!(with(&server, &good), 401);
    assert_eq!(with(&server, &token(&server)), 200);
}

#[test]
fn a_token_expires() {
    let server = guarded(Duration::from_millis(100));
    let short = token(&server);
    until("expired", || with(&server, &short) == 401);
}

#[test]
fn a_server_without_authentication_has_no_tokens_and_ignores_them() {
    let server = start();
    assert_eq!(call(&server, "POST", "/api/token", "{}").status, 404);
    assert_eq!(with(&server, "anything"), 200);
}

#[test]
fn the_secret_is_not_shown() {
    let server = guarded(Duration::from_secs(60));
    assert!(!format!("{server:?}").contains("very secret"));
}
