//! One conversation, four drivers: the bare machine, a small driver over the mock transport, `core::drive`, and the
//! std runner.
//!
//! The machine alone is asked first, with the answers of a script; what it does then is the expectation that the
//! others have to meet, request by request, to the microsecond (the runner, whose time is real: in this order).
#![expect(clippy::unwrap_used, reason = "a step that goes wrong fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use downbeat::{RawValue, TaskError};

use downbeat_core::drive::{Buffers, Config, Demand, Session, Site};
use downbeat_core::machine::{
    self, Action, CallError, CallId, Clock, EntryId, Fault, Input, Instant, Outcome, Policy, Reply, TaskKey,
    Worker,
};
use downbeat_core::ports::{
    Assignment, Cause, Content, End, Executor, Method, Progress, Request, Transport, Unfit,
};
use downbeat_core::wire::target::{self, Target};
use downbeat_core::wire::{CallKind, Element, TaskView, classify, tasks};
use downbeat_mock::{
    Answer, Bench, Collector, Expect, ManualClock, ResultBuilder, ScriptedTransport, TaskBuilder,
};

const UNTIL: Instant = Instant::from_secs(120);
const WORKER: &str = "w1";

/// What a script says to a call, and after how long.
#[derive(Clone, Debug)]
enum Said {
    Nothing,
    Task(u32),
    Status(u16),
    Throttled(u64),
    Lost,
}

use Said::{Lost, Nothing, Status, Task, Throttled};

/// A conversation: what polls, reports and extensions are answered, in their order; then nothing, or acceptance.
#[derive(Clone, Debug, Default)]
struct Script {
    polls: VecDeque<(Said, u64)>,
    reports: VecDeque<(Said, u64)>,
    extensions: VecDeque<(Said, u64)>,
}

fn policy() -> Policy {
    let mut policy = Policy { max_calls: 1, concurrency: 1, ..Policy::default() };
    policy.failing.jitter = 0;
    policy
}

fn task(number: u32) -> TaskBuilder {
    TaskBuilder::new("count", &format!("t{number}"))
        .input(&format!("{{\"n\":{number}}}"))
        .response_timeout(10)
}

/// What the user's code makes of a task: odd numbers complete, multiples of four yield, other even ones fail.
fn ending(id: &str, input: &str) -> (ResultBuilder, Outcome) {
    let number: u32 = input.trim_start_matches("{\"n\":").trim_end_matches('}').parse().unwrap();
    match number % 4 {
        0 => {
            let callback_after = Duration::from_secs(30);
            (ResultBuilder::in_progress(id, "w1", callback_after), Outcome::Yield { callback_after })
        }
        2 => (ResultBuilder::failed(id, "w1", "even"), Outcome::Final),
        _ => (ResultBuilder::completed(id, "w1").output(input), Outcome::Final),
    }
}

// ---------------------------------------------------------------- the machine alone

/// One call that the machine made, and what it was told.
struct Call {
    at: Instant,
    expect: Expect,
    answer: Answer,
    latency: Duration,
}

fn fault(said: &Said) -> Reply {
    match said {
        Nothing | Task(_) => Ok(machine::Answer::Done),
        Status(_) => Err(CallError::new(Fault::Server)),
        Throttled(seconds) => {
            Err(CallError { fault: Fault::Throttled, retry_after: Some(Duration::from_secs(*seconds)) })
        }
        Lost => Err(CallError::new(Fault::Unknown)),
    }
}

fn answer(said: &Said, nothing: Answer, task_of: impl Fn(&TaskBuilder) -> Answer) -> Answer {
    match said {
        Nothing => nothing,
        Task(number) => task_of(&task(*number)),
        Status(status) => Answer::error(*status, "not now"),
        Throttled(seconds) => Answer::throttled(Duration::from_secs(*seconds)),
        Lost => Answer::lost(),
    }
}

