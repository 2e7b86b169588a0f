//! A worker among faults: outages, cuts, noise, refusals.

use std::time::Duration;

use downbeat_core::machine::{Instant, Policy};
use downbeat_core::ports::End;
use serde_json::json;

use crate::world::{Code, Fault, Ran, Setup, World, drive, task};

/// Every task ended, and ended well.
fn assert_all_completed(ran: &Ran, count: usize) {
    let mut ids: Vec<&str> = ran.world.ended.iter().map(|(id, _)| id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    assert!(ran.world.ended.iter().all(|(_, report)| report["status"] == json!("COMPLETED")));
}

fn with_fault(at: usize, fault: Fault) -> Ran {
    drive(Setup::new(), || {
        let mut world = World::with_tasks(6).drains_at(60);
        world.faults.insert(at, fault);
        (world, Code::quick())
    })
}

#[test]
fn an_outage_is_survived_and_its_end_is_noticed_soon() {
    let ran = drive(Setup::new(), || {
        let mut world = World::new().drains_at(200);
        world.outages.push((Instant::from_secs(5), Instant::from_secs(60)));
        world.queue.extend((0..3).map(|n| task(&format!("t{n}"), json!({}))));
        (world, Code::new(20, Duration::from_millis(100)))
    });
    assert_all_completed(&ran, 3);
    let tries = ran.world.transcript.matches(": false").count();
    assert!((8..30).contains(&tries), "{tries} tries in an outage of 55 s");
    let back = ran.world.seen.iter().find(|seen| seen.at >= Instant::from_secs(60)).expect("a request");
    assert!(back.at <= Instant::from_secs(66), "{:?}", back.at);
}

#[test]
fn results_wait_through_an_outage() {
    let ran = drive(Setup::new(), || {
        let mut world = World::with_tasks(2).drains_at(300);
        world.outages.push((Instant::from_millis(1_500), Instant::from_secs(100)));
        (world, Code::new(10, Duration::from_millis(100)))
    });
    assert_all_completed(&ran, 2);
}

#[test]
fn an_answer_cut_anywhere_loses_no_result() {
    let whole = with_fault(usize::MAX, Fault::Silence);
    // The first report's answer, cut at each of its bytes.
    let report =
        whole.world.seen.iter().position(|seen| seen.path.starts_with("/tasks/update")).expect("one");
    for at in 0..120 {
        let ran = with_fault(report, Fault::Cut(at));
        assert!(ran.world.ended.len() >= 5, "cut at {at}: what the lost answer brought is lost to its lease");
        assert!(ran.world.ended.iter().any(|(id, _)| id == "t0"));
    }
}

#[test]
fn tasks_before_the_cut_of_a_poll_are_run() {
    let ran = drive(Setup::new(), || {
        let mut world = World::with_tasks(2).drains_at(60);
        // The first task is some 1,300 bytes.
        world.faults.insert(0, Fault::Cut(1_700));
        (world, Code::quick())
    });
    assert_eq!(ran.world.ended.len(), 1);
    assert_eq!(ran.world.ended[0].0, "t0");
    assert!(ran.counts.failures >= 1);
}

#[test]
fn noise_on_the_line_costs_a_connection_and_no_time() {
    for noise in [&b"\x00\xff\x00"[..], b"lwIP 2.1 ready\r\n", b"HTTP/1.1 abc\r\n\r\n"] {
        let ran = with_fault(2, Fault::Noise(noise));
        assert!(ran.world.ended.len() >= 5);
        assert!(ran.world.connections >= 2);
        let third = ran.world.seen[2].at;
        let next = ran.world.seen[3].at;
        assert!(
            next.saturating_duration_since(third) < Duration::from_secs(1),
            "{:?}",
            next.saturating_duration_since(third)
        );
    }
}

#[test]
fn a_silent_server_is_left_when_the_time_is_over() {
    let ran = with_fault(2, Fault::Silence);
    assert!(ran.world.ended.len() >= 5);
    let waited = ran.world.seen[3].at.saturating_duration_since(ran.world.seen[2].at);
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(41), "{waited:?}");
}

#[test]
fn a_server_that_closes_every_few_requests_costs_nothing() {
    let ran = drive(Setup::new(), || {
        let mut world = World::with_tasks(250).drains_at(20);
        world.close_after = 100;
        (world, Code::quick())
    });
    assert_all_completed(&ran, 250);
    assert_eq!((ran.counts.failures, ran.counts.faults), (0, 0));
    assert!(ran.world.connections >= 3, "{} connections", ran.world.connections);
}

#[test]
fn a_close_without_a_word_costs_nothing_where_it_is_seen() {
    for seen in [true, false] {
        let ran = drive(Setup::new(), || {
            let mut world = World::with_tasks(6).drains_at(20);
            world.stale_is_seen = seen;
            world.faults.insert(1, Fault::Vanishes);
            (world, Code::quick())
        });
        assert_all_completed(&ran, 6);
        assert_eq!(ran.counts.failures, 0);
        assert_eq!(ran.world.connections, 2);
    }
}

