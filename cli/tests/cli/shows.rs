//! `dev` and `demo`: what a newcomer tries first.

use super::harness::{Place, finish, wait_for};

#[test]
fn the_demo_ends_by_itself_with_every_order_completed() {
    let (code, out, err) = finish(&["demo", "--orders", "60"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("60 of 60 orders completed"), "{out}");
    assert!(out.contains("the server is away") && out.contains("the server is back"), "{out}");
    assert!(out.contains("Lost: 0 results, 0 orders."), "{out}");
}

#[test]
fn the_development_server_runs_its_example_until_a_signal() {
    let place = Place::new();
    let mut dev = place.start(&["dev", "--listen", "127.0.0.1:0"], &[]);
    let url = wait_for("the server's address", || {
        let out = dev.out();
        let line = out.lines().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        line.filter(|_| out.contains("Ctrl-C"))
    });
    // The command that it prints for the worker, as a shell would take it.
    let out = dev.out();
    let line = out.lines().map(str::trim).find(|line| line.starts_with("downbeat run")).unwrap();
    let line = line.replace("downbeat run", "exec \"$DOWNBEAT\" run");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &line]).env("DOWNBEAT", env!("CARGO_BIN_EXE_downbeat"));
    let mut worker = place.start_command(shell);
    let mut answer = ureq::post(format!("{url}/workflow/hello"))
        .header("content-type", "application/json")
        .send(r#"{"name":"Ada"}"#)
        .unwrap();
    let id = answer.body_mut().read_to_string().unwrap().trim_matches('"').to_owned();
    let workflow = wait_for("the workflow's end", || {
        let mut answer = ureq::get(format!("{url}/workflow/{id}")).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        text.contains(r#""status":"COMPLETED""#).then_some(text)
    });
    assert!(workflow.contains("Hello"), "{workflow}");
    worker.stop();
    dev.stop();
}

#[test]
fn a_port_that_is_taken_is_an_error_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, out, err) = finish(&["dev", "--listen", &address]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains(&address) && err.contains("--listen 127.0.0.1:0"), "{err}");
}
