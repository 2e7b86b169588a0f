//! From events to a timeline.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{
    Action, CallId, Control, EntryId, Fault, Input, Instant, Outcome, Reply, TaskKey, Why,
};

use super::{Arrow, Happening, Kind, Mark, Process, Row, RowKind, Span, Timeline, Way};
use crate::event::{Effect, Event};
use crate::record::Record;
use crate::view::text::{effect_words, fault_name};
use crate::view::words;

/// One worker while its events pass.
#[derive(Default)]
struct Unit {
    up: Option<usize>,
    paused: Option<usize>,
    backoff: Option<usize>,
    /// The latest refresh failed, or a call was unauthorized since.
    unauthorized: bool,
    /// Calls in flight: their spans, and how many tasks they brought.
    calls: BTreeMap<CallId, (usize, u32)>,
    entries: BTreeMap<u16, HeldTask>,
}

/// One task in one entry.
struct HeldTask {
    entry: EntryId,
    key: TaskKey,
    run: Option<usize>,
    lease: Option<usize>,
    extend: Option<usize>,
    retry: Option<usize>,
    /// When its last report failed.
    failed: Option<Instant>,
}

/// Collects.
#[derive(Default)]
pub(super) struct Builder {
    line: Timeline,
    units: BTreeMap<u32, Unit>,
    faults: BTreeMap<u32, usize>,
    /// Where each task was last held, and when it lapsed there or was run there.
    seen: BTreeMap<TaskKey, (Instant, Row)>,
    retry_of: BTreeMap<TaskKey, TaskKey>,
    lapsed: BTreeSet<TaskKey>,
    ends: BTreeMap<Row, Instant>,
    open: u64,
}

impl Builder {
    pub(super) fn finish(self) -> Timeline {
        self.line
    }

    pub(super) fn on(&mut self, event: &Event) {
        let at = event.at();
        self.line.end = self.line.end.max(at);
        match event {
            Event::Step { worker, input, action, .. } => self.step(at, *worker, input, action),
            Event::Started { worker, .. } => {
                let up = self.begin(
                    at,
                    (Process::Worker(*worker), RowKind::Own(0)),
                    Kind::Up,
                    None,
                    String::new(),
                );
                self.unit(*worker).up = Some(up);
            }
            Event::Crashed { worker, .. } => self.gone(at, *worker, "crashed"),
            Event::Stored { .. } | Event::Kept { .. } => {}
            Event::Buried { worker, key, .. } => {
                let row = (Process::Worker(*worker), RowKind::Own(0));
                self.mark(at, row, format!("the result of {} is a dead letter", words::task(*key)), true);
            }
            Event::Server { effect, .. } => self.server(at, effect),
            Event::Fault { index, kind, begins: true, .. } => {
                let row = (Process::Faults, RowKind::Own(*index));
                let span = self.begin(at, row, Kind::Fault, None, fault_name(*kind));
                self.faults.insert(*index, span);
            }
            Event::Fault { index, begins: false, .. } => {
                if let Some(span) = self.faults.remove(index) {
                    self.end(at, span, false, "");
                }
            }
            Event::Healed { .. } => {
                self.line.healed = Some(at);
                self.mark(at, (Process::Faults, RowKind::Own(0)), "no fault from here on".to_owned(), false);
            }
        }
    }

    // ---------------------------------------------------------------- inputs

    fn step(&mut self, at: Instant, worker: u32, input: &Input, action: &Action) {
        match input {
            Input::Tick | Input::Token(_) => {}
            Input::Recovered { task } => {
                if let Action::Run { entry, key } = action {
                    let lease = task.response_timeout.map_or_else(String::new, words::span);
                    self.run(at, worker, *entry, *key, CallId::from_bits(u64::MAX), &lease);
                }
            }
            Input::Leased { call, task } => {
                if let Some((_, brought)) = self.unit(worker).calls.get_mut(call) {
                    *brought += 1;
                }
                if let Some(of) = task.retry_of {
                    self.retry_of.insert(task.key, of);
                }
                if let Action::Run { entry, key } = action {
                    let lease = task.response_timeout.map_or_else(String::new, words::span);
                    self.run(at, worker, *entry, *key, *call, &lease);
                }
            }
            Input::Replied { call, reply } => self.replied(at, worker, *call, reply),
            Input::Finished { entry, outcome } => {
                let how = match outcome {
                    Outcome::Final => "done".to_owned(),
                    Outcome::Yield { callback_after } => format!("again in {}", words::span(*callback_after)),
                };
                let run = self.held(worker, *entry).and_then(|held| held.run.take());
                if let Some(run) = run {
                    self.end(at, run, false, &how);
                    self.count_running(at, worker);
                }
            }
            Input::Control(control) => self.control(at, worker, *control),
        }
        self.action(at, worker, action);
    }

