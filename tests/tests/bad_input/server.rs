//! A server that is away, is another, or breaks off.

use std::time::Duration;

use downbeat::Runner;
use downbeat_server::http::{Auth, CallKind, Fault, FaultKind, Options};

use crate::{Bench, assert_echoed, echo, faulty, schedule, server};

/// Runs twenty tasks through a fault that ends, and waits for what is said of it.
fn through(task: &str, faults: impl IntoIterator<Item = Fault>, said: &str) {
    let server = server(task, Options::default());
    for fault in faults {
        faulty(&server, fault);
    }
    let workflows = schedule(&server, task, 20);
    let mut bench = Bench::start(&server.url(), [echo(task)]);
    if !said.is_empty() {
        bench.wait_cause(said);
    }
    bench.wait_completed(&server, 20);
    assert_echoed(&server, &workflows);
    assert_eq!(bench.drain().given_up, 0);
}

#[test]
fn a_server_that_is_down_is_said_to_be_unreachable_until_it_is_there() {
    let down = Fault::new(FaultKind::Down).lasting(Duration::from_millis(700));
    through("down", [down], "no connection could be made to the server; nothing was sent");
}

#[test]
fn a_server_that_resets_its_connections_costs_time_alone() {
    through("reset", [Fault::new(FaultKind::Reset).lasting(Duration::from_millis(500))], "PollFailure");
}

#[test]
fn another_server_s_html_is_said_not_to_be_conductor() {
    through(
        "html",
        [Fault::new(FaultKind::Html).times(6)],
        "this is not Conductor's API: check the server's address",
    );
}

#[test]
fn a_body_that_is_not_json_is_said_to_be_none() {
    let garbage = Fault::new(FaultKind::Garbage).on(&[CallKind::Poll]).times(4);
    through("garbage", [garbage], "the answer is not what Conductor answers");
}

#[test]
fn a_truncated_answer_loses_no_task_for_good() {
    through("truncated", [Fault::new(FaultKind::Truncated).with_task().times(3)], "PollFailure");
}

#[test]
fn an_answer_that_is_cut_off_loses_no_task_for_good() {
    through("cut", [Fault::new(FaultKind::Cut).with_task().times(3)], "PollFailure");
}

#[test]
fn results_whose_acceptance_is_not_heard_are_sent_again() {
    let lost = [FaultKind::LostAnswer, FaultKind::LostRequest];
    through("lost", lost.map(|kind| Fault::new(kind).on(&[CallKind::Update]).times(4)), "");
}

#[test]
fn errors_of_the_server_are_waited_out() {
    let status = |status| Fault::new(FaultKind::Status(status)).times(3);
    through("errors", [status(500), status(503), status(429).retry_after(1)], "status 5");
}

#[test]
fn an_unauthorised_spell_uses_up_no_attempt() {
    let refused = Fault::new(FaultKind::Status(401)).times(4);
    through("refused", [refused], "status 401; check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET");
}

#[test]
fn wrong_credentials_are_named_and_no_secret_is_shown() {
    let auth = |secret: &str| Auth {
        key: "the-key".to_owned(),
        secret: secret.to_owned(),
        token_life: Duration::from_secs(600),
    };
    let options = Options { auth: Some(auth("right-secret")), ..Options::default() };
    let server = server("secret", options);
    schedule(&server, "secret", 5);
    let wrong = Runner::builder(server.url()).auth("the-key", "wrong-secret");
    let mut bench = Bench::start_runner(wrong, [echo("secret")]);
    bench.wait("a second request for a token", |_| server.stats().requests.values().sum::<u64>() >= 2);
    assert_eq!(server.waiting("secret", None), 5, "nothing is taken without a token");
    let summary = bench.drain();
    assert_eq!(summary.tasks, 0);
    let log = crate::logged().clone();
    assert!(log.contains("CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET"), "{log}");
    assert!(!log.contains("wrong-secret"), "the secret is in the log");

    let right = Runner::builder(server.url()).auth("the-key", "right-secret");
    let mut bench = Bench::start_runner(right, [echo("secret")]);
    bench.wait_completed(&server, 5);
    // A token that is gone is renewed, and costs nothing.
    server.revoke_tokens();
    schedule(&server, "secret", 5);
    bench.wait_completed(&server, 10);
    assert_eq!(bench.drain().completed, 5 + 5);
    assert!(!crate::logged().contains("right-secret"), "the secret is in the log");
}
