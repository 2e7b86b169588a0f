//! From events to a timeline.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{
    Action, CallId, Control, Fault, Input, Instant, Outcome, Reply, SlotId, TaskKey, Why,
};

use super::{Arrow, Happening, Kind, Lane, Mark, Process, Row, Span, Timeline, Way};
use crate::event::{Effect, Event};
use crate::view::text::{effect_words, fault_name};
use crate::view::words;

/// One worker while its events pass.
#[derive(Default)]
struct Unit {
    up: Option<usize>,
    paused: Option<usize>,
    backoff: Option<usize>,
    /// The latest refresh failed, or a call was refused since for its token.
    refused: bool,
    /// Calls in flight: their spans, and how many tasks they brought.
    calls: BTreeMap<CallId, (usize, u32)>,
    slots: BTreeMap<u16, Held>,
}

/// One task in one place.
struct Held {
    slot: SlotId,
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
    seen: BTreeMap<TaskKey, (Instant, Lane)>,
    retry_of: BTreeMap<TaskKey, TaskKey>,
    lapsed: BTreeSet<TaskKey>,
    ends: BTreeMap<Lane, Instant>,
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
                let up =
                    self.begin(at, (Process::Worker(*worker), Row::Own(0)), Kind::Up, None, String::new());
                self.unit(*worker).up = Some(up);
            }
            Event::Crashed { worker, .. } => self.gone(at, *worker, "crashed"),
            Event::Stored { .. } => {}
            Event::Server { effect, .. } => self.server(at, effect),
            Event::Fault { index, kind, begins: true, .. } => {
                let lane = (Process::Faults, Row::Own(*index));
                let span = self.begin(at, lane, Kind::Fault, None, fault_name(*kind));
                self.faults.insert(*index, span);
            }
            Event::Fault { index, begins: false, .. } => {
                if let Some(span) = self.faults.remove(index) {
                    self.end(at, span, false, "");
                }
            }
            Event::Healed { .. } => {
                self.line.healed = Some(at);
                self.mark(at, (Process::Faults, Row::Own(0)), "no fault from here on".to_owned(), false);
            }
        }
    }

    // ---------------------------------------------------------------- inputs

    fn step(&mut self, at: Instant, worker: u32, input: &Input, action: &Action) {
        match input {
            Input::Tick | Input::Token(_) => {}
            Input::Leased { call, task } => {
                if let Some((_, brought)) = self.unit(worker).calls.get_mut(call) {
                    *brought += 1;
                }
                if let Action::Run { slot, key } = action {
                    let lease = task.response_timeout.map_or_else(String::new, words::span);
                    self.run(at, worker, *slot, *key, *call, &lease);
                }
            }
            Input::Replied { call, reply } => self.replied(at, worker, *call, reply),
            Input::Finished { slot, outcome } => {
                let how = match outcome {
                    Outcome::Final => "done".to_owned(),
                    Outcome::Yield { callback_after } => format!("again in {}", words::span(*callback_after)),
                };
                let run = self.held(worker, *slot).and_then(|held| held.run.take());
                if let Some(run) = run {
                    self.end(at, run, false, &how);
                    self.count_running(at, worker);
                }
            }
            Input::Control(control) => self.control(at, worker, *control),
        }
        self.action(at, worker, action);
    }

    fn run(&mut self, at: Instant, worker: u32, slot: SlotId, key: TaskKey, by: CallId, lease: &str) {
        let process = Process::Worker(worker);
        let lane = (process, Row::Slot(slot.index()));
        let sent = self.unit(worker).calls.get(&by).map(|(span, _)| *span);
        let sent = sent.and_then(|span| self.line.spans.get(span)).map_or(at, |span| span.from);
        self.arrow_to_run(at, lane, key);
        let run = self.begin(at, lane, Kind::Run, Some(key), String::new());
        let leased = (!lease.is_empty()).then(|| {
            let note = format!("{lease} from the sending of {}", words::call(by));
            self.begin(sent, (process, Row::Lease(slot.index())), Kind::Lease, Some(key), note)
        });
        let held = Held { slot, key, run: Some(run), lease: leased, extend: None, retry: None, failed: None };
        self.unit(worker).slots.insert(slot.index(), held);
        self.seen.insert(key, (at, lane));
        self.count_running(at, worker);
    }

    /// A task that was held before, or the retry of one: an arrow shows the way.
    fn arrow_to_run(&mut self, at: Instant, lane: Lane, key: TaskKey) {
        let before = self.seen.get(&key).or_else(|| self.seen.get(self.retry_of.get(&key)?)).copied();
        if let Some(from) = before {
            let lapsed = self.lapsed.contains(&key)
                || self.retry_of.get(&key).is_some_and(|of| self.lapsed.contains(of));
            let kind = if lapsed { Way::SecondRun } else { Way::NextRun };
            self.arrow(Arrow { from, to: (at, lane), kind });
        }
    }

    fn replied(&mut self, at: Instant, worker: u32, call: CallId, reply: &Reply) {
        let Some((span, brought)) = self.unit(worker).calls.remove(&call) else { return };
        let Some((kind, lane)) = self.line.spans.get(span).map(|span| (span.kind, span.lane)) else { return };
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
                self.unit(worker).refused = true;
            }
            Ok(_) => self.unit(worker).refused = false,
            Err(_) => {}
        }
        self.end(at, span, reply.is_err(), &said);
        self.line.calls.extend(reply.is_err().then_some((at, true)));
        let (Row::Slot(index) | Row::Lease(index)) = lane.1 else { return };
        match (kind, reply) {
            (Kind::Report | Kind::Store, Ok(_)) => self.release(at, worker, index, false, "accepted"),
            (Kind::Report, Err(_)) => {
                let task = self.unit(worker).slots.get(&index).map(|held| held.key);
                let retry = self.begin(at, lane, Kind::Retry, task, said);
                if let Some(held) = self.unit(worker).slots.get_mut(&index) {
                    held.retry = Some(retry);
                    held.failed = Some(at);
                }
            }
            (Kind::Extend, _) => {
                if let Some(held) = self.unit(worker).slots.get_mut(&index) {
                    held.extend = None;
                }
            }
            _ => {}
        }
    }

    fn control(&mut self, at: Instant, worker: u32, control: Control) {
        let lane = (Process::Worker(worker), Row::Own(0));
        self.mark(at, lane, words::control(control).to_owned(), true);
        if control == Control::Pause && self.unit(worker).paused.is_none() {
            let span = self.begin(at, lane, Kind::Paused, None, String::new());
            self.unit(worker).paused = Some(span);
        } else if let Some(span) = self.unit(worker).paused.take().filter(|_| control != Control::Pause) {
            self.end(at, span, false, "");
        }
    }

    // ---------------------------------------------------------------- answers

    fn action(&mut self, at: Instant, worker: u32, action: &Action) {
        let process = Process::Worker(worker);
        let own = (process, Row::Own(0));
        match action {
            Action::Run { .. } => {}
            Action::Ignore { key } => {
                self.mark(at, own, format!("{} is here already", words::task(*key)), false)
            }
            Action::Recall { slot } => {
                self.mark(at, (process, Row::Slot(slot.index())), "recalled".to_owned(), true);
            }
            Action::Refuse { call, key } => {
                let note = format!("{} was given too much", words::task(*key));
                self.call(at, worker, *call, (process, Row::Return), Kind::Refuse, Some(*key), note);
            }
            Action::Refresh { call } => {
                self.call(at, worker, *call, (process, Row::Auth), Kind::Refresh, None, String::new());
            }
            Action::Extend { call, slot } => {
                let lane = (process, Row::Lease(slot.index()));
                let task = self.held(worker, *slot).map(|held| held.key);
                let span = self.call(at, worker, *call, lane, Kind::Extend, task, String::new());
                if let Some(held) = self.held(worker, *slot) {
                    held.extend = Some(span);
                }
            }
            Action::Update { call, slot, attempt, take_next } => {
                self.update(at, worker, *call, *slot, *attempt, *take_next);
            }
            Action::Poll { call, count, wait } => {
                let held =
                    if wait.is_zero() { String::new() } else { format!(", may wait {}", words::span(*wait)) };
                self.end_backoff(at, worker);
                let note = format!("for {count}{held}");
                self.call(at, worker, *call, (process, Row::Poll), Kind::Poll, None, note);
            }
            Action::Spill { call, slot } => {
                let (lane, task) = self.report_again(at, worker, *slot);
                self.call(at, worker, *call, lane, Kind::Store, task, String::new());
            }
            Action::Discard { slot, why } => {
                let why = words::loss(*why);
                self.mark(at, (process, Row::Slot(slot.index())), format!("discarded: {why}"), true);
                self.release(at, worker, slot.index(), true, "discarded");
            }
            Action::Wait { why, .. } => self.wait(at, worker, *why),
            Action::Stopped => self.gone(at, worker, "stopped"),
        }
    }

    fn update(
        &mut self,
        at: Instant,
        worker: u32,
        call: CallId,
        slot: SlotId,
        attempt: u16,
        take_next: bool,
    ) {
        let failed = self.held(worker, slot).and_then(|held| held.failed.take());
        let (lane, task) = self.report_again(at, worker, slot);
        if let Some(from) = failed {
            self.arrow(Arrow { from: (from, lane), to: (at, lane), kind: Way::Retry });
        }
        let next = if take_next { ", takes the next" } else { "" };
        let note = format!("attempt {}{next}", u32::from(attempt) + 1);
        self.call(at, worker, call, lane, Kind::Report, task, note);
    }

    /// A report begins: whatever else stands on its lane ends.
    fn report_again(&mut self, at: Instant, worker: u32, slot: SlotId) -> (Lane, Option<TaskKey>) {
        let lane = (Process::Worker(worker), Row::Slot(slot.index()));
        let held = self.held(worker, slot);
        let retry = held.map(|held| (held.key, held.retry.take()));
        if let Some(span) = retry.and_then(|(_, span)| span) {
            self.end(at, span, false, "");
        }
        (lane, retry.map(|(key, _)| key))
    }

    fn wait(&mut self, at: Instant, worker: u32, why: Why) {
        // A wait for the token to grow old is none that anything suffers from.
        let blocks = matches!(why, Why::Failing | Why::Unreachable | Why::RetryAfter)
            || (why == Why::Auth && self.unit(worker).refused);
        let now = self.unit(worker).backoff;
        let same =
            now.and_then(|span| self.line.spans.get(span)).is_some_and(|span| span.note == words::why(why));
        if same {
            return;
        }
        self.end_backoff(at, worker);
        if blocks {
            let lane = (Process::Worker(worker), Row::Poll);
            let span = self.begin(at, lane, Kind::Backoff, None, words::why(why).to_owned());
            self.unit(worker).backoff = Some(span);
        }
    }

    fn end_backoff(&mut self, at: Instant, worker: u32) {
        if let Some(span) = self.unit(worker).backoff.take() {
            self.end(at, span, false, "");
        }
    }

    // ---------------------------------------------------------------- ends

    /// A place is free again.
    fn release(&mut self, at: Instant, worker: u32, index: u16, failed: bool, how: &str) {
        let Some(held) = self.unit(worker).slots.remove(&index) else { return };
        for (span, note) in
            [(held.extend, "its task ended"), (held.run, how), (held.retry, how), (held.lease, how)]
        {
            if let Some(span) = span {
                self.end(at, span, failed, note);
            }
        }
        self.seen.insert(held.key, (at, (Process::Worker(worker), Row::Slot(index))));
        self.count_running(at, worker);
    }

    /// A process is gone, and everything with it.
    fn gone(&mut self, at: Instant, worker: u32, how: &str) {
        let unit = self.unit(worker);
        if unit.up.is_none() && unit.calls.is_empty() && unit.slots.is_empty() {
            return;
        }
        let crashed = how == "crashed";
        for index in self.unit(worker).slots.keys().copied().collect::<Vec<_>>() {
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
        self.mark(at, (Process::Worker(worker), Row::Own(0)), how.to_owned(), true);
    }

    // ---------------------------------------------------------------- the server

    fn server(&mut self, at: Instant, effect: &Effect) {
        let lane = (Process::Server, Row::Own(0));
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
                let slots = &self.unit(*worker).slots;
                let place = slots.iter().find(|(_, held)| held.key == *key).map(|(index, _)| *index);
                if let Some(index) = place {
                    let lane = (Process::Worker(*worker), Row::Slot(index));
                    self.seen.insert(*key, (at, lane));
                    self.mark(at, lane, format!("the lease of {} lapsed", words::task(*key)), true);
                    let lease = self.unit(*worker).slots.get_mut(&index).and_then(|held| held.lease.take());
                    let extend = self.unit(*worker).slots.get_mut(&index).and_then(|held| held.extend.take());
                    for span in extend.into_iter().chain(lease) {
                        self.end(at, span, true, "lapsed");
                    }
                }
            }
            Effect::Reported { report, applied, .. } => {
                if *applied && *report != crate::event::Report::Yield {
                    self.open = self.open.saturating_sub(1);
                }
            }
            Effect::Delivered { .. }
            | Effect::Extended { .. }
            | Effect::TokenIssued { .. }
            | Effect::TokenRefused { .. } => {}
        }
        if !matches!(effect, Effect::Delivered { .. } | Effect::TokenIssued { .. }) {
            let loud = matches!(effect, Effect::Lapsed { .. });
            self.mark(at, lane, effect_words(effect), loud);
        }
        let (process, name, value) = (Process::Server, "open tasks", self.open);
        self.line.order.push(Happening::Count { process, at, name, value });
    }

    // ---------------------------------------------------------------- small things

    fn unit(&mut self, worker: u32) -> &mut Unit {
        self.units.entry(worker).or_default()
    }

    fn held(&mut self, worker: u32, slot: SlotId) -> Option<&mut Held> {
        self.unit(worker).slots.get_mut(&slot.index()).filter(|held| held.slot == slot)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a call has a sender, a number, a lane, a kind, a task, a note"
    )]
    fn call(
        &mut self,
        at: Instant,
        worker: u32,
        call: CallId,
        lane: Lane,
        kind: Kind,
        task: Option<TaskKey>,
        note: String,
    ) -> usize {
        self.line.calls.push((at, false));
        let note = if note.is_empty() { words::call(call) } else { format!("{} {note}", words::call(call)) };
        let span = self.begin(at, lane, kind, task, note);
        self.unit(worker).calls.insert(call, (span, 0));
        span
    }

    fn begin(&mut self, at: Instant, lane: Lane, kind: Kind, task: Option<TaskKey>, note: String) -> usize {
        let number = self.line.spans.len();
        // A lease begins before anybody knows of it; on its lane it follows the one before.
        let from = self.ends.get(&lane).filter(|_| kind == Kind::Lease).map_or(at, |end| at.max(*end));
        self.line.spans.push(Span { lane, kind, from, until: None, failed: false, task, note });
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
        self.ends.insert(span.lane, at);
        self.line.order.push(Happening::End(number));
    }

    fn mark(&mut self, at: Instant, lane: Lane, what: String, loud: bool) {
        self.line.order.push(Happening::Mark(self.line.marks.len()));
        self.line.marks.push(Mark { lane, at, what, loud });
    }

    fn arrow(&mut self, arrow: Arrow) {
        self.line.order.push(Happening::Arrow(self.line.arrows.len()));
        self.line.arrows.push(arrow);
    }

    fn count_running(&mut self, at: Instant, worker: u32) {
        let slots = &self.unit(worker).slots;
        let (held, running) = (slots.len(), slots.values().filter(|held| held.run.is_some()).count());
        for (name, value) in [("running", running), ("held", held)] {
            let value = value as u64;
            self.line.order.push(Happening::Count { process: Process::Worker(worker), at, name, value });
        }
    }
}