    fn run(&mut self, at: Instant, worker: u32, entry: EntryId, key: TaskKey, by: CallId, lease: &str) {
        let process = Process::Worker(worker);
        let row = (process, RowKind::Entry(entry.index()));
        let sent = self.unit(worker).calls.get(&by).map(|(span, _)| *span);
        let sent = sent.and_then(|span| self.line.spans.get(span)).map_or(at, |span| span.from);
        self.arrow_to_run(at, row, key);
        let run = self.begin(at, row, Kind::Run, Some(key), String::new());
        let leased = (!lease.is_empty()).then(|| {
            let note = format!("{lease} from the sending of {}", words::call(by));
            self.begin(sent, (process, RowKind::Lease(entry.index())), Kind::Lease, Some(key), note)
        });
        let held =
            HeldTask { entry, key, run: Some(run), lease: leased, extend: None, retry: None, failed: None };
        self.unit(worker).entries.insert(entry.index(), held);
        self.seen.insert(key, (at, row));
        self.count_running(at, worker);
    }

    /// A task that was held before, or the retry of one: an arrow shows the way.
    fn arrow_to_run(&mut self, at: Instant, row: Row, key: TaskKey) {
        let before = self.seen.get(&key).or_else(|| self.seen.get(self.retry_of.get(&key)?)).copied();
        if let Some(from) = before {
            let lapsed = self.lapsed.contains(&key)
                || self.retry_of.get(&key).is_some_and(|of| self.lapsed.contains(of));
            let kind = if lapsed { Way::SecondRun } else { Way::NextRun };
            self.arrow(Arrow { from, to: (at, row), kind });
        }
    }

    fn replied(&mut self, at: Instant, worker: u32, call: CallId, reply: &Reply) {
        let Some((span, brought)) = self.unit(worker).calls.remove(&call) else { return };
        let Some((kind, row)) = self.line.spans.get(span).map(|span| (span.kind, span.row)) else { return };
        let mut said = words::reply(reply);
        if kind == Kind::Poll && reply.is_ok() {
            said = format!("brought {brought}");
            if brought == 0
                && let Some(span) = self.line.spans.get_mut(span)
            {
                span.kind = Kind::EmptyPoll;
            }
        }
        match reply {
            Err(error) if kind == Kind::Refresh || error.fault == Fault::Unauthorized => {
                self.unit(worker).unauthorized = true;
            }
            Ok(_) => self.unit(worker).unauthorized = false,
            Err(_) => {}
        }
        self.end(at, span, reply.is_err(), &said);
        self.line.calls.extend(reply.is_err().then_some((at, true)));
        let (RowKind::Entry(index) | RowKind::Lease(index)) = row.1 else { return };
        match (kind, reply) {
            (Kind::Report | Kind::Store, Ok(_)) => self.release(at, worker, index, false, "accepted"),
            (Kind::Report, Err(_)) => {
                let task = self.unit(worker).entries.get(&index).map(|held| held.key);
                let retry = self.begin(at, row, Kind::Retry, task, said);
                if let Some(held) = self.unit(worker).entries.get_mut(&index) {
                    held.retry = Some(retry);
                    held.failed = Some(at);
                }
            }
            (Kind::Extend, _) => {
                if let Some(held) = self.unit(worker).entries.get_mut(&index) {
                    held.extend = None;
                }
            }
            _ => {}
        }
    }

    fn control(&mut self, at: Instant, worker: u32, control: Control) {
        let row = (Process::Worker(worker), RowKind::Own(0));
        self.mark(at, row, words::control(control).to_owned(), true);
        if control == Control::Pause && self.unit(worker).paused.is_none() {
            let span = self.begin(at, row, Kind::Paused, None, String::new());
            self.unit(worker).paused = Some(span);
        } else if let Some(span) = self.unit(worker).paused.take().filter(|_| control != Control::Pause) {
            self.end(at, span, false, "");
        }
    }

