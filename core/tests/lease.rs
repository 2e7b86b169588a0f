//! S6, S7: a lease is extended at four fifths, counted from the poll's sending, until the outcome is accepted.

mod support;

use downbeat_core::machine::{Action, Control, Fault, Policy};
use support::{Bench, exact, extended, failed, ms, secs, updated, waits};

fn policy() -> Policy {
    Policy { take_next: false, ..exact() }
}

#[test]
fn it_is_extended_at_four_fifths_of_its_length_from_the_sending_of_the_poll() {
    let mut bench = Bench::<2>::new(policy());
    let (call, ..) = bench.at(106).polls();
    bench.at(140);
    bench.run(call, 1, Some(secs(10)));
    let _ = bench.ok(call);
    let call = extended(bench.only_at(8_106_000));
    let _ = bench.at(8_130).ok(call);
    let _ = extended(bench.only_at(16_106_000));
}

#[test]
fn a_failed_extension_is_tried_again_after_a_sixteenth() {
    let (mut bench, _) = Bench::<2>::running(policy(), Some(secs(10)));
    let call = extended(bench.at(8_000).tick());
    assert_eq!(waits(bench.at(8_010).reply(call, failed(Fault::Server))).unwrap().as_millis(), 8_635);
    let _ = extended(bench.only_at(8_635_000));
}

#[test]
fn it_is_extended_while_the_result_is_retried() {
    let (mut bench, entry) = Bench::<2>::running(policy(), Some(secs(10)));
    let _ = bench.control(Control::Pause);
    let (update, ..) = updated(bench.at(7_000).finish(entry));
    let _ = bench.reply(update, failed(Fault::Server));
    let call = extended(bench.only_at(8_000_000));
    let _ = bench.ok(call);
    let _ = extended(bench.only_at(16_000_000));
}

#[test]
fn nothing_is_extended_after_the_acceptance() {
    let (mut bench, entry) = Bench::<2>::running(policy(), Some(secs(10)));
    let _ = bench.control(Control::Pause);
    let (update, ..) = updated(bench.at(7_000).finish(entry));
    let _ = bench.ok(update);
    assert_eq!(waits(bench.at(9_000).tick()), None);
}

#[test]
fn the_extension_of_an_earlier_task_of_the_place_keeps_the_next_one_waiting_and_does_not_count_for_it() {
    let (mut bench, entry) = Bench::<1>::running(policy(), Some(secs(10)));
    let old = extended(bench.at(8_000).tick());
    let _ = bench.finish(entry);
    let (update, ..) = updated(bench.only_at(9_000_000));
    let poll = bench.ok(update);
    let (poll, ..) = bench.is_poll(poll);
    bench.run(poll, 2, Some(secs(10)));
    let _ = bench.ok(poll);
    let wait = waits(bench.at(17_500).tick()).unwrap();
    assert_eq!(wait.as_millis(), 19_000, "the old extension is still in flight: the lease would end");
    let _ = extended(bench.ok(old));
}

#[test]
fn a_task_without_a_response_timeout_is_never_extended() {
    for timeout in [None, Some(ms(0))] {
        let (mut bench, _) = Bench::<1>::running(policy(), timeout);
        assert_eq!(waits(bench.tick()), None);
    }
}

#[test]
fn leases_come_before_results_and_results_before_polls() {
    let mut bench = Bench::<8>::new(Policy { concurrency: 3, max_calls: 1, ..policy() });
    let (call, ..) = bench.polls();
    bench.run(call, 1, Some(secs(1)));
    let second = bench.run(call, 2, None);
    let _ = bench.at(900).finish(second);
    let extend = extended(bench.ok(call));
    let (update, ..) = updated(bench.ok(extend));
    assert!(matches!(bench.ok(update), Action::Poll { .. }));
}