fn bare(mut script: Script) -> Vec<Call> {
    let mut bench = Bench::<4>::new(policy(), 1).unwrap();
    let clock = bench.clock().clone();
    let mut calls = Vec::new();
    let mut held: Vec<(EntryId, u32)> = Vec::new();
    let mut action = bench.tick();
    while clock.now() < UNTIL {
        action = match action {
            Action::Wait { until, .. } => {
                clock.set(until.unwrap_or(UNTIL));
                bench.tick()
            }
            Action::Poll { call, count, wait } => {
                let quiet = u64::try_from(wait.as_millis()).unwrap().max(1);
                let (said, ms) = script.polls.pop_front().unwrap_or((Nothing, quiet));
                let answer = answer(&said, Answer::no_tasks(), |task| Answer::tasks([task]));
                let expect = Expect::poll("count").count(count).wait(wait).worker(WORKER);
                note(&mut calls, &clock, expect, answer, ms);
                bring(&mut bench, call, &said, &mut held)
            }
            Action::Update { call, entry, take_next, .. } => {
                let (said, ms) = script.reports.pop_front().unwrap_or((Nothing, 1));
                let number = held.iter().find(|(of, _)| *of == entry).unwrap().1;
                let id = format!("t{number}");
                let (result, _) = ending(&id, &format!("{{\"n\":{number}}}"));
                let body = result.worker(WORKER).json();
                let target = if take_next { Expect::update_v2(&id) } else { Expect::update(&id) };
                let said = if take_next || !matches!(said, Task(_)) { said } else { Nothing };
                let nothing = if take_next { Answer::no_content() } else { Answer::accepted(&id) };
                let answer = answer(&said, nothing, Answer::next_task);
                note(&mut calls, &clock, target.body(body), answer, ms);
                bring(&mut bench, call, &said, &mut held)
            }
            Action::Extend { call, entry } => {
                let (said, ms) = script.extensions.pop_front().unwrap_or((Nothing, 1));
                let id = format!("t{}", held.iter().find(|(of, _)| *of == entry).unwrap().1);
                let answer = answer(&said, Answer::accepted(&id), |_| Answer::accepted("t"));
                note(&mut calls, &clock, Expect::extend(&id), answer, ms);
                bring(&mut bench, call, &said, &mut held)
            }
            Action::Discard { .. } => bench.tick(),
            other => panic!("the scripts bring about no {other:?}"),
        };
    }
    calls
}

fn note(calls: &mut Vec<Call>, clock: &ManualClock, expect: Expect, answer: Answer, ms: u64) {
    let (at, latency) = (clock.now(), Duration::from_millis(ms));
    calls.push(Call { at, expect, answer, latency });
    clock.advance(latency);
}

/// Tells the machine what a call brought; the user's code takes no time.
fn bring(bench: &mut Bench<4>, call: CallId, said: &Said, held: &mut Vec<(EntryId, u32)>) -> Action {
    let run = if let Task(number) = said { Some((*number, bench.lease(call, &task(*number)))) } else { None };
    let action = bench.reply(call, fault(said));
    let Some((number, Action::Run { entry, .. })) = run else { return action };
    assert!(matches!(action, Action::Wait { .. }), "one lane and one place: {action:?}");
    held.retain(|(of, _)| of.index() != entry.index());
    held.push((entry, number));
    let outcome = ending("t", &format!("{{\"n\":{number}}}")).1;
    bench.say(Input::Finished { entry, outcome })
}

/// The script of a transport that expects these calls and answers as the machine was told.
fn scripted(calls: &[Call], clock: &ManualClock) -> ScriptedTransport {
    let transport = ScriptedTransport::new(clock);
    for call in calls {
        transport.expect(call.expect.clone()).answer(call.answer.clone()).after(call.latency);
    }
    transport
}

fn assert_times(calls: &[Call], transport: &ScriptedTransport, who: &str) {
    transport.finish();
    let expected: Vec<Instant> = calls.iter().map(|call| call.at).collect();
    let made: Vec<Instant> = transport.made().iter().map(|made| made.at).collect();
    assert_eq!(made, expected, "{who}");
}

// ---------------------------------------------------------------- a small driver over a transport

/// A driver as somebody who embeds would write it: one lane, payloads by entry.
struct Small<'t> {
    worker: Worker<4>,
    clock: ManualClock,
    transport: &'t mut dyn Transport,
    held: Vec<Option<(String, String)>>,
    inputs: VecDeque<Input>,
}

