//! S22: with a store, a result is accepted or stored within a stated time, whatever else is due and whatever the link does.

#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

mod support;

use downbeat_core::machine::{Action, Fault, Policy};
use support::{Bench, exact, extended, failed, secs, updated};

fn policy() -> Policy {
    Policy { take_next: false, store: true, ..exact() }
}

#[test]
fn a_result_goes_to_the_store_in_time_while_the_server_cannot_be_reached() {
    let (mut bench, entry) = Bench::<2>::running(Policy { store_after: secs(50), ..policy() }, None);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let mut action = bench.at(1_000).finish(entry);
    loop {
        action = match action {
            Action::Update { call, .. } => bench.reply(call, failed(Fault::NotSent)),
            Action::Wait { until: Some(at), .. } => bench.at_micros(at.as_micros()).tick(),
            Action::Spill { entry: of, .. } => break assert_eq!(of, entry),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.now.as_millis(), 51_000);
}

#[test]
fn one_microsecond_before_its_time_it_stays_and_at_the_instant_it_goes() {
    let (mut bench, entry) = Bench::<2>::running(Policy { store_after: secs(5), ..policy() }, None);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let (call, ..) = updated(bench.at(1_000).finish(entry));
    let _ = bench.reply(call, failed(Fault::Server));
    assert!(matches!(bench.only_at(6_000_000), Action::Spill { .. }));
}

#[test]
fn with_a_journal_it_stays_four_times_as_long_however_often_its_report_fails() {
    let journaled = Policy { store_after: secs(60), journaled: true, ..policy() };
    for fault in [Fault::Throttled, Fault::Internal] {
        let (mut bench, entry) = Bench::<2>::running(journaled, None);
        let _ = bench.control(downbeat_core::machine::Control::Pause);
        let mut action = bench.at(1_000).finish(entry);
        let mut reports = 0;
        loop {
            action = match action {
                Action::Update { call, .. } => {
                    reports += 1;
                    bench.reply(call, failed(fault))
                }
                Action::Wait { until: Some(at), .. } => bench.at_micros(at.as_micros()).tick(),
                Action::Spill { entry: of, .. } => break assert_eq!(of, entry),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bench.now.as_millis(), 241_000, "{fault:?}");
        assert!(reports > 4, "{reports}");
    }
}

#[test]
fn a_report_in_flight_at_that_time_is_waited_for() {
    let (mut bench, entry) = Bench::<2>::running(Policy { store_after: secs(5), ..policy() }, None);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let (call, ..) = updated(bench.at(1_000).finish(entry));
    assert!(matches!(bench.at(6_000).tick(), Action::Wait { .. }));
    assert!(matches!(bench.at(7_000).reply(call, failed(Fault::Server)), Action::Spill { .. }));
}

#[test]
fn one_that_the_server_answers_and_refuses_goes_after_three_times_that() {
    let (mut bench, entry) = Bench::<2>::running(Policy { store_after: secs(25), ..policy() }, None);
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let mut action = bench.finish(entry);
    loop {
        action = match action {
            Action::Update { call, .. } => bench.reply(call, failed(Fault::Internal)),
            Action::Wait { until: Some(at), .. } => bench.at_micros(at.as_micros()).tick(),
            Action::Spill { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.now.as_millis(), 75_000);
}

#[test]
fn the_report_of_a_finished_task_comes_before_the_extension_of_its_lease() {
    let (mut bench, entry) = Bench::<2>::running(policy(), Some(secs(10)));
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    // The link is down when both become due.
    let (call, ..) = updated(bench.at(7_990).finish(entry));
    let _ = bench.reply(call, failed(Fault::NotSent));
    let call = extended(bench.at(8_240).tick());
    let _ = bench.reply(call, failed(Fault::NotSent));
    let mut seen = Vec::new();
    let mut action = bench.tick();
    while bench.now.as_millis() < 19_000 {
        action = match action {
            Action::Update { call, .. } => {
                seen.push(("update", bench.now.as_millis()));
                bench.reply(call, failed(Fault::NotSent))
            }
            Action::Extend { call, .. } => bench.reply(call, failed(Fault::NotSent)),
            Action::Lapsed { .. } => bench.tick(),
            Action::Wait { until: Some(at), .. } => bench.at_micros(at.as_micros()).tick(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen.len(), 1, "the second try, at its time, and not behind extensions: {seen:?}");
}

#[test]
fn what_is_reported_in_a_result_s_place_is_what_is_stored() {
    for (fault, instead) in [
        (Fault::Rejected, Some(downbeat_core::machine::Instead::Rejected)),
        // A result that is refused may still be taken later.
        (Fault::Internal, None),
    ] {
        let (mut bench, entry) = Bench::<2>::running(Policy { store_after: secs(60), ..policy() }, None);
        let _ = bench.control(downbeat_core::machine::Control::Pause);
        let (call, ..) = updated(bench.finish(entry));
        let mut action = bench.reply(call, failed(fault));
        loop {
            action = match action {
                Action::Update { call, instead: Some(_), .. } => bench.reply(call, failed(Fault::Server)),
                Action::Update { call, .. } => bench.reply(call, failed(fault)),
                Action::Wait { until: Some(at), .. } => bench.at_micros(at.as_micros()).tick(),
                Action::Spill { instead: what, .. } => break assert_eq!(what, instead),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn an_extension_under_way_at_that_time_hides_no_lapse_and_makes_none() {
    let (mut bench, entry) = Bench::<2>::running(Policy { store_after: secs(8), ..policy() }, Some(secs(10)));
    let _ = bench.control(downbeat_core::machine::Control::Pause);
    let (call, ..) = updated(bench.at(4_000).finish(entry));
    let _ = bench.reply(call, failed(Fault::Server));
    let _ = extended(bench.at(8_000).tick());
    // The lease is over at 10 s, unless that extension was accepted; the result goes to the store at 12 s.
    assert!(matches!(bench.only_at(12_000_000), Action::Spill { .. }));
}
