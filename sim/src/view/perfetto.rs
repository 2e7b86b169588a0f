//! Chrome's trace format: drop the file on ui.perfetto.dev.
//!
//! pid 0 is the server, 1 the faults, 2 + N worker N. Spans are `B` and `E` events, retries and second runs `s` and `f`
//! arrows, counters `C`, single moments `i`; times are whole microseconds.

use std::collections::BTreeSet;
use std::io::{self, Write};

use downbeat_core::machine::Instant;
use serde_json::{Value, json};

use super::broken::Broken;
use super::timeline::{Happening, Kind, Process, Row, RowKind, Timeline, Way};
use super::{Cast, words};

/// Writes the trace: one event on a line.
pub(super) fn write(
    line: &Timeline,
    cast: &Cast,
    broken: &[Broken<'_>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut events: Vec<(u64, Value)> = line.order.iter().flat_map(|event| of(line, event)).collect();
    for (number, span) in line.spans.iter().enumerate() {
        if span.until.is_none() {
            events.push((line.end.as_micros(), edge(line, number, "E", line.end)));
        }
    }
    for (at, rule) in broken {
        let pid = rule.w.map_or(0, |worker| pid(Process::Worker(worker)));
        let event = json!({
            "ph": "i", "pid": pid, "tid": 1, "ts": at.as_micros(), "s": "g", "cat": "violation",
            "name": format!("VIOLATION {}", rule.rule), "args": { "what": rule.what },
        });
        events.push((at.as_micros(), event));
    }
    // On one row the order at one moment is the order of the run: what ends there ends before what begins.
    events.sort_by_key(|(at, _)| *at);
    write!(out, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let names = names(line, cast);
    for (number, event) in names.iter().chain(events.iter().map(|(_, event)| event)).enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(out, "{comma}\n{event}")?;
    }
    writeln!(out, "\n]}}")
}

fn of(line: &Timeline, event: &Happening) -> Vec<(u64, Value)> {
    match event {
        Happening::Begin(number) => line
            .spans
            .get(*number)
            .map(|span| (span.from.as_micros(), edge(line, *number, "B", span.from)))
            .into_iter()
            .collect(),
        Happening::End(number) => {
            let until = line.spans.get(*number).and_then(|span| span.until).unwrap_or(line.end);
            vec![(until.as_micros(), edge(line, *number, "E", until))]
        }
        Happening::Mark(number) => {
            let Some(mark) = line.marks.get(*number) else { return Vec::new() };
            let (pid, tid) = place(mark.row);
            let at = mark.at.as_micros();
            let event = json!({
                "ph": "i", "pid": pid, "tid": tid, "ts": at, "s": "t", "cat": "mark", "name": mark.what,
            });
            vec![(at, event)]
        }
        Happening::Arrow(number) => {
            let Some(arrow) = line.arrows.get(*number) else { return Vec::new() };
            let (cat, name) = match arrow.kind {
                Way::Retry => ("retry", "reports again"),
                Way::SecondRun => ("second run", "runs again after a lapse"),
                Way::NextRun => ("next run", "runs again"),
            };
            let end = |ph: &str, (at, row): (Instant, Row)| {
                let (pid, tid) = place(row);
                let at = at.as_micros();
                let mut event = json!({
                    "ph": ph, "id": number, "pid": pid, "tid": tid, "ts": at, "cat": cat, "name": name,
                });
                if let Some(event) = event.as_object_mut().filter(|_| ph == "f") {
                    event.insert("bp".to_owned(), json!("e"));
                }
                (at, event)
            };
            vec![end("s", arrow.from), end("f", arrow.to)]
        }
        Happening::Count { process, at, name, value } => {
            let at = at.as_micros();
            let event = json!({
                "ph": "C", "pid": pid(*process), "tid": 0, "ts": at, "name": name, "args": { "value": value },
            });
            vec![(at, event)]
        }
    }
}

/// The beginning or the end of a span.
fn edge(line: &Timeline, number: usize, ph: &str, at: Instant) -> Value {
    let Some(span) = line.spans.get(number) else { return Value::Null };
    let (pid, tid) = place(span.row);
    if ph == "E" {
        return json!({ "ph": ph, "pid": pid, "tid": tid, "ts": at.as_micros() });
    }
    let name = match (span.kind, span.task) {
        (Kind::Fault | Kind::Backoff, _) => format!("{}: {}", span.kind.name(), span.note),
        (kind, Some(task)) => format!("{} {}", kind.name(), words::task(task)),
        (kind, None) => kind.name().to_owned(),
    };
    let mut args = json!({ "note": span.note, "failed": span.failed });
    if let (Some(task), Some(args)) = (span.task, args.as_object_mut()) {
        args.insert("task".to_owned(), json!(task));
    }
    let mut event = json!({
        "ph": ph, "pid": pid, "tid": tid, "ts": at.as_micros(), "cat": span.kind.name(), "name": name,
        "args": args,
    });
    // Reserved colour names of the format: what failed is red, what waits is grey or yellow.
    let colour = match (span.failed, span.kind) {
        (true, _) => Some("terrible"),
        (false, Kind::Backoff | Kind::Fault) => Some("bad"),
        (false, Kind::Retry) => Some("yellow"),
        (false, Kind::EmptyPoll) => Some("grey"),
        (false, Kind::Run) => Some("good"),
        (false, _) => None,
    };
    if let (Some(colour), Some(event)) = (colour, event.as_object_mut()) {
        event.insert("cname".to_owned(), json!(colour));
    }
    event
}

fn pid(process: Process) -> u64 {
    match process {
        Process::Server => 0,
        Process::Faults => 1,
        Process::Worker(worker) => u64::from(worker) + 2,
    }
}

fn place((process, which): Row) -> (u64, u64) {
    let tid = match which {
        RowKind::Own(number) => 1 + u64::from(number),
        RowKind::Poll => 2,
        RowKind::Auth => 3,
        RowKind::Return => 4,
        RowKind::Entry(index) => 10 + 2 * u64::from(index),
        RowKind::Lease(index) => 11 + 2 * u64::from(index),
    };
    (pid(process), tid)
}

/// Names of processes and rows.
fn names(line: &Timeline, cast: &Cast) -> Vec<Value> {
    let rows: BTreeSet<Row> =
        line.spans.iter().map(|span| span.row).chain(line.marks.iter().map(|mark| mark.row)).collect();
    let mut names = Vec::new();
    let mut last = None;
    for row in rows {
        let (pid, tid) = place(row);
        if last.replace(row.0) != Some(row.0) {
            let name = match row.0 {
                Process::Server => "server".to_owned(),
                Process::Faults => "faults".to_owned(),
                Process::Worker(worker) => {
                    let task = cast.players.get(worker as usize).map_or("", |player| &player.name);
                    format!("{} ({task})", cast.name(worker))
                }
            };
            names.push(json!({ "ph": "M", "pid": pid, "name": "process_name", "args": { "name": name } }));
            names.push(
                json!({ "ph": "M", "pid": pid, "name": "process_sort_index", "args": { "sort_index": pid } }),
            );
        }
        let name = match row {
            (Process::Server, _) => "what it did".to_owned(),
            (Process::Faults, RowKind::Own(number)) => format!("fault {number}"),
            (_, RowKind::Own(_)) => "process".to_owned(),
            (_, RowKind::Entry(index)) => format!("entry {index}"),
            (_, RowKind::Lease(index)) => format!("entry {index} lease"),
            (_, RowKind::Poll) => "polls".to_owned(),
            (_, RowKind::Auth) => "token".to_owned(),
            (_, RowKind::Return) => "give-backs".to_owned(),
        };
        names.push(
            json!({ "ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": { "name": name } }),
        );
        names.push(json!({ "ph": "M", "pid": pid, "tid": tid, "name": "thread_sort_index", "args": { "sort_index": tid } }));
    }
    names
}
