//! Metrics and the admin endpoint of a runner at work.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use downbeat::{Context, RawValue, Runner, TaskError, Worker};
use support::{Queue, Received, Server, json, results, task};

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn what_happened_is_counted_under_the_names_of_the_sdks() {
    let queue = Queue::new([task("t1", "echo", r#"{"a":1}"#), task("t2", "echo", r#"{"fail":1}"#)]);
    let down = Arc::new(AtomicBool::new(false));
    let outage = Arc::clone(&down);
    let server =
        Server::start(
            move |received: &Received| {
                if outage.load(Ordering::Acquire) { json(503, "{}") } else { queue.answer(received) }
            },
        );
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| {
        if input.get().contains("fail") { Err(TaskError::retryable("no")) } else { Ok(input) }
    });
    let mut runner = Runner::builder(server.url()).signals(false).worker(echo);
    let metrics = runner.metrics();
    let running = runner.admin((Ipv4Addr::LOCALHOST, 0).into()).start().unwrap();
    let address = running.handle().admin_address().unwrap();
    server.wait("results and a poll", |received| {
        let last = received.iter().rposition(|one| !results(std::slice::from_ref(one)).is_empty());
        results(received).len() == 2 && last.is_some_and(|at| received.len() > at + 2)
    });
    assert!(get(address, "/ready").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(address, "/health").ends_with("\r\n\r\nok\n"));
    assert!(get(address, "/else").starts_with("HTTP/1.1 404"));
    let text = get(address, "/metrics");
    for line in [
        r#"task_execution_started_total{taskType="echo"} 2"#,
        r#"task_execute_error_total{taskType="echo",exception="Retryable"} 1"#,
        r#"task_execute_time_seconds_count{taskType="echo",status="SUCCESS"} 1"#,
        r#"task_result_size_bytes_sum{taskType="echo"} 7"#,
        r#"task_update_time_seconds_count{taskType="echo",status="SUCCESS"} 2"#,
        r#"active_workers{taskType="echo"} 0"#,
        r#"task_execution_queue_full_total{taskType="echo"} 2"#,
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} is not in\n{text}");
    }
    the_document_has_what_the_endpoint_has(&text);
    down.store(true, Ordering::Release);
    let failed = r#"task_poll_error_total{taskType="echo",exception="Status503"}"#;
    server.wait("failed poll", |_| metrics.render().contains(failed));
    server.wait("unreadiness", |_| get(address, "/ready").ends_with("polls for `echo` fail\n"));
    running.handle().drain();
    let _ = running.join();
}

/// Every row of the table in docs/runner.md is there with its kind and its words, in its order, and nothing else is.
fn the_document_has_what_the_endpoint_has(text: &str) {
    let document = include_str!("../../docs/runner.md");
    let mut rows = Vec::new();
    for line in document.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", name, kind @ ("counter" | "gauge" | "histogram"), _, help, ""] = cells.as_slice() {
            let name = name.trim_matches('`');
            rows.push(format!("# HELP {name} {help}"));
            rows.push(format!("# TYPE {name} {kind}"));
        }
    }
    let told: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert!(rows.len() > 30 && told == rows, "docs/runner.md: {rows:#?}\nendpoint: {told:#?}");
}

#[test]
fn pauses_are_counted() {
    let server = Server::start(|received: &Received| Queue::default().answer(received));
    let echo = |task: &str| Worker::new(task, |input: Box<RawValue>, _: &Context| Ok(input));
    let mut runner =
        Runner::builder(server.url()).signals(false).worker(echo("a").paused(true)).worker(echo("b"));
    let metrics = runner.metrics();
    let running = runner.start().unwrap();
    running.handle().pause("a");
    running.handle().pause("b");
    running.handle().resume("b");
    let text = metrics.render();
    for line in [r#"task_paused_total{taskType="a"} 2"#, r#"task_paused_total{taskType="b"} 1"#] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} is not in\n{text}");
    }
    running.handle().drain();
    let _ = running.join();
}
