//! `downbeat-sim serve` as a process: the line that it prints, its end by a signal, its errors.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::client::Client;

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
        let address = line.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/api\n"));
        let address = address.unwrap_or_else(|| panic!("another line: {line}"));
        let mut client = Client::to(address.parse().expect("an address")).expect("a connection");
        assert_eq!(client.call("GET", "/api/version", "").expect("an answer").body, "3.32.1");
        assert_eq!(client.call("GET", "/api/tasks/poll/t", "").expect("an answer").status, 401);
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