    // ---------------------------------------------------------------- answers

    fn action(&mut self, at: Instant, worker: u32, action: &Action) {
        let process = Process::Worker(worker);
        let own = (process, RowKind::Own(0));
        match action {
            Action::Run { .. } => {}
            Action::Ignore { key } => {
                self.mark(at, own, format!("{} is here already", words::task(*key)), false)
            }
            Action::Recall { entry, why } => {
                let why = words::recall(*why);
                self.mark(at, (process, RowKind::Entry(entry.index())), format!("recalled: {why}"), true);
            }
            Action::Lapsed { entry } => self.lapsed_here(at, worker, *entry),
            Action::Adopt { entry, key } => self.adopt(at, worker, *entry, *key),
            Action::Ask { call, entry } => {
                // Not a span: it would cross those of the lease.
                self.line.calls.push((at, false));
                let what = format!("{} asks whether it is still wanted", words::call(*call));
                self.mark(at, (process, RowKind::Entry(entry.index())), what, false);
            }
            Action::GiveBack { call, key } => {
                let note = format!("{} was given too much", words::task(*key));
                self.call(at, worker, *call, (process, RowKind::Return), Kind::GiveBack, Some(*key), note);
            }
            Action::Refresh { call } => {
                self.call(at, worker, *call, (process, RowKind::Auth), Kind::Refresh, None, String::new());
            }
            Action::Extend { call, entry } => {
                let row = (process, RowKind::Lease(entry.index()));
                let task = self.held(worker, *entry).map(|held| held.key);
                let span = self.call(at, worker, *call, row, Kind::Extend, task, String::new());
                if let Some(held) = self.held(worker, *entry) {
                    held.extend = Some(span);
                }
            }
            Action::Update { call, entry, attempt, take_next, .. } => {
                self.update(at, worker, *call, *entry, *attempt, *take_next);
            }
            Action::Poll { call, count, wait } => {
                let held =
                    if wait.is_zero() { String::new() } else { format!(", may wait {}", words::span(*wait)) };
                self.end_backoff(at, worker);
                let note = format!("for {count}{held}");
                self.call(at, worker, *call, (process, RowKind::Poll), Kind::Poll, None, note);
            }
            Action::Spill { call, entry, .. } => {
                let (row, task) = self.report_again(at, worker, *entry);
                self.call(at, worker, *call, row, Kind::Store, task, String::new());
            }
            Action::Discard { entry, why } => {
                let why = words::loss(*why);
                self.mark(at, (process, RowKind::Entry(entry.index())), format!("discarded: {why}"), true);
                self.release(at, worker, entry.index(), true, "discarded");
            }
            Action::Wait { why, .. } => self.wait(at, worker, *why),
            Action::Stopped => self.gone(at, worker, "stopped"),
        }
    }

    /// By the worker's own clock a lease is over, whether the record shows the server or not.
    fn lapsed_here(&mut self, at: Instant, worker: u32, entry: EntryId) {
        let Some(held) = self.held(worker, entry) else { return };
        let (key, spans) = (held.key, [held.extend.take(), held.lease.take()]);
        self.lapsed.insert(key);
        let row = (Process::Worker(worker), RowKind::Entry(entry.index()));
        let what = format!("the lease of {} is over by the worker's clock", words::task(key));
        self.mark(at, row, what, true);
        for span in spans.into_iter().flatten() {
            self.end(at, span, true, "lapsed");
        }
    }

    /// The retry of a running task goes on where that runs.
    fn adopt(&mut self, at: Instant, worker: u32, entry: EntryId, key: TaskKey) {
        let Some(held) = self.held(worker, entry) else { return };
        let (was, lease) = (held.key, held.lease.take());
        held.key = key;
        if let Some(lease) = lease {
            self.end(at, lease, false, "adopted");
        }
        let process = Process::Worker(worker);
        let note = format!("of the retry of {}", words::task(was));
        let span = self.begin(at, (process, RowKind::Lease(entry.index())), Kind::Lease, Some(key), note);
        if let Some(held) = self.held(worker, entry) {
            held.lease = Some(span);
        }
        let row = (process, RowKind::Entry(entry.index()));
        self.seen.insert(key, (at, row));
        let what = format!("{} goes on as its retry {}", words::task(was), words::task(key));
        self.mark(at, row, what, true);
    }