impl Small<'_> {
    fn drive(&mut self, until: Instant) {
        while self.clock.now() < until {
            let input = self.inputs.pop_front().unwrap_or(Input::Tick);
            let action = self.worker.step(self.clock.now(), input);
            match action {
                Action::Wait { .. } if !self.inputs.is_empty() => {}
                Action::Wait { until: wake, .. } => drop(self.clock.set(wake.unwrap_or(until))),
                Action::Poll { call, count, wait } => {
                    let target: Target = target::poll("count", WORKER, count, wait, None).unwrap();
                    self.call(call, CallKind::Poll, Method::Get, &target, "");
                }
                Action::Update { call, entry, take_next, .. } => {
                    let (_, body) = self.held[usize::from(entry.index())].clone().unwrap();
                    let (kind, target) = if take_next {
                        (CallKind::UpdateV2, target::UPDATE_V2)
                    } else {
                        (CallKind::Update, target::UPDATE)
                    };
                    self.call(call, kind, Method::Post, target, &body);
                }
                Action::Extend { call, entry } => {
                    let (id, _) = self.held[usize::from(entry.index())].clone().unwrap();
                    let body = format!(r#"{{"taskId":"{id}","workflowInstanceId":"w1","extendLease":true}}"#);
                    self.call(call, CallKind::Update, Method::Post, target::UPDATE, &body);
                }
                Action::Discard { entry, .. } => self.held[usize::from(entry.index())] = None,
                other => panic!("this driver has no answer to {other:?}"),
            }
        }
    }

    fn call(&mut self, call: CallId, kind: CallKind, method: Method, target: &str, body: &str) {
        let content = if body.is_empty() { Content::None } else { Content::Json };
        let request = Request { method, target, content, body: body.as_bytes(), token: None };
        let mut sink = Collector::new();
        let deadline = self.clock.now().saturating_add(Duration::from_secs(15));
        let reply = match self.transport.exchange(&request, deadline, &mut sink) {
            Ok(head) => classify(kind, &head, sink.body()).map(|_| machine::Answer::Done),
            Err(failure) => Err(CallError::new(failure.fault())),
        };
        let brings = reply.is_ok() && matches!(kind, CallKind::Poll | CallKind::UpdateV2);
        let body = if brings { sink.body() } else { b"[]" };
        let elements = tasks(if body.is_empty() { b"[]" } else { body });
        let mut ends = Vec::new();
        for element in elements {
            let Ok(Element::Task(task)) = element else { panic!("the scripts bring well-formed tasks") };
            ends.extend(self.arrived(call, &task));
        }
        self.inputs.push_back(Input::Replied { call, reply });
        self.inputs.extend(ends);
    }

    fn arrived(&mut self, call: CallId, task: &TaskView<'_>) -> Option<Input> {
        let input = Input::Leased { call, task: task.meta() };
        let Action::Run { entry, .. } = self.worker.step(self.clock.now(), input) else { return None };
        let id = task.ids.task.as_str();
        let (result, outcome) = ending(id, std::str::from_utf8(task.input).unwrap());
        self.held[usize::from(entry.index())] = Some((id.to_owned(), result.worker(WORKER).json()));
        Some(Input::Finished { entry, outcome })
    }
}

fn small(calls: &[Call]) {
    let clock = ManualClock::new();
    let transport = scripted(calls, &clock);
    let mut handed = transport.clone();
    let worker = Worker::new(policy(), 1).unwrap();
    let (held, inputs) = (vec![None; 4], VecDeque::new());
    Small { worker, clock, transport: &mut handed, held, inputs }.drive(UNTIL);
    assert_times(calls, &transport, "the small driver");
}

// ---------------------------------------------------------------- core::drive

/// Runs the code in one step.
struct Counting {
    inputs: Vec<(EntryId, String)>,
}

impl Executor for Counting {
    fn start(&mut self, entry: EntryId, task: &Assignment<'_>) -> Result<(), Unfit> {
        self.inputs.push((entry, String::from_utf8_lossy(task.input).into_owned()));
        Ok(())
    }

