//! S4: a yield whose first report may have had effect is not repeated once the task may be with somebody else.

mod support;

use downbeat_core::machine::{Action, Control, EntryId, Fault, Loss, Policy};
use support::{Bench, exact, failed, secs, updated, waits};

fn yielding(callback: u64) -> (Bench<2>, EntryId, downbeat_core::machine::CallId) {
    let (mut bench, entry) = Bench::<2>::running(exact(), None);
    let _ = bench.control(Control::Pause);
    let (call, _, take_next) = updated(bench.give_way(entry, secs(callback)));
    assert!(!take_next, "update-v2 polls only for a final outcome");
    (bench, entry, call)
}

#[test]
fn it_is_repeated_while_a_call_would_end_before_the_callback() {
    // The repeat is due at 10 s and may take 10 s: it ends before 20.000001 s, and not before 20 s.
    let (mut bench, _, call) = yielding(21);
    assert_eq!(waits(bench.reply(call, failed(Fault::Unknown))).unwrap().as_millis(), 10_000);
    assert!(matches!(bench.at(10_000).tick(), Action::Update { attempt: 1, .. }));
}

#[test]
fn it_is_given_up_where_the_repeat_could_come_after_the_callback() {
    for fault in [Fault::Unknown, Fault::Server] {
        let (mut bench, entry, call) = yielding(20);
        assert_eq!(
            bench.reply(call, failed(fault)),
            Action::Discard { entry, why: Loss::UnsafeYield },
            "{fault:?}"
        );
    }
}

#[test]
fn it_is_repeated_at_any_time_where_no_try_was_sent() {
    for fault in [Fault::NotSent, Fault::Throttled] {
        let (mut bench, _, call) = yielding(1);
        let _ = bench.reply(call, failed(fault));
        assert!(matches!(bench.at(10_000).tick(), Action::Update { attempt: 1, .. }), "{fault:?}");
    }
}

#[test]
fn an_earlier_doubtful_try_counts_after_a_later_one_that_was_not_sent() {
    let (mut bench, entry, call) = yielding(21);
    let _ = bench.reply(call, failed(Fault::Unknown));
    let (call, ..) = updated(bench.at(10_000).tick());
    assert_eq!(bench.reply(call, failed(Fault::NotSent)), Action::Discard { entry, why: Loss::UnsafeYield });
}

#[test]
fn a_repeat_that_had_to_wait_for_a_lane_is_checked_again_when_it_is_sent() {
    let (mut bench, entry, call) = yielding(21);
    let _ = bench.reply(call, failed(Fault::Unknown));
    // Nobody ticks until 11 s: 11 s + 10 s is not before 21 s.
    assert_eq!(bench.at(11_000).tick(), Action::Discard { entry, why: Loss::UnsafeYield });
}

#[test]
fn a_second_delivery_proves_that_the_yield_was_accepted() {
    let (mut bench, entry, poll) = Bench::<4>::running_and_polling(Policy { concurrency: 2, ..exact() });
    let (update, ..) = updated(bench.give_way(entry, secs(1)));
    let again = bench.at(1_500).run(poll, 1, None);
    assert_ne!(again, entry);
    let _ = bench.ok(poll);
    let _ = bench.reply(update, failed(Fault::Server));
    assert_eq!(bench.worker.snapshot().held, 1, "the old entry ended with its reply");
    assert!(matches!(bench.finish(again), Action::Update { entry, .. } if entry == again));
}

#[test]
fn a_yield_that_had_no_effect_is_tried_again_after_the_delays_of_failing_calls() {
    let (mut bench, entry) = Bench::<1>::running(Policy { take_next: false, ..exact() }, None);
    let mut call = updated(bench.give_way(entry, secs(1))).0;
    let mut at = 0;
    for delay in [250, 500, 1_000, 2_000, 4_000, 5_000] {
        let until = waits(bench.reply(call, failed(Fault::Throttled))).unwrap();
        at += delay;
        assert_eq!(until.as_millis(), at);
        call = updated(bench.only_at(at * 1_000)).0;
    }
}
