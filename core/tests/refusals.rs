//! S16, S26: a result that the server will not take is replaced by a report that the task failed, and no other is.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use downbeat_core::machine::{Action, EntryId, Fault, Instead, Loss, Policy};
use support::{Bench, exact, failed, secs, updated, waits};

fn policy() -> Policy {
    Policy { take_next: false, ..exact() }
}

fn paused(policy: Policy) -> (Bench<2>, EntryId) {
    let (mut bench, entry) = Bench::<2>::running(policy, None);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    (bench, entry)
}

/// The update's call, and what it says in the outcome's place.
fn replaced(action: Action) -> (downbeat_core::machine::CallId, Option<Instead>) {
    match action {
        Action::Update { call, instead, take_next: false, .. } => (call, instead),
        other => panic!("expected an update, got {other:?}"),
    }
}

#[test]
fn a_rejected_result_is_replaced_at_once() {
    for (fault, why) in [(Fault::Rejected, Instead::Rejected), (Fault::TooLarge, Instead::TooLarge)] {
        let (mut bench, entry) = paused(policy());
        let (call, instead) = replaced(bench.at(5).finish(entry));
        assert_eq!(instead, None);
        let (call, instead) = replaced(bench.at(7).reply(call, failed(fault)));
        assert_eq!(instead, Some(why));
        let _ = bench.ok(call);
        assert_eq!(bench.worker.snapshot().held, 0);
    }
}

#[test]
fn where_the_replacement_is_rejected_too_the_result_is_discarded() {
    let (mut bench, entry) = paused(policy());
    let (call, _) = replaced(bench.finish(entry));
    let (call, _) = replaced(bench.reply(call, failed(Fault::Rejected)));
    assert_eq!(bench.reply(call, failed(Fault::Rejected)), Action::Discard { entry, why: Loss::Rejected });
    assert_eq!(bench.worker.snapshot().held, 0);
}

#[test]
fn a_replacement_is_retried_as_any_report_is() {
    let (mut bench, entry) = paused(policy());
    let (call, _) = replaced(bench.finish(entry));
    let (call, _) = replaced(bench.reply(call, failed(Fault::Rejected)));
    assert!(waits(bench.reply(call, failed(Fault::Server))).is_some());
    let (call, instead) = replaced(bench.only_at(20_000_000));
    assert_eq!(instead, Some(Instead::Rejected));
    let _ = bench.ok(call);
    assert_eq!(bench.worker.snapshot().held, 0);
}

#[test]
fn a_rejected_yield_is_replaced_too_so_that_its_task_does_not_stay_open() {
    let (mut bench, entry) = paused(policy());
    let (call, ..) = updated(bench.give_way(entry, secs(60)));
    let (_, instead) = replaced(bench.reply(call, failed(Fault::Rejected)));
    assert_eq!(instead, Some(Instead::Rejected));
}

#[test]
fn a_result_of_a_task_that_is_not_there_any_more_ends_quietly() {
    let (mut bench, entry) = paused(policy());
    let (call, ..) = updated(bench.finish(entry));
    assert_eq!(bench.reply(call, failed(Fault::Gone)), Action::Discard { entry, why: Loss::Ended });
}

/// Sends the result until just before its sixth answer; the call of that try.
fn refused_five_times(bench: &mut Bench<2>, entry: EntryId, fault: Fault) -> downbeat_core::machine::CallId {
    let (mut call, mut instead) = replaced(bench.at(0).finish(entry));
    for at in [10, 30, 60, 90, 120] {
        assert_eq!(instead, None);
        let _ = bench.reply(call, failed(fault));
        (call, instead) = replaced(bench.only_at(at * 1_000_000));
    }
    assert_eq!(instead, None);
    call
}

#[test]
fn the_sixth_refusal_of_one_result_is_followed_by_a_replacement_at_once() {
    for fault in [Fault::Internal, Fault::Forbidden] {
        let (mut bench, entry) = paused(policy());
        let call = refused_five_times(&mut bench, entry, fault);
        let (call, instead) = replaced(bench.reply(call, failed(fault)));
        assert_eq!(instead, Some(Instead::Refused));
        let _ = bench.ok(call);
        assert_eq!(bench.worker.snapshot().held, 0);
    }
}

