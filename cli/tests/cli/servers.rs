//! Servers that are not there, not Conductor, or do not want us: the worker goes on, and says so once.

use std::net::TcpListener;
use std::time::Duration;

use downbeat_server::http::{Auth, CallKind, Fault, FaultKind, Options, WorkflowStatus};

use super::harness::{Place, ended, finish, server, server_with, wait_for};

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    // A port that is free now, and is listened on later.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new();
    let url = format!("http://{address}/api");
    let mut downbeat = place.start(&["run", "--server", &url, "--task", "job", "--", "cat"], &[]);
    downbeat.wait_for_line(&["WARN", "the server cannot be reached"]);
    let server = server_with(Options { listen: address, ..Options::default() }, &["job"]);
    let id = server.schedule("job", "{}").unwrap();
    assert_eq!(ended(&server, &id).status, WorkflowStatus::Completed);
    let log = downbeat.stop();
    let warnings = log.lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, 1, "{log}");
}

#[test]
fn an_outage_loses_nothing_and_is_told_once() {
    let server = server(&["job"]);
    server
        .define_task(r#"{"name":"job","retryCount":1,"retryDelaySeconds":0,"responseTimeoutSeconds":2}"#)
        .unwrap();
    let (place, url) = (Place::new(), server.url());
    let mut downbeat =
        place.start(&["run", "--server", &url, "--task", "job", "--slots", "4", "--", "cat"], &[]);
    let before: Vec<String> = (0..20).map(|_| server.schedule("job", "{}").unwrap()).collect();
    wait_for("first ends", || (server.stats().tasks.completed > 3).then_some(()));
    server.faults().add(Fault::new(FaultKind::Down));
    downbeat.wait_for_line(&["WARN"]);
    let during: Vec<String> = (0..20).map(|_| server.schedule("job", "{}").unwrap()).collect();
    server.faults().clear();
    for id in before.iter().chain(&during) {
        assert_eq!(ended(&server, id).status, WorkflowStatus::Completed);
    }
    let log = downbeat.stop();
    // Told by change of state: an answer that was on its way when the server went may open the link for a moment, so
    // there is at most one change for each call then in flight (four results and a poll), and never a line for each failed call.
    let (gone, back) = (log.matches("WARN").count(), log.matches("can be reached again").count());
    // In one outage a call that was cut off and one that found nobody have two causes, and a line each.
    assert!((1..=gone).contains(&back), "{log}");
    assert!((1..=5).contains(&gone), "{log}");
    // A task may have been on its way into the cut connection: its lease ended, and it was run then.
    let counts = server.stats().tasks;
    assert_eq!((counts.completed, counts.ended), (40, 40 + counts.timed_out), "{counts:?}");
}

#[test]
fn a_server_that_answers_html_is_named_and_left_when_asked() {
    let server = server(&["job"]);
    server.faults().add(Fault::new(FaultKind::Html));
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", "{}").unwrap();
    let mut downbeat = place.start(&["run", "--server", &url, "--task", "job", "--", "cat"], &[]);
    let line = downbeat.wait_for_line(&["WARN"]);
    assert!(line.contains("not Conductor's API"), "{line}");
    server.faults().clear();
    assert_eq!(ended(&server, &id).status, WorkflowStatus::Completed);
    downbeat.stop();
}

#[test]
fn a_wrong_path_is_named() {
    let server = server(&["job"]);
    let place = Place::new();
    let url = server.url().replace("/api", "/apis");
    let mut downbeat = place.start(&["run", "--server", &url, "--task", "job", "--", "cat"], &[]);
    let line = downbeat.wait_for_line(&["WARN"]);
    assert!(line.contains("404"), "{line}");
    downbeat.stop();
}

fn auth() -> Options {
    let auth =
        Auth { key: "k3y".to_owned(), secret: "s3cret".to_owned(), token_life: Duration::from_secs(60) };
    Options { auth: Some(auth), ..Options::default() }
}

#[test]
fn credentials_come_from_the_environment_and_are_never_shown() {
    let server = server_with(auth(), &["job"]);
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", "{}").unwrap();
    let script = r#"echo "{\"inherited\":\"$CONDUCTOR_AUTH_SECRET\"}""#;
    let args = ["run", "--server", &url, "--task", "job", "--log-level", "trace", "--", "sh", "-c", script];
    let mut downbeat =
        place.start(&args, &[("CONDUCTOR_AUTH_KEY", "k3y"), ("CONDUCTOR_AUTH_SECRET", "s3cret")]);
    let workflow = ended(&server, &id);
    assert_eq!(workflow.status, WorkflowStatus::Completed);
    assert!(!workflow.tasks[0].output.contains("s3cret"), "{workflow:?}");
    let log = downbeat.stop();
    assert!(!log.contains("s3cret") && !log.contains("k3y"), "{log}");
}

#[test]
fn the_secret_of_a_variable_that_a_file_names_is_not_inherited_either() {
    let server = server_with(auth(), &["job"]);
    let place = Place::new();
    let text = format!(
        "[server]\nurl = \"{}\"\nauth_key = \"k3y\"\nauth_secret_env = \"MY_SECRET\"\n[[worker]]\ntask = \"job\"\n\
         command = [\"sh\", \"-c\", 'echo \"{{\\\"inherited\\\":\\\"$MY_SECRET\\\"}}\"']\n",
        server.url()
    );
    let file = place.write("downbeat.toml", &text).display().to_string();
    let id = server.schedule("job", "{}").unwrap();
    let mut downbeat = place.start(&["run", "--config", &file], &[("MY_SECRET", "s3cret")]);
    let workflow = ended(&server, &id);
    downbeat.stop();
    assert_eq!(workflow.status, WorkflowStatus::Completed);
    assert!(workflow.tasks[0].output.contains(r#""inherited":"""#), "{workflow:?}");
}

#[test]
fn metrics_health_and_readiness_are_served_where_asked_for() {
    let server = server(&["job"]);
    let place = Place::new();
    // Free now; the binary asks for it a moment later.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (url, admin) = (server.url(), address.to_string());
    let args = ["run", "--server", &url, "--task", "job", "--admin", &admin, "--", "cat"];
    let mut downbeat = place.start(&args, &[]);
    let id = server.schedule("job", "{}").unwrap();
    assert_eq!(ended(&server, &id).status, WorkflowStatus::Completed);
    let get = |path: &str| {
        let mut answer = ureq::get(format!("http://{address}{path}")).call().ok()?;
        answer.body_mut().read_to_string().ok()
    };
    assert_eq!(wait_for("health", || get("/health")), "ok\n");
    assert_eq!(wait_for("readiness", || get("/ready")), "ready\n");
    let metrics = wait_for("metrics", || get("/metrics"));
    assert!(metrics.contains("task_execution_started_total{taskType=\"job\"} 1"), "{metrics}");
    downbeat.stop();
}

#[test]
fn an_admin_address_that_is_taken_is_an_error_and_nothing_is_polled() {
    let server = server(&["job"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, admin) = (server.url(), taken.local_addr().unwrap().to_string());
    let (code, _, err) = finish(&["run", "--server", &url, "--task", "job", "--admin", &admin, "--", "cat"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("admin"), "{err}");
    assert_eq!(server.stats().requests_to("poll_batch"), 0);
}

#[test]
fn the_log_has_a_line_per_call_at_trace_and_a_line_per_task_at_debug() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", r#"{"private":"1nput"}"#).unwrap();
    let args = ["run", "--server", &url, "--task", "job", "--log-level", "trace", "--", "cat"];
    let mut downbeat = place.start(&args, &[]);
    let task = ended(&server, &id).tasks[0].id.clone();
    let log = downbeat.stop();
    let debug: Vec<&str> = log.lines().filter(|line| line.contains("DEBUG")).collect();
    assert_eq!(debug.len(), 1, "{log}");
    assert!(debug[0].contains(&task) && debug[0].contains("COMPLETED"), "{log}");
    let polls = log.lines().filter(|line| line.contains("TRACE") && line.contains("/tasks/poll")).count();
    assert_eq!(u64::try_from(polls).unwrap(), server.stats().requests_to("poll_batch"), "{log}");
    assert!(!log.contains("1nput"), "{log}");
}

#[test]
fn wrong_credentials_are_told_and_tried_again() {
    let server = server_with(auth(), &["job"]);
    let (place, url) = (Place::new(), server.url());
    let args = ["run", "--server", &url, "--task", "job", "--log", "json", "--", "cat"];
    let mut downbeat =
        place.start(&args, &[("CONDUCTOR_AUTH_KEY", "k3y"), ("CONDUCTOR_AUTH_SECRET", "wr0ng")]);
    let line = downbeat.wait_for_line(&["WARN"]);
    assert!(line.starts_with('{') && line.contains("CONDUCTOR_AUTH"), "{line}");
    wait_for("another try", || (server.stats().requests_to("token") > 1).then_some(()));
    let log = downbeat.stop();
    assert!(!log.contains("wr0ng"), "{log}");
}

#[test]
fn a_result_that_is_always_answered_with_500_does_not_block_the_others() {
    let server = server(&["bad", "good"]);
    server.faults().add(Fault::new(FaultKind::Status(500)).on(&[CallKind::Update]).for_task("bad"));
    let place = Place::new();
    let text = format!(
        "[server]\nurl = \"{}\"\n[runner]\nstore = \"store\"\n[[worker]]\ntask = \"bad\"\ncommand = [\"cat\"]\n\
         [[worker]]\ntask = \"good\"\ncommand = [\"cat\"]\n",
        server.url()
    );
    let file = place.write("downbeat.toml", &text).display().to_string();
    let bad = server.schedule("bad", "{}").unwrap();
    let mut downbeat = place.start(&["run", "--config", &file], &[]);
    wait_for("a refused result", || (server.stats().answers.get(&500).copied() > Some(0)).then_some(()));
    for _ in 0..30 {
        let good = server.schedule("good", "{}").unwrap();
        assert_eq!(ended(&server, &good).status, WorkflowStatus::Completed);
    }
    assert_eq!(server.workflow(&bad).unwrap().status, WorkflowStatus::Running);
    server.faults().clear();
    assert_eq!(ended(&server, &bad).status, WorkflowStatus::Completed);
    downbeat.stop();
}