    fn update(
        &mut self,
        at: Instant,
        worker: u32,
        call: CallId,
        entry: EntryId,
        attempt: u16,
        take_next: bool,
    ) {
        let failed = self.held(worker, entry).and_then(|held| held.failed.take());
        let (row, task) = self.report_again(at, worker, entry);
        if let Some(from) = failed {
            self.arrow(Arrow { from: (from, row), to: (at, row), kind: Way::Retry });
        }
        let next = if take_next { ", takes the next" } else { "" };
        let note = format!("attempt {}{next}", u32::from(attempt) + 1);
        self.call(at, worker, call, row, Kind::Report, task, note);
    }

    /// A report begins: whatever else stands on its row ends.
    fn report_again(&mut self, at: Instant, worker: u32, entry: EntryId) -> (Row, Option<TaskKey>) {
        let row = (Process::Worker(worker), RowKind::Entry(entry.index()));
        let held = self.held(worker, entry);
        let retry = held.map(|held| (held.key, held.retry.take()));
        if let Some(span) = retry.and_then(|(_, span)| span) {
            self.end(at, span, false, "");
        }
        (row, retry.map(|(key, _)| key))
    }

    fn wait(&mut self, at: Instant, worker: u32, why: Why) {
        // A wait for the token to grow old is none that anything suffers from.
        let blocks = matches!(why, Why::Failing | Why::Unreachable | Why::RetryAfter)
            || (why == Why::Auth && self.unit(worker).unauthorized);
        let now = self.unit(worker).backoff;
        let same =
            now.and_then(|span| self.line.spans.get(span)).is_some_and(|span| span.note == words::why(why));
        if same {
            return;
        }
        self.end_backoff(at, worker);
        if blocks {
            let row = (Process::Worker(worker), RowKind::Poll);
            let span = self.begin(at, row, Kind::Backoff, None, words::why(why).to_owned());
            self.unit(worker).backoff = Some(span);
        }
    }

    fn end_backoff(&mut self, at: Instant, worker: u32) {
        if let Some(span) = self.unit(worker).backoff.take() {
            self.end(at, span, false, "");
        }
    }

    // ---------------------------------------------------------------- ends

    /// An entry is free again.
    fn release(&mut self, at: Instant, worker: u32, index: u16, failed: bool, how: &str) {
        let Some(held) = self.unit(worker).entries.remove(&index) else { return };
        for (span, note) in
            [(held.extend, "its task ended"), (held.run, how), (held.retry, how), (held.lease, how)]
        {
            if let Some(span) = span {
                self.end(at, span, failed, note);
            }
        }
        self.seen.insert(held.key, (at, (Process::Worker(worker), RowKind::Entry(index))));
        self.count_running(at, worker);
    }

    /// A process is gone, and everything with it.
    fn gone(&mut self, at: Instant, worker: u32, how: &str) {
        let unit = self.unit(worker);
        if unit.up.is_none() && unit.calls.is_empty() && unit.entries.is_empty() {
            return;
        }
        let crashed = how == "crashed";
        for index in self.unit(worker).entries.keys().copied().collect::<Vec<_>>() {
            self.release(at, worker, index, crashed, how);
        }
        self.end_backoff(at, worker);
        let unit = std::mem::take(self.unit(worker));
        for (span, _) in unit.calls.into_values() {
            self.end(at, span, crashed, how);
        }
        for span in unit.paused.into_iter().chain(unit.up) {
            self.end(at, span, crashed, how);
        }
        self.mark(at, (Process::Worker(worker), RowKind::Own(0)), how.to_owned(), true);
    }

    // ---------------------------------------------------------------- the server

