#![cfg(feature = "serve")]
//! `downbeat-sim serve` as a process: the line that it prints, its end by a signal, its errors.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A request to the server whose line this is: the status, and the body as JSON.
fn ask(line: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let url = line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix("/api\n"));
    let url = format!("{}{path}", url.unwrap_or_else(|| panic!("another line: {line}")));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = match method {
        "GET" => agent.get(&url).call(),
        _ => agent.post(&url).content_type("application/json").send(body),
    };
    let mut answer = answer.expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a body");
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn simulator() -> Command {
    Command::new(env!("CARGO_BIN_EXE_downbeat-sim"))
}

#[test]
fn it_says_where_it_listens_and_ends_well_at_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut serve = simulator();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--auth", "key:secret", "--token-life", "45m"]);
        let mut child = serve.stdout(Stdio::piped()).spawn().expect("started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(ask(&line, "GET", "/api/version", "").1, "3.32.1");
        assert_eq!(ask(&line, "GET", "/api/tasks/poll/t", "").0, 401);
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill");
        assert!(killed.success());
        assert_eq!(child.wait().expect("its end").code(), Some(0), "{signal}");
    }
}

#[test]
fn a_bad_address_is_an_error_of_usage_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    for address in ["nowhere", "127.0.0.1:99999", "203.0.113.1:80", &taken] {
        let output = simulator().args(["serve", "--listen", address]).output().expect("run");
        assert_eq!(output.status.code(), Some(2), "{address}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(address), "{error}");
    }
}

#[test]
fn a_malformed_secret_is_not_repeated() {
    let output =
        simulator().args(["serve", "--listen", "127.0.0.1:0", "--auth", "hush"]).output().expect("run");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--auth") && !error.contains("hush"), "{error}");
}

#[test]
fn its_generation_and_its_faults_are_said_on_the_command_line() {
    let mut serve = simulator();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--generation", "demands-status", "--update-v2", "500"]);
    serve.args(["--refuse-nul", "--fault", r#"{"kind":"403","calls":["token"]}"#]);
    serve.args(["--fault", r#"{"kind":"404","body":"gateway","calls":["ask"]}"#]);
    let mut child = serve.stdout(Stdio::piped()).spawn().expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(ask(&line, "POST", "/api/tasks/update-v2", "{}").0, 500);
    assert_eq!(ask(&line, "POST", "/api/token", "{}").0, 403);
    assert_eq!(ask(&line, "GET", "/api/tasks/x", "").1["message"], "no Route matched with those values");
    assert_eq!(ask(&line, "GET", "/control/faults", "").1[1]["hits"], 1);
    child.kill().expect("ended");
    child.wait().expect("its end");
}

#[test]
fn an_order_that_makes_no_sense_is_an_error_of_usage_that_says_what_is_allowed() {
    for (flag, value, allowed) in [
        ("--generation", "old", "before-2022-08"),
        ("--update-v2", "no", "known, 404, 405 or 500"),
        ("--fault", r#"{"kind":"dwon"}"#, "lost_answer"),
        ("--fault", "{", "EOF"),
    ] {
        let output =
            simulator().args(["serve", "--listen", "127.0.0.1:0", flag, value]).output().expect("run");
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(flag) && error.contains(allowed), "{error}");
    }
}
