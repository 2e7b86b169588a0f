//! Tasks that are malformed, of another worker, too many, or here already.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use downbeat::{Context, RawValue, Worker};
use downbeat_server::http::{CallKind, Fault, FaultKind, Options, Status};

use crate::{Bench, assert_echoed, echo, faulty, first_attempt, quick, schedule, server};

/// Runs twenty tasks while some polls bring what the fault makes of them; the server's workflows and the runner's
/// summary.
fn through(task: &str, kind: FaultKind, times: u64) -> (Vec<(Status, String)>, downbeat::Summary) {
    let server = server(task, Options::default());
    let fault = faulty(&server, Fault::new(kind).on(&[CallKind::Poll]).times(times));
    let workflows = schedule(&server, task, 20);
    let mut bench = Bench::start(&server.url(), [echo(task).policy(|policy| policy.take_next = false)]);
    bench.wait_completed(&server, 20);
    assert_echoed(&server, &workflows);
    let hit = server.faults().active().iter().all(|active| active.id != fault);
    assert!(hit, "the fault was used up");
    let firsts = workflows.iter().map(|id| first_attempt(&server.workflow(id).unwrap())).collect();
    (firsts, bench.drain())
}

fn failures(firsts: &[(Status, String)], words: &str) -> usize {
    firsts.iter().filter(|(status, reason)| *status == Status::Failed && reason.contains(words)).count()
}

#[test]
fn a_malformed_task_is_reported_failed_and_the_others_of_its_batch_are_run() {
    let (firsts, summary) = through("malformed", FaultKind::MalformedTask, 3);
    let failed = failures(&firsts, "the polled task's `inputData` is not an object");
    assert!(failed >= 3, "{firsts:?}");
    assert_eq!(summary.failed, failed as u64);
}

#[test]
fn a_task_without_an_id_is_counted_and_logged_and_comes_again() {
    let (_, summary) = through("nameless", FaultKind::NoId, 3);
    assert!(summary.unreportable >= 3, "{summary:?}");
    let log = crate::logged();
    assert!(log.contains("the server sent a task that cannot even be reported"), "{log}");
    assert!(log.contains("the polled task has no `taskId`"), "{log}");
}

#[test]
fn a_task_of_another_type_is_reported_failed_and_not_run() {
    let (firsts, summary) = through("strange", FaultKind::WrongType, 3);
    assert!(failures(&firsts, "to a worker for `strange`") >= 3, "{firsts:?}");
    assert_eq!(summary.completed, 20);
}

#[test]
fn tasks_that_were_not_asked_for_are_given_back_and_run_later() {
    let _ = through("surplus", FaultKind::OverDeliver, 3);
}

#[test]
fn a_second_delivery_of_a_running_task_is_not_run_beside_the_first() {
    let server = server("twice", Options::default());
    faulty(&server, Fault::new(FaultKind::Duplicate).on(&[CallKind::Poll]).times(5));
    let running: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let most = Arc::new(Mutex::new(0));
    let (seen, highest) = (Arc::clone(&running), Arc::clone(&most));
    let worker = Worker::new("twice", move |input: Box<RawValue>, context: &Context| {
        {
            let mut seen = seen.lock().unwrap();
            let here = seen.entry(context.task_id().to_owned()).or_default();
            *here += 1;
            let mut highest = highest.lock().unwrap();
            *highest = (*here).max(*highest);
        }
        // Long enough for the next poll to bring it again.
        let _ = context.wait_cancelled(std::time::Duration::from_millis(60));
        *seen.lock().unwrap().entry(context.task_id().to_owned()).or_default() -= 1;
        Ok(input)
    });
    let workflows = schedule(&server, "twice", 12);
    let mut bench = Bench::start(&server.url(), [quick(worker.slots(4))]);
    bench.wait_completed(&server, 12);
    assert_echoed(&server, &workflows);
    assert_eq!(*most.lock().unwrap(), 1);
    assert_eq!(bench.drain().given_up, 0);
}
