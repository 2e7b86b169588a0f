//! S25: the server is asked about what runs for long, and a run that nobody waits for is stopped.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]
#![expect(clippy::unwrap_used, reason = "what is not there fails the test")]

mod support;

use downbeat_core::machine::{Action, Answer, CallId, Fault, Loss, OnLapse, Policy, RecallReason};
use support::{Bench, exact, extended, failed, secs, waits};

fn policy() -> Policy {
    Policy { take_next: false, ask_interval: Some(secs(10)), ..exact() }
}

fn asked(action: Action) -> CallId {
    match action {
        Action::Ask { call, .. } => call,
        other => panic!("expected a question, got {other:?}"),
    }
}

/// When the next question comes: in the last tenth of the interval.
fn next_ask<const N: usize>(bench: &mut Bench<N>, from: u64) -> CallId {
    let at = waits(bench.tick()).unwrap();
    assert!((from + 9_000_000..=from + 10_000_000).contains(&at.as_micros()), "{at:?}");
    asked(bench.only_at(at.as_micros()))
}

#[test]
fn a_task_that_runs_is_asked_about_at_the_interval() {
    let (mut bench, _) = Bench::<1>::running(policy(), None);
    let call = next_ask(&mut bench, 0);
    let at = bench.now.as_micros();
    let _ = bench.ok(call);
    let _ = next_ask(&mut bench, at);
}

#[test]
fn a_question_that_fails_is_asked_again_at_the_interval() {
    let (mut bench, _) = Bench::<1>::running(policy(), None);
    let call = next_ask(&mut bench, 0);
    let at = bench.now.as_micros();
    let _ = bench.reply(call, failed(Fault::Internal));
    let _ = next_ask(&mut bench, at);
}

#[test]
fn nothing_is_asked_about_a_task_whose_code_has_ended() {
    let (mut bench, entry) = Bench::<1>::running(policy(), None);
    let _ = bench.at(1_000).control(downbeat_core::machine::Control::Pause);
    let Action::Update { call, .. } = bench.finish(entry) else { panic!() };
    assert_eq!(waits(bench.at(11_000).tick()), None);
    let _ = bench.ok(call);
    assert_eq!(waits(bench.at(30_000).tick()), None);
}

#[test]
fn a_task_that_the_server_has_ended_is_stopped_and_its_outcome_discarded() {
    for reply in [Ok(Answer::Ended), failed(Fault::Gone)] {
        let (mut bench, entry) = Bench::<1>::running(policy(), Some(secs(60)));
        let call = next_ask(&mut bench, 0);
        assert_eq!(bench.reply(call, reply), Action::Recall { entry, why: RecallReason::Cancelled });
        assert_eq!(waits(bench.at(50_000).tick()), None, "nothing is extended or asked any more");
        assert_eq!(bench.finish(entry), Action::Discard { entry, why: Loss::Ended });
        assert_eq!(bench.worker.snapshot().held, 0);
    }
}

#[test]
fn an_extension_for_a_task_that_is_not_there_stops_it_too() {
    let (mut bench, entry) = Bench::<1>::running(Policy { ask_interval: None, ..policy() }, Some(secs(10)));
    let call = extended(bench.at(8_000).tick());
    assert_eq!(
        bench.reply(call, failed(Fault::Gone)),
        Action::Recall { entry, why: RecallReason::Cancelled }
    );
}

#[test]
fn what_is_said_of_an_earlier_task_of_the_place_does_not_stop_the_next() {
    let (mut bench, entry) = Bench::<1>::running(policy(), None);
    let old = next_ask(&mut bench, 0);
    let Action::Update { call, .. } = bench.finish(entry) else { panic!() };
    let poll = bench.ok(call);
    let (poll, ..) = bench.is_poll(poll);
    bench.run(poll, 2, None);
    let _ = bench.ok(poll);
    let _ = bench.reply(old, Ok(Answer::Ended));
    assert_eq!(bench.worker.snapshot().running, 1);
    assert!(matches!(bench.tick(), Action::Wait { until: Some(_), .. }));
}

#[test]
fn a_question_about_an_earlier_task_starts_none_about_a_run_that_is_stopped() {
    let (mut bench, entry) = Bench::<1>::running(policy(), None);
    let old = next_ask(&mut bench, 0);
    let Action::Update { call, .. } = bench.finish(entry) else { panic!() };
    let poll = bench.ok(call);
    let (poll, ..) = bench.is_poll(poll);
    let entry = bench.run(poll, 2, Some(secs(10)));
    let _ = bench.ok(poll);
    let due = bench.now.as_micros() + 8_000_000;
    let call = extended(bench.only_at(due));
    assert_eq!(
        bench.reply(call, failed(Fault::Gone)),
        Action::Recall { entry, why: RecallReason::Cancelled }
    );
    let _ = bench.ok(old);
    assert_eq!(waits(bench.at_micros(due + 30_000_000).tick()), None);
    assert_eq!(bench.finish(entry), Action::Discard { entry, why: Loss::Ended });
}

#[test]
fn a_run_that_its_lapse_stops_is_asked_about_no_more() {
    let policy = Policy { on_lapse: OnLapse::Stop, extend: true, ..policy() };
    let (mut bench, entry) = Bench::<1>::running(policy, Some(secs(5)));
    let call = extended(bench.only_at(4_000_000));
    let _ = bench.at(4_999).reply(call, failed(Fault::Internal));
    assert_eq!(waits(bench.tick()).unwrap().as_micros(), 5_000_000);
    assert_eq!(bench.at(5_000).tick(), Action::Recall { entry, why: RecallReason::Lapsed });
    assert_eq!(waits(bench.at(20_000).tick()), None);
}

#[test]
fn a_task_that_the_server_has_timed_out_has_lapsed_whatever_the_own_clock_says() {
    let (mut bench, entry) = Bench::<1>::running(policy(), Some(secs(60)));
    let call = next_ask(&mut bench, 0);
    assert_eq!(bench.reply(call, Ok(Answer::TimedOut)), Action::Lapsed { entry });
    assert_eq!(waits(bench.at(50_000).tick()), None, "nothing is extended or asked any more");
    assert!(matches!(bench.finish(entry), Action::Update { .. }));
    let stops = Policy { on_lapse: OnLapse::Stop, ..policy() };
    let (mut bench, entry) = Bench::<1>::running(stops, Some(secs(60)));
    let call = next_ask(&mut bench, 0);
    assert!(
        matches!(bench.reply(call, Ok(Answer::TimedOut)), Action::Recall { entry: of, .. } if of == entry)
    );
}