    fn server(&mut self, at: Instant, effect: &Effect) {
        let row = (Process::Server, RowKind::Own(0));
        match effect {
            Effect::Scheduled { key, retry_of, .. } => {
                self.open += 1;
                if let Some(of) = retry_of {
                    self.retry_of.insert(*key, *of);
                }
            }
            Effect::Lapsed { key, worker } => {
                self.open = self.open.saturating_sub(1);
                self.lapsed.insert(*key);
                let entries = &self.unit(*worker).entries;
                let index = entries.iter().find(|(_, held)| held.key == *key).map(|(index, _)| *index);
                if let Some(index) = index {
                    let row = (Process::Worker(*worker), RowKind::Entry(index));
                    self.seen.insert(*key, (at, row));
                    self.mark(at, row, format!("the lease of {} lapsed", words::task(*key)), true);
                    let lease = self.unit(*worker).entries.get_mut(&index).and_then(|held| held.lease.take());
                    let extend =
                        self.unit(*worker).entries.get_mut(&index).and_then(|held| held.extend.take());
                    for span in extend.into_iter().chain(lease) {
                        self.end(at, span, true, "lapsed");
                    }
                }
            }
            Effect::Cancelled { .. } => self.open = self.open.saturating_sub(1),
            Effect::Reported { report, applied, .. } => {
                if *applied && *report != crate::event::Report::Yield {
                    self.open = self.open.saturating_sub(1);
                }
            }
            Effect::Delivered { .. }
            | Effect::Extended { .. }
            | Effect::TokenIssued { .. }
            | Effect::Unauthorized { .. } => {}
        }
        if !matches!(effect, Effect::Delivered { .. } | Effect::TokenIssued { .. }) {
            let loud = matches!(effect, Effect::Lapsed { .. } | Effect::Cancelled { .. });
            self.mark(at, row, effect_words(effect), loud);
        }
        let (process, name, value) = (Process::Server, "open tasks", self.open);
        self.line.order.push(Happening::Count { process, at, name, value });
    }

    // ---------------------------------------------------------------- small things

    fn unit(&mut self, worker: u32) -> &mut Unit {
        self.units.entry(worker).or_default()
    }

    fn held(&mut self, worker: u32, entry: EntryId) -> Option<&mut HeldTask> {
        self.unit(worker).entries.get_mut(&entry.index()).filter(|held| held.entry == entry)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a call has a sender, a number, a row, a kind, a task, a note"
    )]
    fn call(
        &mut self,
        at: Instant,
        worker: u32,
        call: CallId,
        row: Row,
        kind: Kind,
        task: Option<TaskKey>,
        note: String,
    ) -> usize {
        self.line.calls.push((at, false));
        let note = if note.is_empty() { words::call(call) } else { format!("{} {note}", words::call(call)) };
        let span = self.begin(at, row, kind, task, note);
        self.unit(worker).calls.insert(call, (span, 0));
        span
    }

    fn begin(&mut self, at: Instant, row: Row, kind: Kind, task: Option<TaskKey>, note: String) -> usize {
        let number = self.line.spans.len();
        // A lease begins before anybody knows of it; on its row it follows the one before.
        let from = self.ends.get(&row).filter(|_| kind == Kind::Lease).map_or(at, |end| at.max(*end));
        self.line.spans.push(Span { row, kind, from, until: None, failed: false, task, note });
        self.line.order.push(Happening::Begin(number));
        number
    }

    fn end(&mut self, at: Instant, number: usize, failed: bool, how: &str) {
        let Some(span) = self.line.spans.get_mut(number).filter(|span| span.until.is_none()) else { return };
        span.until = Some(at);
        span.failed = failed;
        if !how.is_empty() {
            span.note = if span.note.is_empty() { how.to_owned() } else { format!("{}: {how}", span.note) };
        }
        self.ends.insert(span.row, at);
        self.line.order.push(Happening::End(number));
    }

    fn mark(&mut self, at: Instant, row: Row, what: String, loud: bool) {
        self.line.order.push(Happening::Mark(self.line.marks.len()));
        self.line.marks.push(Mark { row, at, what, loud });
    }

    fn arrow(&mut self, arrow: Arrow) {
        self.line.order.push(Happening::Arrow(self.line.arrows.len()));
        self.line.arrows.push(arrow);
    }

    fn count_running(&mut self, at: Instant, worker: u32) {
        let entries = &self.unit(worker).entries;
        let (held, running) = (entries.len(), entries.values().filter(|held| held.run.is_some()).count());
        for (name, value) in [("running", running), ("held", held)] {
            let value = value as u64;
            self.line.order.push(Happening::Count { process: Process::Worker(worker), at, name, value });
        }
    }
}

impl Timeline {
    /// Reads a record.
    pub(in crate::view) fn from_record(record: &Record) -> Self {
        let mut builder = Builder::default();
        for (_, event) in record.events() {
            builder.on(&event);
        }
        builder.finish()
    }
}
