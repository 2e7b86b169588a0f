//! S5: a task that is running or being reported here is not run a second time.

mod support;

use downbeat_core::machine::{Action, Fault, Policy};
use support::{Bench, exact, failed, key, updated};

#[test]
fn a_second_delivery_of_a_running_task_is_ignored() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 3, ..exact() });
    let (call, ..) = bench.polls();
    bench.run(call, 1, None);
    assert_eq!(bench.lease(call, 1, None), Action::Ignore { key: key(1) });
    assert_eq!(bench.worker.snapshot().running, 1);
}

#[test]
fn a_second_delivery_of_a_task_whose_result_is_reported_is_ignored() {
    let (mut bench, entry, poll) = Bench::<4>::running_and_polling(Policy { concurrency: 2, ..exact() });
    let (update, ..) = updated(bench.finish(entry));
    let _ = bench.reply(update, failed(Fault::Server));
    assert_eq!(bench.lease(poll, 1, None), Action::Ignore { key: key(1) });
}

#[test]
fn a_task_that_has_ended_here_may_come_again() {
    let (mut bench, entry, poll) = Bench::<4>::running_and_polling(Policy { concurrency: 2, ..exact() });
    let (update, ..) = updated(bench.finish(entry));
    let _ = bench.ok(update);
    bench.run(poll, 1, None);
}

#[test]
fn a_poll_that_brought_what_is_here_already_counts_as_empty() {
    let mut bench = Bench::<4>::new(Policy { concurrency: 3, ..exact() });
    let (call, ..) = bench.polls();
    bench.run(call, 1, None);
    let Action::Poll { call, .. } = bench.ok(call) else { panic!("the queue is asked again at once") };
    assert_eq!(bench.lease(call, 1, None), Action::Ignore { key: key(1) });
    assert!(matches!(bench.ok(call), Action::Wait { until: Some(at), .. } if at.as_millis() == 2));
}