#[test]
fn where_the_replacement_is_refused_too_the_result_itself_is_tried_first_again() {
    let (mut bench, entry) = paused(policy());
    let call = refused_five_times(&mut bench, entry, Fault::Internal);
    let (call, _) = replaced(bench.reply(call, failed(Fault::Internal)));
    let _ = bench.reply(call, failed(Fault::Internal));
    let (call, instead) = replaced(bench.only_at(150_000_000));
    assert_eq!(instead, None);
    let (_, instead) = replaced(bench.reply(call, failed(Fault::Internal)));
    assert_eq!(instead, Some(Instead::Refused));
}

#[test]
fn a_server_in_trouble_replaces_nothing() {
    for fault in [Fault::Server, Fault::Throttled, Fault::Unknown, Fault::Slow, Fault::NotSent] {
        let (mut bench, entry) = paused(policy());
        let (mut call, mut instead) = replaced(bench.finish(entry));
        for at in [10, 30, 60, 90, 120, 150, 180, 210] {
            assert_eq!(instead, None, "{fault:?}");
            let _ = bench.reply(call, failed(fault));
            (call, instead) = replaced(bench.at(at * 1_000).tick());
        }
    }
}

#[test]
fn while_polls_fail_a_refusal_is_trouble_of_the_server() {
    let mut bench = Bench::<2>::new(Policy { concurrency: 2, ..policy() });
    let (call, ..) = bench.polls();
    let entry = bench.run(call, 1, None);
    let action = bench.ok(call);
    let (mut poll, ..) = bench.is_poll(action);
    let (mut report, ..) = updated(bench.finish(entry));
    let mut reports = 0;
    let mut at = 0;
    while reports < 10 {
        let mut action = bench.at(at).reply(poll, failed(Fault::Internal));
        if !matches!(action, Action::Update { .. }) {
            action = bench.reply(report, failed(Fault::Internal));
        }
        at += 1;
        loop {
            match action {
                Action::Poll { call, .. } => {
                    poll = call;
                    let _ = bench.reply(call, failed(Fault::Internal));
                    action = bench.tick();
                }
                Action::Update { call, instead, .. } => {
                    assert_eq!(instead, None);
                    report = call;
                    reports += 1;
                    break;
                }
                Action::Wait { until, .. } => action = bench.at(until.unwrap().as_millis()).tick(),
                other => panic!("{other:?}"),
            }
            at = at.max(bench.now.as_millis());
        }
    }
}

#[test]
fn a_result_that_is_refused_for_ever_gives_its_place_back() {
    let (mut bench, entry) = paused(policy());
    let mut action = bench.finish(entry);
    loop {
        action = match action {
            Action::Update { call, .. } => bench.reply(call, failed(Fault::Internal)),
            Action::Wait { until: Some(at), .. } => bench.at(at.as_millis()).tick(),
            Action::Discard { entry: of, why: Loss::Refused } if of == entry => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.now.as_millis(), 390_000);
    assert_eq!(bench.worker.snapshot().held, 0);
}

#[test]
fn where_other_results_are_accepted_the_next_try_comes_after_five_seconds() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 2, ..policy() });
    let (call, ..) = bench.polls();
    let poison = bench.run(call, 1, None);
    let other = bench.run(call, 2, None);
    let _ = bench.ok(call);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let (good, _) = replaced(bench.at(1_000).finish(other));
    let _ = bench.ok(good);
    let (call, _) = replaced(bench.at(2_000).finish(poison));
    let _ = bench.reply(call, failed(Fault::Internal));
    let (call, instead) = replaced(bench.only_at(7_000_000));
    assert_eq!(instead, None);
    // Nothing was accepted for ten seconds: it waits as any report does.
    let _ = bench.at(11_000).reply(call, failed(Fault::Internal));
    let _ = replaced(bench.only_at(31_000_000));
}
