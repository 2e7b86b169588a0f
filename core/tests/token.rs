//! S9: the token. One refresh at a time, exact wake-ups, old 401s ignored, attempts untouched by 401s.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use downbeat_core::machine::{Action, Answer, Control, Fault, Policy, Why};
use support::{Bench, asked, exact, failed, refreshed, secs, updated, waits};

fn policy() -> Policy {
    Policy { authenticated: true, take_next: false, ..exact() }
}

/// A worker with a fresh token whose first poll is in flight.
fn authorised() -> (Bench<4>, downbeat_core::machine::CallId) {
    let mut bench = Bench::<4>::new(policy());
    let refresh = refreshed(bench.tick());
    let poll = bench.token(refresh, None);
    let (poll, ..) = bench.is_poll(poll);
    (bench, poll)
}

#[test]
fn nothing_is_sent_before_there_is_a_token_and_one_refresh_is_in_flight() {
    let mut bench = Bench::<4>::new(policy());
    let _ = refreshed(bench.tick());
    assert_eq!(bench.tick(), Action::Wait { until: None, why: Why::Auth });
}

#[test]
fn failed_refreshes_wait_2_4_8_up_to_60_seconds() {
    let mut bench = Bench::<4>::new(policy());
    let mut at = 0;
    for delay in [2, 4, 8, 16, 32, 60, 60] {
        let call = refreshed(bench.tick());
        at += delay * 1_000;
        assert_eq!(waits(bench.reply(call, failed(Fault::Rejected))).unwrap().as_millis(), at);
        bench.at(at - 1);
        assert!(matches!(bench.tick(), Action::Wait { .. }));
        bench.at(at);
    }
    let _ = refreshed(bench.tick());
}

#[test]
fn retry_after_of_the_issuer_is_obeyed() {
    let mut bench = Bench::<4>::new(policy());
    let call = refreshed(bench.tick());
    let until = waits(bench.reply(call, asked(Fault::Throttled, secs(30)))).unwrap();
    assert!((30_000..=33_000).contains(&until.as_millis()));
}

#[test]
fn a_token_is_renewed_at_four_fifths_of_its_life_and_used_meanwhile() {
    let mut bench = Bench::<4>::new(policy());
    let call = refreshed(bench.tick());
    let poll = bench.token(call, Some(secs(100)));
    let (poll, ..) = bench.is_poll(poll);
    assert!(matches!(bench.at(79_999).tick(), Action::Wait { why: Why::Auth, .. }));
    let refresh = refreshed(bench.at(80_000).tick());
    let next = bench.ok(poll);
    let (poll, ..) = bench.is_poll(next);
    let next = bench.reply(refresh, failed(Fault::Server));
    assert_eq!(waits(next).unwrap().as_millis(), 82_000);
    let _ = bench.ok(poll);
}

#[test]
fn a_401_to_an_accepted_token_is_followed_by_a_refresh_at_once() {
    let (mut bench, poll) = authorised();
    let next = bench.at(2).ok(poll);
    let (poll, ..) = bench.is_poll(next);
    let _ = refreshed(bench.reply(poll, failed(Fault::Unauthorized)));
}

#[test]
fn a_401_to_a_new_token_waits_like_a_failed_refresh() {
    let (mut bench, poll) = authorised();
    let next = bench.reply(poll, failed(Fault::Unauthorized));
    assert_eq!(next, Action::Wait { until: Some(bench.now.saturating_add(secs(2))), why: Why::Auth });
}

#[test]
fn a_401_to_an_older_token_starts_no_refresh() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..policy() });
    let refresh = refreshed(bench.tick());
    let poll = bench.token(refresh, None);
    let (poll, ..) = bench.is_poll(poll);
    let entry = bench.run(poll, 1, None);
    let next = bench.ok(poll);
    let (second, ..) = bench.is_poll(next);
    let (update, ..) = updated(bench.finish(entry));
    let refresh = refreshed(bench.reply(second, failed(Fault::Unauthorized)));
    let _ = bench.token(refresh, None);
    let (_, attempt, _) = updated(bench.reply(update, failed(Fault::Unauthorized)));
    assert_eq!(attempt, 0, "the report is sent again at once, with the new token");
}

#[test]
fn a_401_uses_up_no_attempt_of_a_report() {
    let (mut bench, poll) = authorised();
    let entry = bench.run(poll, 1, None);
    let _ = bench.ok(poll);
    let (update, ..) = updated(bench.finish(entry));
    let next = bench.reply(update, failed(Fault::Unauthorized));
    let refresh = refreshed(next);
    let (_, attempt, _) = updated(bench.token(refresh, None));
    assert_eq!(attempt, 0);
}

