//! What a `kill -9` leaves in the store, and what the next runner makes of it. The store is copied while the first runner
//! is at work: that is all that a killed one leaves.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use downbeat::{Context, Journal, RawValue, StdClock, Summary, TaskError, Worker};
use downbeat_core::machine::Clock as _;

use crate::conductor::{Conductor, is_extension, is_result};
use crate::support::{PATIENCE, Received, json};
use crate::{Directory, drained, echo, runner};

/// How often a store is tried to be opened, at the most: some seconds' worth.
const TRIES: u32 = 100_000;

/// Copies a store as it is now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Whether the journal has this text in it.
fn journaled(directory: &Path, text: &str) -> bool {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// The position of the first request of a kind.
fn first(received: &[Received], is: impl Fn(&Received) -> bool) -> Option<usize> {
    received.iter().position(is)
}

/// The same worker, but a result whose first report has failed waits for an hour.
fn reports_once(worker: Worker) -> Worker {
    let hour = Duration::from_secs(3_600);
    worker.policy(|policy| policy.update = [Duration::ZERO, hour, hour, hour])
}

/// A worker whose tasks run until they are cancelled; `begin` is called first, and then it is said that one has begun.
fn hangs(began: Sender<()>, begin: impl Fn(&Context) + Send + Sync + 'static) -> Worker {
    Worker::new("hangs", move |_: Box<RawValue>, context: &Context| {
        begin(context);
        began.send(()).unwrap_or_default();
        let _ = context.wait_cancelled(PATIENCE);
        Ok::<(), TaskError>(())
    })
}

#[test]
fn a_result_is_in_the_journal_before_its_first_report_and_goes_first_after_a_crash() {
    let (directory, left) = (Directory::new(), Directory::new());
    let (from, to) = (directory.0.clone(), left.0.clone());
    let copied = Arc::new(Mutex::new(false));
    let crashed = Arc::clone(&copied);
    let (conductor, server) = Conductor::start(&[("t-1", "echo"), ("t-2", "echo")], move |_, received| {
        let mut crashed = crashed.lock().unwrap();
        if *crashed || !is_result(received) {
            return None;
        }
        let body = received.body.clone();
        assert!(journaled(&from, &body), "{body} is not in the journal");
        copy(&from, &to);
        *crashed = true;
        Some(json(503, "{}"))
    });
    // It never comes to a second report of the first result: it is as good as dead.
    let dead = reports_once(echo("echo"));
    let dead = runner(&server).store(&directory.0).worker(dead).start().unwrap();
    server.wait("first report", |_| *copied.lock().unwrap());
    let before = server.wait("poll after it", |received| {
        first(received, is_result).is_some_and(|at| received.len() > at + 1)
    });
    dead.handle().abort();
    let _ = dead.join();
    let first_id =
        if before[first(&before, is_result).unwrap()].body.contains("t-1") { "t-1" } else { "t-2" };
    let before = server.received().len();
    let running = runner(&server).store(&left.0).worker(echo("echo")).start().unwrap();
    conductor.wait("result", |tasks| tasks[first_id].status == "COMPLETED");
    let is_of_it = |received: &Received| is_result(received) && received.body.contains(first_id);
    let received = server.wait("result", |received| first(&received[before..], is_of_it).is_some());
    let received = &received[before..];
    let result = first(received, is_of_it).unwrap();
    // Its lease is extended beside it, and polls go on other threads: which of these arrives first is chance.
    assert!(result < 10, "the result waited for {result} other calls: {received:#?}");
    let summary = drained(running);
    // It is the worker's again, as if it had just run; the other task may have been run meanwhile.
    assert!(summary.completed >= 1, "{summary:?}");
    assert_eq!((summary.resent, summary.given_up), (0, 0), "{summary:?}");
    assert_eq!(conductor.task(first_id).results, 1, "it was reported once");
}

#[test]
fn the_lease_of_a_result_that_is_not_taken_after_a_crash_is_extended_and_it_is_reported_again() {
    let (directory, left) = (Directory::new(), Directory::new());
    let (from, to) = (directory.0.clone(), left.0.clone());
    let refused = Arc::new(Mutex::new(0));
    let refusals = Arc::clone(&refused);
    let (conductor, server) = Conductor::start(&[("t-1", "echo")], move |_, received| {
        let mut refused = refusals.lock().unwrap();
        if *refused == 2 || !is_result(received) {
            return None;
        }
        if *refused == 0 {
            copy(&from, &to);
        }
        *refused += 1;
        Some(json(503, "{}"))
    });
    let dead = reports_once(echo("echo"));
    let dead = runner(&server).store(&directory.0).worker(dead).start().unwrap();
    server.wait("first report", |_| *refused.lock().unwrap() == 1);
    dead.handle().abort();
    let _ = dead.join();
    let before = server.received().len();
    // The next report comes so late that what comes between the two can be told.
    let pause = Duration::from_millis(500);
    let next = echo("echo").policy(|policy| policy.update = [Duration::ZERO, pause, pause, pause]);
    let running = runner(&server).store(&left.0).worker(next).start().unwrap();
    conductor.wait("result", |tasks| tasks["t-1"].status == "COMPLETED");
    let summary = drained(running);
    assert_eq!((summary.completed, summary.resent, summary.given_up), (1, 0, 0), "{summary:?}");
    let received = server.received();
    let of_it: Vec<&Received> =
        received[before..].iter().filter(|one| is_result(one) || is_extension(one)).collect();
    // The lease of a minute would be extended after 48 s, were it not for the crash: now it is at once, while the first report
    // is on its way.
    let reports: Vec<&Received> = of_it.iter().copied().filter(|one| is_result(one)).collect();
    assert_eq!((of_it.len(), reports.len()), (3, 2), "{of_it:#?}");
    assert!(is_result(of_it[2]), "the extension waited for the second report: {of_it:#?}");
    assert!(of_it.iter().all(|one| one.body.contains("t-1")), "{of_it:#?}");
    assert_eq!(reports[0].body, reports[1].body, "a repeat says the same thing");
}

#[test]
fn a_give_back_after_a_crash_that_had_no_effect_is_tried_again_within_a_second() {
    let (directory, left) = (Directory::new(), Directory::new());
    let times = Arc::new(Mutex::new(Vec::new()));
    let (noted, clock) = (Arc::clone(&times), StdClock::new());
    let (conductor, server) = Conductor::start(&[], move |_, received| {
        if !is_result(received) || !received.body.contains("IN_PROGRESS") {
            return None;
        }
        let mut times = noted.lock().unwrap();
        times.push(clock.now());
        (times.len() == 1).then(|| json(503, "{}"))
    });
    conductor.schedule("t-1", "hangs", r#","responseTimeoutSeconds":3600"#);
    let (began, begins) = channel();
    let hangs = hangs(began, |_| {});
    let dead = runner(&server).store(&directory.0).worker(hangs).start().unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    copy(&directory.0, &left.0);
    dead.handle().abort();
    let _ = dead.join();
    times.lock().unwrap().clear();
    let running = runner(&server).store(&left.0).worker(echo("hangs")).start().unwrap();
    conductor.wait_ended(1);
    let summary = drained(running);
    assert_eq!((summary.given_back, summary.completed), (1, 1), "{summary:?}");
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 2);
    assert!(times[1].saturating_duration_since(times[0]) <= Duration::from_secs(1), "{times:?}");
}

#[test]
fn tasks_in_hand_at_a_crash_are_given_back_at_the_start_and_their_processes_ended() {
    let (directory, left) = (Directory::new(), Directory::new());
    let (conductor, server) = Conductor::start(&[], |_, _| None);
    conductor.schedule("t-1", "hangs", r#","responseTimeoutSeconds":3600,"outputData":{"step":7}"#);
    let (began, begins) = channel();
    let hangs = hangs(began, |context| context.note_process(4_242, 7));
    let dead = runner(&server).store(&directory.0).worker(hangs).start().unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    copy(&directory.0, &left.0);
    dead.handle().abort();
    let _ = dead.join();
    let ended = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ended);
    let next = runner(&server).store(&left.0).worker(echo("hangs"));
    let next = next.on_leftover_process(move |group, started| told.lock().unwrap().push((group, started)));
    let running = next.start().unwrap();
    let received = server.wait("give-back", |received| first(received, is_result).is_some());
    assert_eq!(*ended.lock().unwrap(), [(4_242, 7)]);
    let body = &received[first(&received, is_result).unwrap()].body;
    assert!(
        body.contains(r#""t-1""#) && body.contains("IN_PROGRESS") && body.contains(r#"{"step":7}"#),
        "{body}"
    );
    conductor.wait_ended(1);
    let summary = drained(running);
    assert_eq!((summary.given_back, summary.completed), (1, 1), "{summary:?}");
    // It is not done twice.
    let again = || {
        let again = runner(&server).store(&left.0).worker(echo("hangs"));
        again.on_leftover_process(|_, _| panic!("it was ended already")).start().ok()
    };
    // The threads of the one before let go of the store when they see that it has ended.
    let again = (0..TRIES).find_map(|_| {
        std::thread::yield_now();
        again()
    });
    assert_eq!(drained(again.expect("the store is free")).given_back, 0);
}

#[test]
fn results_go_first_while_all_commands_are_ended_at_once_and_their_tasks_wait_for_that() {
    let (directory, left) = (Directory::new(), Directory::new());
    let crashed = Arc::new(Mutex::new(false));
    let is_dead = Arc::clone(&crashed);
    let (conductor, server) = Conductor::start(&[("t-1", "echo")], move |_, received| {
        (is_result(received) && !*is_dead.lock().unwrap()).then(|| json(503, "{}"))
    });
    for task in ["t-2", "t-3"] {
        conductor.schedule(task, "hangs", r#","responseTimeoutSeconds":3600"#);
    }
    let (began, begins) = channel();
    let hangs = hangs(began, |context| {
        context.note_process(if context.task_id() == "t-2" { 42 } else { 43 }, 7);
    });
    let dead = reports_once(echo("echo"));
    let dead = runner(&server).store(&directory.0).worker(dead).worker(hangs.slots(2)).start().unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    server.wait("first report", |received| first(received, is_result).is_some());
    copy(&directory.0, &left.0);
    dead.handle().abort();
    let _ = dead.join();
    *crashed.lock().unwrap() = true;
    let before = server.received().len();
    let (ending, ends) = channel();
    let gate = Arc::new(Mutex::new(()));
    let (closed, opens) = (gate.lock().unwrap(), Arc::clone(&gate));
    let next = runner(&server).store(&left.0).worker(echo("echo")).worker(echo("hangs").slots(2));
    let next = next.on_leftover_process(move |group, _| {
        ending.send(group).unwrap_or_default();
        drop(opens.lock());
    });
    let running = next.start().unwrap();
    let mut groups = [ends.recv_timeout(PATIENCE).unwrap(), ends.recv_timeout(PATIENCE).unwrap()];
    groups.sort_unstable();
    assert_eq!(groups, [42, 43]);
    conductor.wait("result", |tasks| tasks["t-1"].status == "COMPLETED");
    let given_back = |received: &[Received]| received.iter().filter(|one| gives_back(one)).count();
    assert_eq!(given_back(&server.received()[before..]), 0, "their commands are still there");
    drop(closed);
    conductor.wait_ended(3);
    let summary = drained(running);
    assert_eq!((summary.given_back, summary.completed), (2, 3), "{summary:?}");
}

/// Whether it gives a task back, or postpones it.
fn gives_back(received: &Received) -> bool {
    is_result(received) && received.body.contains("IN_PROGRESS")
}

#[test]
fn after_a_crash_all_results_have_an_entry_also_where_there_are_fewer_slots() {
    let (directory, left) = (Directory::new(), Directory::new());
    let ids: Vec<String> = (0..24).map(|number| format!("t-{number}")).collect();
    let tasks: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "echo")).collect();
    let crashed = Arc::new(Mutex::new(false));
    let is_dead = Arc::clone(&crashed);
    let (conductor, server) = Conductor::start(&tasks, move |_, received| {
        (is_result(received) && !*is_dead.lock().unwrap()).then(|| json(503, "{}"))
    });
    let dead = reports_once(echo("echo").slots(8));
    let dead = runner(&server).store(&directory.0).worker(dead).start().unwrap();
    server.wait("first reports", |received| received.iter().filter(|one| is_result(one)).count() >= 24);
    copy(&directory.0, &left.0);
    dead.handle().abort();
    let _ = dead.join();
    *crashed.lock().unwrap() = true;
    let running = runner(&server).store(&left.0).worker(echo("echo")).start().unwrap();
    conductor.wait_ended(24);
    let summary = drained(running);
    assert_eq!((summary.completed, summary.resent), (24, 0), "the sender extends no lease: {summary:?}");
}

#[test]
fn what_an_earlier_run_had_in_hand_has_its_place_before_new_tasks_are_asked_for() {
    let (directory, left) = (Directory::new(), Directory::new());
    let crashed = Arc::new(Mutex::new(false));
    let is_dead = Arc::clone(&crashed);
    let (conductor, server) = Conductor::start(&[], move |_, received| {
        let is_dead = *is_dead.lock().unwrap();
        let hears = if is_dead { !received.target.contains("workerid=dead") } else { !is_result(received) };
        (!hears).then(|| json(503, "{}"))
    });
    for task in ["t-1", "t-2", "t-3", "t-4"] {
        conductor.schedule(task, "hangs", r#","responseTimeoutSeconds":3600"#);
    }
    let (began, begins) = channel();
    let work = move |_: Box<RawValue>, context: &Context| {
        if context.task_id() != "t-1" {
            context.note_process(42, 7);
            began.send(()).unwrap_or_default();
            let _ = context.wait_cancelled(PATIENCE);
        }
        Ok::<(), TaskError>(())
    };
    let dead = reports_once(Worker::new("hangs", work)).slots(4).worker_id("dead");
    let dead = runner(&server).store(&directory.0).worker(dead).start().unwrap();
    (0..3).for_each(|_| begins.recv_timeout(PATIENCE).unwrap());
    server.wait("first report", |received| first(received, is_result).is_some());
    copy(&directory.0, &left.0);
    dead.handle().abort();
    let _ = dead.join();
    *crashed.lock().unwrap() = true;
    for new in 5..9 {
        conductor.schedule(&format!("t-{new}"), "hangs", r#","responseTimeoutSeconds":3600"#);
    }
    let before = server.received().len();
    let gate = Arc::new(Mutex::new(()));
    let (closed, opens) = (gate.lock().unwrap(), Arc::clone(&gate));
    let next = runner(&server).store(&left.0).worker(echo("hangs").slots(4));
    let running = next.on_leftover_process(move |_, _| drop(opens.lock())).start().unwrap();
    // Three slots are taken until their commands are gone: the others' tasks go through the fourth.
    conductor.wait_ended(5);
    assert!(!server.received()[before..].iter().any(gives_back), "more was asked for than may run");
    drop(closed);
    conductor.wait_ended(8);
    let summary = drained(running);
    assert_eq!((summary.given_back, summary.completed), (3, 8), "{summary:?}");
}

/// Leaves a store as a crash does while a yield of `t-1` is on its way, which the server takes or not; then another runner
/// begins, and it is waited for until the task has ended. Answers what that runner did, and what it sent of the task.
fn crash_in_a_yield(is_taken: bool) -> (Summary, Vec<String>) {
    let (directory, left) = (Directory::new(), Directory::new());
    let (from, to) = (directory.0.clone(), left.0.clone());
    // From the yield on the first runner hears nothing from the server.
    let silent = Mutex::new(false);
    let (conductor, server) = Conductor::start(&[("t-1", "yields")], move |conductor, received| {
        let mut silent = silent.lock().unwrap();
        if !*silent && is_result(received) {
            *silent = true;
            copy(&from, &to);
            if is_taken {
                let _ = conductor.answer(received);
            }
            return Some(json(502, "{}"));
        }
        (*silent && received.target.contains("dead")).then(|| json(502, "{}"))
    });
    let yields = |output: &'static str| {
        Worker::new("yields", move |_: Box<RawValue>, context: &Context| {
            if output == "first" && context.poll_count() == 1 {
                return Err(TaskError::in_progress(Duration::from_secs(1)));
            }
            Ok(serde_json::json!({ "by": output }))
        })
    };
    let dead = reports_once(yields("first")).worker_id("dead");
    let dead = runner(&server).store(&directory.0).worker(dead).start().unwrap();
    server.wait("yield", |received| first(received, is_result).is_some());
    dead.handle().abort();
    let _ = dead.join();
    let before = server.received().len();
    let running = runner(&server).store(&left.0).worker(yields("second")).start().unwrap();
    conductor.wait_ended(1);
    let summary = drained(running);
    let received = server.received();
    let sent = received[before..].iter().filter(|one| is_result(one)).map(|one| one.body.clone());
    (summary, sent.collect())
}

#[test]
fn a_yield_in_flight_at_a_crash_is_made_up_for_where_the_server_says_that_it_had_no_effect() {
    let (summary, sent) = crash_in_a_yield(false);
    assert_eq!((summary.given_back, summary.completed), (1, 1), "{summary:?}");
    assert!(sent[0].contains("IN_PROGRESS") && sent[1].contains("COMPLETED"), "{sent:?}");
}

#[test]
fn a_yield_in_flight_at_a_crash_that_was_accepted_is_not_repeated() {
    let (summary, sent) = crash_in_a_yield(true);
    assert_eq!((summary.given_back, summary.completed), (0, 1), "{summary:?}");
    assert!(sent.len() == 1 && sent[0].contains("COMPLETED"), "{sent:?}");
}

#[test]
fn a_task_whose_yield_may_have_been_accepted_is_left_alone() {
    let (directory, left) = (Directory::new(), Directory::new());
    let (from, to) = (directory.0.clone(), left.0.clone());
    let (conductor, server) = Conductor::start(&[("t-1", "yields")], move |_, received| {
        if is_result(received) && fs::read_dir(&to).unwrap().next().is_none() {
            copy(&from, &to);
        }
        None
    });
    let yields = Worker::new("yields", |_: Box<RawValue>, _: &Context| {
        Err::<(), _>(TaskError::in_progress(Duration::from_secs(3_600)))
    });
    let dead = runner(&server).store(&directory.0).worker(yields).start().unwrap();
    let handle = dead.handle();
    server.wait("yield", |_| handle.summary().in_progress >= 1);
    handle.abort();
    let _ = dead.join();
    conductor.forget("t-1");
    let running = runner(&server).store(&left.0).worker(echo("other")).start().unwrap();
    let before = server.received().len();
    server.wait("polls", |received| received.len() > before + 2);
    assert_eq!(drained(running).given_back, 0);
    assert!(!server.received()[before..].iter().any(is_result));
}

#[test]
fn a_result_is_journaled_when_its_first_report_has_failed_where_that_is_wanted() {
    for (journal, kept) in [(Journal::Failure, true), (Journal::Off, false)] {
        let directory = Directory::new();
        let from = directory.0.clone();
        let (_conductor, server) = Conductor::start(&[("t-1", "echo")], move |_, received| {
            // At the second report the first has failed.
            is_result(received).then(|| {
                let status = if journaled(&from, r#""status":"COMPLETED""#) { 502 } else { 503 };
                json(status, "{}")
            })
        });
        let mut runner = runner(&server).store(&directory.0).journal(journal).worker(echo("echo"));
        let metrics = runner.metrics();
        let running = runner.start().unwrap();
        server.wait("two reports", |received| received.iter().filter(|one| is_result(one)).count() >= 3);
        running.handle().abort();
        let _ = running.join();
        let text = metrics.render();
        let failed = |status: u16| text.contains(&format!("exception=\"Status{status}\""));
        assert!(failed(503));
        assert_eq!(failed(502), kept, "{journal:?}");
    }
}
