//! A record of a real runner, over sockets: replayed by the core to the last answer, and free of what tasks carry.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

#[path = "../../transport-std/tests/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use downbeat::{Context, Policy, RawValue, Recording, Runner, Summary, TaskError, Worker};
use downbeat_sim::explain::{Whose, explain};
use downbeat_sim::record::{Record, read};
use downbeat_sim::replay::replay;
use downbeat_sim::view::{View, write};
use support::{Answer, Queue, Received, Server, json, results, task};

/// A directory of this test's own, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("downbeat-run-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        Self(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn greet(_: Box<RawValue>, context: &Context) -> Result<Box<RawValue>, TaskError> {
    context.log("greeting");
    Ok(RawValue::from_string(r#"{"answer":"an output that is nobody's business"}"#.to_owned())?)
}

const SOON: Duration = Duration::from_millis(20);

/// Reports again at once.
fn soon(policy: &mut Policy) {
    policy.update = [Duration::ZERO, SOON, SOON, SOON];
}

/// Runs two workers on so many tasks; every fifth report is answered 503 once.
fn run(recording: Recording, tasks: usize) -> Summary {
    let input = r#"{"password":"an input that is nobody's business"}"#;
    let queue = Queue::new((0..tasks).map(|n| task(&format!("t-{n}"), "greet", input)));
    let answered = AtomicUsize::new(0);
    let server = Server::start(move |received: &Received| -> Answer {
        if received.target.contains("/other") {
            return json(200, "[]");
        }
        let report = received.method == "POST" && !received.target.contains("poll");
        let nth = if report { answered.fetch_add(1, Ordering::Relaxed) } else { 1 };
        if nth.is_multiple_of(5) { json(503, "{}") } else { queue.answer(received) }
    });
    let running = Runner::builder(server.url())
        .signals(false)
        .record(recording)
        .worker(Worker::new("greet", greet).slots(3).policy(soon))
        .worker(Worker::new("other", greet))
        .start()
        .unwrap();
    let reported = |received: &[Received], n| {
        results(received).iter().any(|result| result.contains(&format!("\"t-{n}\"")))
    };
    server.wait("results", |received| (0..tasks).all(|n| reported(received, n)));
    running.handle().drain();
    running.join()
}

fn view(record: &Record, view: View) -> String {
    let mut out = Vec::new();
    write(record, view, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_record_of_a_run_is_replayed_to_the_last_answer() {
    let place = Place::new("whole");
    let file = place.0.join("run.jsonl");
    let summary = run(Recording::new(&file), 40);
    assert_eq!(summary.completed, 40, "{summary:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("business") && !text.contains("greeting"), "nothing of a task but its id");
    let record = read(&file).unwrap();
    let replay = replay(&record);
    assert_eq!(replay.divergence, None);
    assert_eq!(replay.judgement.broken, []);
    assert!(replay.judgement.judges > 10, "{:?}", replay.judgement);
    assert!(replay.steps > 100 && replay.untried == 0 && replay.dropped == 0, "{replay:?}");
    let story = explain(&record, &Whose::Task("t-7".to_owned())).unwrap().to_string();
    assert!(story.contains("runs it in entry") && story.contains("its result was accepted"), "{story}");
    for kind in [View::Text, View::Short, View::Csv, View::Perfetto, View::Html] {
        assert!(view(&record, kind).len() > 100, "{kind:?}");
    }
}

#[test]
fn the_record_of_a_lapse_claims_no_result_that_the_server_may_have_dropped() {
    let place = Place::new("lapse");
    let file = place.0.join("run.jsonl");
    let late = r#"{"taskId":"t-1","workflowInstanceId":"w","taskType":"late","responseTimeoutSeconds":1,"inputData":{}}"#;
    let queue = Queue::new([late.to_owned()]);
    let server = Server::start(move |received: &Received| -> Answer {
        let is_extension = received.body.contains("extendLease");
        if is_extension { json(503, "{}") } else { queue.answer(received) }
    });
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let worker = Worker::new("late", move |input: Box<RawValue>, _: &Context| {
        wait.lock().unwrap().recv().unwrap();
        Ok(input)
    });
    let running = Runner::builder(server.url()).signals(false).record(Recording::new(&file));
    let running = running.worker(worker).start().unwrap();
    let handle = running.handle();
    server.wait("lapse", |_| handle.summary().lapsed == 1);
    go.send(()).unwrap();
    server.wait("report", |_| handle.summary().late == 1);
    handle.drain();
    let summary = running.join();
    assert_eq!((summary.completed, summary.late), (0, 1), "{summary:?}");
    let record = read(&file).unwrap();
    assert_eq!(replay(&record).judgement.broken, []);
    let story = explain(&record, &Whose::Task("t-1".to_owned())).unwrap().to_string();
    assert!(story.contains("what it reported later may have been dropped"), "{story}");
    assert!(!story.contains("its result was accepted"), "{story}");
    assert!(view(&record, View::Html).contains("<b>1</b> leases lapsed"));
}

#[test]
fn each_segment_is_replayed_alone() {
    let place = Place::new("segments");
    let file = place.0.join("run.jsonl");
    let names = ["run.jsonl.3", "run.jsonl.2", "run.jsonl.1", "run.jsonl"];
    // A segment ends where the machines allow it, and there may be too few such moments in a quick run.
    for _ in 0..8 {
        for name in names {
            drop(std::fs::remove_file(place.0.join(name)));
        }
        run(Recording { segment_bytes: 12_000, segments_kept: 3, ..Recording::new(&file) }, 160);
        if place.0.join(names[0]).exists() {
            break;
        }
    }
    let mut together = String::new();
    for name in names {
        let path = place.0.join(name);
        let replay = replay(&read(&path).unwrap());
        assert_eq!((replay.divergence, replay.untried), (None, 0), "{name}");
        assert_eq!(replay.judgement.broken, [], "{name}");
        assert!(replay.judgement.judges > 10, "{name} {:?}", replay.judgement);
        together += &std::fs::read_to_string(&path).unwrap();
    }
    assert!(!place.0.join("run.jsonl.4").exists());
    let replay = replay(&Record::from_lines("together".to_owned(), together.as_bytes()).unwrap());
    assert_eq!(replay.judgement.broken, []);
    assert_eq!((replay.divergence, replay.segments >= 4), (None, true));
}