#[test]
fn a_server_without_tokens_is_not_asked_again() {
    let mut bench = Bench::<4>::new(policy());
    let call = refreshed(bench.tick());
    let next = bench.reply(call, Ok(Answer::NoAuth));
    assert!(matches!(next, Action::Poll { .. }));
}

#[test]
fn without_a_token_a_401_closes_the_gate_for_all_calls() {
    let mut bench = Bench::<4>::new(Policy { authenticated: false, concurrency: 2, ..policy() });
    let (poll, ..) = bench.polls();
    let entry = bench.run(poll, 1, None);
    let next = bench.ok(poll);
    let (poll, ..) = bench.is_poll(next);
    let _ = bench.reply(poll, failed(Fault::Unauthorized));
    assert_eq!(waits(bench.at(100).finish(entry)).unwrap().as_millis(), 2_000);
    let (_, attempt, _) = updated(bench.at(2_000).tick());
    assert_eq!(attempt, 0);
}

#[test]
fn a_paused_and_empty_worker_lets_its_token_grow_old() {
    let mut bench = Bench::<4>::new(policy());
    let call = refreshed(bench.tick());
    let _ = bench.control(Control::Pause);
    assert_eq!(bench.token(call, Some(secs(100))), Action::Wait { until: None, why: Why::Paused });
    let _ = refreshed(bench.at(200_000).control(Control::Resume));
}

#[test]
fn a_server_that_wants_tokens_after_all_is_asked_for_one() {
    let mut bench = Bench::<4>::new(policy());
    let call = refreshed(bench.tick());
    let poll = bench.reply(call, Ok(Answer::NoAuth));
    let (poll, ..) = bench.is_poll(poll);
    let until = waits(bench.reply(poll, failed(Fault::Unauthorized))).unwrap();
    assert_eq!(until.as_millis(), 2_000, "as after a failed refresh");
    let call = refreshed(bench.at(2_000).tick());
    assert!(matches!(bench.token(call, None), Action::Poll { .. }));
}

#[test]
fn a_token_that_is_over_at_once_is_not_renewed_without_a_pause() {
    let mut bench = Bench::<4>::new(policy());
    let call = refreshed(bench.tick());
    let _ = bench.token(call, Some(secs(0)));
    assert_eq!(bench.worker.deadline(), Some((bench.now.saturating_add(secs(2)), Why::Auth)));
    let _ = refreshed(bench.at(2_000).tick());
}

#[test]
fn a_report_that_no_token_helps_is_repeated_at_once_and_then_with_the_backoff() {
    let (mut bench, poll) = authorised();
    let entry = bench.run(poll, 1, Some(secs(20)));
    let _ = bench.ok(poll);
    let _ = bench.control(Control::Pause);
    let mut update = updated(bench.finish(entry)).0;
    let mut reports = 1;
    while bench.now < downbeat_core::machine::Instant::from_secs(60) {
        let mut action = bench.reply(update, failed(Fault::Unauthorized));
        loop {
            action = match action {
                Action::Refresh { call } => bench.token(call, None),
                // The heartbeat's answer proves each token.
                Action::Extend { call, .. } => bench.ok(call),
                Action::Lapsed { .. } => bench.tick(),
                Action::Update { call, attempt, .. } => {
                    assert_eq!(attempt, 0);
                    reports += 1;
                    update = call;
                    break;
                }
                Action::Wait { until, .. } => {
                    bench.now = until.unwrap();
                    bench.tick()
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(reports <= 8, "{reports} reports in a minute");
}

#[test]
fn a_give_back_of_a_surplus_task_has_a_token_got_also_while_paused_and_empty() {
    let (mut bench, poll) = authorised();
    let entry = bench.run(poll, 1, None);
    let Action::GiveBack { call: give_back, .. } = bench.lease(poll, 2, Some(secs(60))) else { panic!() };
    let _ = bench.ok(poll);
    let _ = bench.control(Control::Pause);
    let (update, ..) = updated(bench.finish(entry));
    let _ = bench.ok(update);
    let refresh = refreshed(bench.reply(give_back, failed(Fault::Unauthorized)));
    assert!(waits(bench.token(refresh, None)).is_some());
    assert!(matches!(bench.at(500).tick(), Action::GiveBack { .. }));
}