    fn step(&mut self, entry: EntryId, output: &mut [u8]) -> Progress {
        let at = self.inputs.iter().position(|(of, _)| *of == entry).unwrap();
        let (_, input) = self.inputs.remove(at);
        match ending("t", &input).1 {
            Outcome::Yield { callback_after } => {
                Progress::Done { end: End::InProgress { callback_after }, output: 0 }
            }
            Outcome::Final if ending("t", &input).0.json().contains("even") => {
                Progress::Done { end: End::Failed { reason: "even" }, output: 0 }
            }
            Outcome::Final => {
                output[..input.len()].copy_from_slice(input.as_bytes());
                Progress::Done { end: End::Completed, output: input.len() }
            }
        }
    }

    fn cancel(&mut self, entry: EntryId) {
        self.inputs.retain(|(of, _)| *of != entry);
    }
}

fn session(calls: &[Call]) {
    let clock = ManualClock::new();
    let transport = scripted(calls, &clock);
    let site = Site { host: "localhost", base: "/api" };
    let config = Config { site, task_type: "count", worker_id: WORKER, domain: "", key: None };
    let (mut receive, mut send, mut token) = ([0; 4096], [0; 2048], []);
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut token };
    let mut session = Session::<4, 512>::new(policy(), 1, config, buffers).unwrap();
    let mut executor = Counting { inputs: Vec::new() };
    let mut wire =
        Wire { transport: transport.clone(), request: Vec::new(), answer: VecDeque::new(), lost: false };
    while clock.now() < UNTIL {
        let deadline = session.deadline();
        match session.next(clock.now(), &mut executor) {
            Demand::Turn => {}
            Demand::Check => session.checked(wire.lost),
            Demand::Connect => {
                wire.lost = false;
                session.connected(Ok(()));
            }
            Demand::Write(bytes) => {
                wire.request.extend_from_slice(bytes);
                let count = bytes.len();
                session.wrote(Ok(count));
            }
            Demand::Flush => session.flushed(Ok(())),
            Demand::Read(room) => {
                let read = wire.read(room, deadline);
                session.received(read);
            }
            Demand::Wait { until } => drop(clock.set(until.unwrap_or(UNTIL))),
            Demand::Stopped => panic!("nobody stopped it"),
        }
    }
    assert_times(calls, &transport, "core::drive");
}

/// A byte stream with the scripted transport at its other end.
struct Wire {
    transport: ScriptedTransport,
    request: Vec<u8>,
    answer: VecDeque<u8>,
    lost: bool,
}

impl Wire {
    fn read(&mut self, room: &mut [u8], deadline: Instant) -> Result<usize, Cause> {
        if self.answer.is_empty() {
            self.exchange(deadline)?;
        }
        let count = room.len().min(self.answer.len());
        for (to, byte) in room.iter_mut().zip(self.answer.drain(..count)) {
            *to = byte;
        }
        Ok(count)
    }

    fn exchange(&mut self, deadline: Instant) -> Result<(), Cause> {
        let request = std::mem::take(&mut self.request);
        let request = String::from_utf8_lossy(&request);
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or_default();
        let mut words = head.split(' ');
        let method = if words.next() == Some("GET") { Method::Get } else { Method::Post };
        let target = words.next().and_then(|target| target.strip_prefix("/api")).unwrap_or_default();
        let request = Request { method, target, content: Content::Json, body: body.as_bytes(), token: None };
        let mut sink = Collector::new();
        let Ok(head) = self.transport.exchange(&request, deadline, &mut sink) else {
            self.lost = true;
            return Err(Cause::Closed);
        };
        let kind = if head.json { "application/json" } else { "text/plain" };
        let retry =
            head.retry_after.map_or(String::new(), |delay| format!("Retry-After: {}\r\n", delay.as_secs()));
        let length = sink.body().len();
        let length = if head.status == 204 { String::new() } else { format!("Content-Length: {length}\r\n") };
        let text = format!("HTTP/1.1 {} x\r\nContent-Type: {kind}\r\n{retry}{length}\r\n", head.status);
        self.answer.extend(text.into_bytes());
        self.answer.extend(sink.body());
        Ok(())
    }
}

// ---------------------------------------------------------------- the std runner