#[test]
fn a_token_is_got_used_and_renewed_after_a_refusal() {
    let setup = Setup { key: true, ..Setup::new() };
    let ran = drive(setup, || {
        let mut world = World::with_tasks(5).drains_at(10);
        world.token = "old".to_owned();
        world.faults.insert(3, Fault::Says("HTTP/1.1 401 \r\nContent-Length: 0\r\n\r\n"));
        (world, Code::quick())
    });
    assert_all_completed(&ran, 5);
    assert_eq!(ran.world.tokens_given, 2);
    let asked = ran.world.to("/token");
    assert_eq!((asked[0].method.as_str(), &asked[0].token), ("POST", &None));
    assert_eq!(asked[0].body, json!({ "keyId": "key", "keySecret": "secret" }));
    assert_eq!(ran.world.seen[1].token.as_deref(), Some("token-1"));
    assert_eq!(ran.world.seen.last().expect("one").token.as_deref(), Some("token-2"));
}

#[test]
fn a_server_without_tokens_is_asked_once() {
    let setup = Setup { key: true, ..Setup::new() };
    let ran = drive(setup, || {
        let mut world = World::with_tasks(2).drains_at(10);
        world.faults.insert(0, Fault::Says("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"));
        (world, Code::quick())
    });
    assert_all_completed(&ran, 2);
    assert_eq!(ran.world.to("/token").len(), 1);
}

#[test]
fn a_task_too_many_is_given_back_after_the_answer() {
    let setup = Setup { policy: Policy { concurrency: 1, ..Setup::new().policy }, ..Setup::new() };
    let ran = drive(setup, || {
        let mut world = World::with_tasks(3).drains_at(10);
        world.over_deliver = true;
        (world, Code::quick())
    });
    let given_back = ran.world.to("/tasks");
    let is_give_back = |body: &serde_json::Value| {
        body["status"] == json!("IN_PROGRESS") && body["extendLease"] != json!(true)
    };
    let back: Vec<_> = given_back.iter().filter(|seen| is_give_back(&seen.body)).collect();
    assert_eq!(back.len(), 1, "one at a time; the other waits for its lease to end");
    assert_eq!(back[0].body["taskId"], json!("t1"));
    assert_eq!(back[0].body["callbackAfterSeconds"], json!(1));
    assert_all_completed(&ran, 1);
}

#[test]
fn a_server_without_update_v2_is_told_the_old_way() {
    let setup = Setup { policy: Policy { concurrency: 1, ..Setup::new().policy }, ..Setup::new() };
    let ran = drive(setup, || {
        let mut world = World::with_tasks(6).drains_at(20);
        let says = "HTTP/1.1 404 \r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        world.faults.insert(1, Fault::Says(says));
        (world, Code::quick())
    });
    assert_all_completed(&ran, 6);
    assert_eq!(ran.world.to("/tasks/update-v2").len(), 1);
}

#[test]
fn a_failing_server_is_asked_again_and_a_retry_after_is_kept() {
    let ran = with_fault(1, Fault::Says("HTTP/1.1 503 \r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n"));
    assert_all_completed(&ran, 6);
    let (refused, again) = (&ran.world.seen[1], ran.world.seen.iter().skip(2));
    let same = again.into_iter().find(|seen| seen.body == refused.body).expect("the same again");
    assert!(same.at.saturating_duration_since(refused.at) >= Duration::from_secs(20));
}

#[test]
fn a_result_that_is_rejected_fails_its_task_and_blocks_nobody() {
    let says = "HTTP/1.1 409 \r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let ran = with_fault(1, Fault::Says(says));
    let of =
        |status: &str| ran.world.ended.iter().filter(|(_, report)| report["status"] == json!(status)).count();
    assert_eq!((of("COMPLETED"), of("FAILED")), (5, 1));
}

#[test]
fn a_result_that_is_too_large_for_the_server_fails_its_task_for_good() {
    let says = "HTTP/1.1 413 \r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let ran = with_fault(1, Fault::Says(says));
    let failed = ran.world.ended.iter().filter(|(_, report)| report["status"] != json!("COMPLETED"));
    let [(id, report)] = *failed.collect::<Vec<_>>() else { panic!("one: {:?}", ran.world.ended) };
    assert_eq!((id.as_str(), &report["status"]), ("t0", &json!("FAILED_WITH_TERMINAL_ERROR")));
    assert_eq!(report["outputData"], json!({}));
    let reason = report["reasonForIncompletion"].as_str().expect("a reason");
    assert!(reason.contains("larger than the server takes"), "{reason}");
}

#[test]
fn a_yield_that_would_end_its_workflow_is_a_failure_instead() {
    // 5 s of `pollTimeoutSeconds` from the first scheduling on; a second before its end is the last that is safe.
    for (steps, status) in [(3, "IN_PROGRESS"), (5, "FAILED")] {
        let ran = drive(Setup::new(), || {
            let mut world = World::new().drains_at(20);
            let mut task = task("t0", json!({}));
            task["taskDefinition"]["pollTimeoutSeconds"] = json!(5);
            (task["scheduledTime"], task["startTime"]) = (json!(1_000), json!(1_000));
            world.queue.push_back(task);
            let mut code = Code::new(steps, Duration::from_secs(1));
            code.end = End::InProgress { callback_after: Duration::from_secs(30) };
            (world, code)
        });
        let reports: Vec<_> = ran.world.seen.iter().filter(|seen| !seen.body.is_null()).collect();
        let [report] = *reports else { panic!("one report: {reports:?}") };
        assert_eq!(report.body["status"], json!(status), "after {steps} s");
    }
}