/// Runs the library over sockets against the first of these calls, in their order; its times are its own.
fn runner(calls: &[Call], count: usize) {
    let transport = scripted(&calls[..count], &ManualClock::new());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let (done, over) = mpsc::channel();
    let script = transport.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (script, done) = (script.clone(), done.clone());
            std::thread::spawn(move || serve(&stream.unwrap(), script, &done));
        }
    });
    let worker = downbeat::Worker::new("count", |input: Box<RawValue>, context: &downbeat::Context| {
        match ending(context.task_id(), input.get()).1 {
            Outcome::Final if !input.get().contains('2') => Ok(input),
            _ => Err(TaskError::retryable("even")),
        }
    });
    let running =
        downbeat::Runner::builder(url).signals(false).worker_id(WORKER).worker(worker).start().unwrap();
    let ended = over.recv_timeout(Duration::from_secs(20));
    running.handle().drain();
    let _ = running.join();
    assert_eq!(ended, Ok(()), "the conversation ended otherwise");
    transport.finish();
}

/// Answers by the script, then with an empty queue; tells when the script is at its end.
fn serve(stream: &TcpStream, transport: ScriptedTransport, done: &mpsc::Sender<()>) {
    let mut wire = Wire { transport, request: Vec::new(), answer: VecDeque::new(), lost: false };
    let mut writer = stream;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        if wire.transport.remaining() == 0 {
            let _ = writer.write_all(
                b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
            );
            continue;
        }
        wire.request = request;
        wire.exchange(Instant::FAR_FUTURE).unwrap();
        let answer: Vec<u8> = wire.answer.drain(..).collect();
        if wire.transport.remaining() == 0 {
            let _ = done.send(());
        }
        let _ = writer.write_all(&answer);
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut request, mut length) = (String::new(), 0);
    while !request.ends_with("\r\n\r\n") {
        let from = request.len();
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
        let line = request[from..].to_ascii_lowercase();
        length = line.strip_prefix("content-length:").map_or(length, |length| length.trim().parse().unwrap());
    }
    let mut request = request.into_bytes();
    let head = request.len();
    request.resize(head + length, 0);
    reader.read_exact(&mut request[head..]).ok()?;
    Some(request)
}

// ---------------------------------------------------------------- the conversations

fn agree(script: &Script) -> usize {
    let calls = bare(script.clone());
    small(&calls);
    session(&calls);
    calls.len()
}

#[test]
fn an_idle_queue() {
    assert!(agree(&Script::default()) > 100, "long polls, one a second");
}

#[test]
fn tasks_one_after_the_other_by_update_v2() {
    let polls = [(Nothing, 1), (Nothing, 1), (Task(1), 3)].into();
    let reports = [(Task(2), 5), (Task(3), 5), (Task(5), 5), (Nothing, 100), (Nothing, 1)].into();
    let script = Script { polls, reports, ..Script::default() };
    agree(&script);
    runner(&bare(script), 7);
}

#[test]
fn a_report_that_fails_while_its_lease_is_kept() {
    let polls = [(Task(1), 3), (Nothing, 1), (Task(2), 1), (Task(3), 2)].into();
    let reports = [(Status(500), 2), (Lost, 700), (Status(503), 1), (Nothing, 4), (Throttled(3), 1)].into();
    let extensions = [(Status(500), 5), (Nothing, 5), (Lost, 10)].into();
    agree(&Script { polls, reports, extensions });
}

#[test]
fn a_queue_that_fails() {
    let polls =
        [(Status(500), 3), (Lost, 9), (Lost, 9), (Throttled(7), 1), (Task(1), 2), (Status(502), 1)].into();
    agree(&Script { polls, ..Script::default() });
}

#[test]
fn a_task_that_gives_way() {
    let polls = [(Task(4), 2), (Nothing, 1), (Task(8), 2), (Task(1), 2)].into();
    let reports = [(Lost, 20), (Nothing, 3), (Nothing, 3), (Nothing, 3)].into();
    agree(&Script { polls, reports, ..Script::default() });
}

#[test]
fn keys_are_those_of_the_wire() {
    assert_eq!(task(7).meta().key, TaskKey::from_id("t7"));
}
