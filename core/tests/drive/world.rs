//! A server, a line to it, a clock and a worker's code, all in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use downbeat_core::drive::{
    AsyncIdle, AsyncLink, Buffers, Config, Counts, Idle, Key, Link, Session, Site, run, run_async,
};
use downbeat_core::machine::{Clock, Control, EntryId, Instant, Lifecycle, Policy};
use downbeat_core::ports::{Assignment, Cause, End, Executor, Progress, Unfit};
use embedded_io::ErrorKind;
use serde_json::{Value, json};

/// A request as the server saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) method: String,
    /// Without the base.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) token: Option<String>,
    pub(crate) body: Value,
}

/// What the server sends.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    /// It closes the connection afterwards.
    pub(crate) close: bool,
}

/// What the line does to the exchange with this number, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The answer ends after so many bytes, and so does the connection; the request has its effect.
    Cut(usize),
    /// These bytes come instead of the answer; the request has its effect.
    Noise(&'static [u8]),
    /// A whole answer of the server's, instead of an effect.
    Says(&'static str),
    /// The server closes the connection after its answer without a word.
    Vanishes,
    /// Nothing comes at all.
    Silence,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) queue: VecDeque<Value>,
    pub(crate) seen: Vec<Seen>,
    /// Final reports by task, in their order.
    pub(crate) ended: Vec<(String, Value)>,
    pub(crate) faults: BTreeMap<usize, Fault>,
    /// The server cannot be reached in these times.
    pub(crate) outages: Vec<(Instant, Instant)>,
    pub(crate) controls: VecDeque<(Instant, Control)>,
    /// From then on every task's workflow is terminated.
    pub(crate) terminated: Instant,
    /// What a task's status is then.
    pub(crate) ends_as: &'static str,
    /// Bytes of text in the input of a task that is asked about.
    pub(crate) asked_bytes: usize,
    /// The token that counts; empty if none is wanted.
    pub(crate) token: String,
    pub(crate) tokens_given: u32,
    pub(crate) close_after: u32,
    pub(crate) over_deliver: bool,
    /// Bytes of the largest read and write.
    pub(crate) piece: usize,
    pub(crate) stale_is_seen: bool,
    pub(crate) connections: u32,
    pub(crate) transcript: String,
    inbound: Vec<u8>,
    outbound: VecDeque<u8>,
    open: bool,
    closing: bool,
    on_connection: u32,
    deadline: Instant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::from_secs(1),
            queue: VecDeque::new(),
            seen: Vec::new(),
            ended: Vec::new(),
            faults: BTreeMap::new(),
            outages: Vec::new(),
            controls: VecDeque::new(),
            terminated: Instant::FAR_FUTURE,
            ends_as: "CANCELED",
            asked_bytes: 0,
            token: String::new(),
            tokens_given: 0,
            close_after: 100,
            over_deliver: false,
            piece: usize::MAX,
            stale_is_seen: true,
            connections: 0,
            transcript: String::new(),
            inbound: Vec::new(),
            outbound: VecDeque::new(),
            open: false,
            closing: false,
            on_connection: 0,
            deadline: Instant::FAR_FUTURE,
        }
    }

    pub(crate) fn with_tasks(count: usize) -> Self {
        let mut world = Self::new();
        world.queue.extend((0..count).map(|n| task(&format!("t{n}"), json!({ "n": n }))));
        world
    }

    /// A drain at this time.
    pub(crate) fn drains_at(mut self, secs: u64) -> Self {
        self.controls.push_back((Instant::from_secs(secs), Control::Drain));
        self
    }

    pub(crate) fn to(&self, path: &str) -> Vec<&Seen> {
        self.seen.iter().filter(|seen| seen.path == path).collect()
    }

    fn is_up(&self) -> bool {
        !self.outages.iter().any(|(from, to)| (*from..*to).contains(&self.now))
    }

    fn take_requests(&mut self) {
        while let Some((seen, len)) = parse(&self.inbound, self.now) {
            self.inbound.drain(..len);
            self.now = self.now.saturating_add(Duration::from_millis(1));
            let fault = self.faults.get(&self.seen.len()).copied();
            self.seen.push(seen.clone());
            self.on_connection += 1;
            assert!(self.seen.len() < 2_000, "the worker does not end");
            let mut answer = match fault {
                Some(Fault::Says(text)) => Answer { bytes: text.as_bytes().to_vec(), close: false },
                _ => self.serve(&seen),
            };
            if self.on_connection >= self.close_after {
                let text = String::from_utf8_lossy(&answer.bytes);
                answer.bytes = text.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes();
                answer.close = true;
            }
            match fault {
                Some(Fault::Cut(at)) => {
                    answer.bytes.truncate(at);
                    answer.close = true;
                }
                Some(Fault::Noise(noise)) => answer.bytes = noise.to_vec(),
                Some(Fault::Vanishes) => answer.close = true,
                Some(Fault::Silence) => answer.bytes.clear(),
                Some(Fault::Says(_)) | None => {}
            }
            let _ = writeln!(self.transcript, "{}", String::from_utf8_lossy(&answer.bytes));
            self.outbound.extend(answer.bytes);
            self.closing = answer.close;
        }
    }

    fn serve(&mut self, seen: &Seen) -> Answer {
        if seen.path == "/token" {
            self.tokens_given += 1;
            self.token = format!("token-{}", self.tokens_given);
            return reply(200, "application/json", &json!({ "token": self.token }).to_string());
        }
        if !self.token.is_empty() && seen.token.as_deref() != Some(self.token.as_str()) {
            let error = json!({ "error": "EXPIRED_TOKEN", "message": "expired" });
            return reply(401, "application/json", &error.to_string());
        }
        match seen.path.as_str() {
            path if path.starts_with("/tasks/poll/batch/") => self.poll(&seen.query),
            "/tasks" | "/tasks/update-v2" => self.report(seen),
            path if seen.method == "GET" => self.state(path.trim_start_matches("/tasks/")),
            _ => reply(404, "application/json", "{}"),
        }
    }

    fn poll(&mut self, query: &str) -> Answer {
        let number = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<usize>().ok()).expect("a number in the query")
        };
        let count = if self.over_deliver { self.queue.len() } else { number("count") };
        if self.queue.is_empty() {
            self.now = self.now.saturating_add(Duration::from_millis(number("timeout") as u64));
        }
        let tasks: Vec<Value> = self.queue.drain(..count.min(self.queue.len())).collect();
        chunked(&Value::Array(tasks).to_string())
    }

    /// `GET /tasks/{id}`. The task's input speaks of states, too.
    fn state(&self, id: &str) -> Answer {
        let ended = self.now >= self.terminated;
        let (status, other) =
            if ended { (self.ends_as, "IN_PROGRESS") } else { ("IN_PROGRESS", self.ends_as) };
        let mut task = task(id, json!({ "status": other, "text": "y".repeat(self.asked_bytes) }));
        task["status"] = json!(status);
        chunked(&task.to_string())
    }

    fn report(&mut self, seen: &Seen) -> Answer {
        let id = seen.body["taskId"].as_str().expect("an id").to_owned();
        let acknowledged = reply(200, "text/plain;charset=UTF-8", &id);
        if seen.body["extendLease"] == json!(true) {
            return acknowledged;
        }
        if seen.body["status"] != json!("IN_PROGRESS") {
            self.ended.push((id, seen.body.clone()));
        }
        if seen.path == "/tasks" {
            return acknowledged;
        }
        match self.queue.pop_front() {
            Some(task) => chunked(&task.to_string()),
            None => reply(204, "", ""),
        }
    }
}

/// A task as a real server sends it: with its definition in it, twice.
pub(crate) fn task(id: &str, input: Value) -> Value {
    let definition = json!({ "name": "greet", "description": "x".repeat(400), "retryCount": 3 });
    json!({
        "taskType": "greet", "status": "IN_PROGRESS", "inputData": input, "taskId": id,
        "workflowTask": { "name": "greet", "taskDefinition": definition }, "taskDefinition": definition,
        "workflowInstanceId": format!("w-{id}"), "responseTimeoutSeconds": 10, "pollCount": 1,
        "outputData": {}, "executionMetadata": { "empty": true },
    })
}

pub(crate) fn reply(status: u16, kind: &str, body: &str) -> Answer {
    let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    Answer { bytes: format!("HTTP/1.1 {status} \r\n{kind}{length}\r\n{body}").into_bytes(), close: false }
}

fn chunked(body: &str) -> Answer {
    let mut text =
        "HTTP/1.1 200 \r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for piece in body.as_bytes().chunks(700) {
        let _ = write!(text, "{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
    }
    text.push_str("0\r\n\r\n");
    Answer { bytes: text.into_bytes(), close: false }
}

/// The first request in `bytes`, and its length.
fn parse(bytes: &[u8], at: Instant) -> Option<(Seen, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = (std::str::from_utf8(&bytes[..end]).expect("a head is text"), &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let mut start = lines.next()?.split(' ');
    let (method, target) = (start.next()?.to_owned(), start.next()?.strip_prefix("/api")?);
    assert_eq!(start.next(), Some("HTTP/1.1"));
    let headers: BTreeMap<String, &str> =
        lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v)).collect();
    let length = headers.get("content-length").map_or(0, |value| value.parse().expect("a length"));
    let body = rest.get(..length)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let seen = Seen {
        at,
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        token: headers.get("x-authorization").map(|&token| token.to_owned()),
        body: if length == 0 { Value::Null } else { serde_json::from_slice(body).expect("JSON") },
    };
    Some((seen, head.len() + 4 + length))
}

/// The worker's side of the world.
#[derive(Clone)]
pub(crate) struct Host(pub(crate) Rc<RefCell<World>>);

impl Clock for Host {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }
}

impl embedded_io::ErrorType for Host {
    type Error = ErrorKind;
}

impl Host {
    fn read_now(&self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        let world = &mut *self.0.borrow_mut();
        if !world.open {
            return Err(ErrorKind::NotConnected);
        }
        if world.outbound.is_empty() {
            if world.closing || !world.is_up() {
                world.open = false;
                return Ok(0);
            }
            world.now = world.now.max(world.deadline);
            return Err(ErrorKind::TimedOut);
        }
        let count = buf.len().min(world.outbound.len()).min(world.piece);
        for (to, from) in buf.iter_mut().zip(world.outbound.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn write_now(&self, buf: &[u8]) -> Result<usize, ErrorKind> {
        let world = &mut *self.0.borrow_mut();
        if !world.open || world.closing || !world.is_up() {
            world.open = false;
            return Err(ErrorKind::BrokenPipe);
        }
        let count = buf.len().min(world.piece);
        world.inbound.extend_from_slice(&buf[..count]);
        world.transcript.push_str(&String::from_utf8_lossy(&buf[..count]));
        world.take_requests();
        Ok(count)
    }

    fn reconnect_now(&self) -> Result<(), Cause> {
        let world = &mut *self.0.borrow_mut();
        world.inbound.clear();
        world.outbound.clear();
        (world.closing, world.on_connection) = (false, 0);
        world.open = world.is_up();
        world.connections += 1;
        let _ = writeln!(world.transcript, "--- connection {}: {}", world.connections, world.open);
        if world.open { Ok(()) } else { Err(Cause::Connect) }
    }

    fn stale_now(&self) -> bool {
        let world = self.0.borrow();
        world.stale_is_seen && (world.closing || !world.is_up() || !world.outbound.is_empty())
    }

    fn wait_now(&self, until: Option<Instant>) {
        let world = &mut *self.0.borrow_mut();
        let next = world.controls.front().map(|(at, _)| *at);
        let until = [until, next].into_iter().flatten().min().expect("somebody wakes the worker");
        assert!(until > world.now, "a wait for what is due is a busy loop");
        world.now = until;
        assert!(world.now < Instant::from_secs(10_000), "the worker does not end");
    }

    fn control_now(&self) -> Option<Control> {
        let world = &mut *self.0.borrow_mut();
        let due = world.controls.front().is_some_and(|(at, _)| *at <= world.now);
        if due { world.controls.pop_front().map(|(_, control)| control) } else { None }
    }
}

impl embedded_io::Read for Host {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        self.read_now(buf)
    }
}

impl embedded_io::Write for Host {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        self.write_now(buf)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Link for Host {
    fn reconnect(&mut self) -> Result<(), Cause> {
        self.reconnect_now()
    }

    fn set_deadline(&mut self, at: Instant) {
        self.0.borrow_mut().deadline = at;
    }

    fn is_stale(&mut self) -> bool {
        self.stale_now()
    }
}

impl Idle for Host {
    fn wait(&mut self, until: Option<Instant>) {
        self.wait_now(until);
    }

    fn control(&mut self) -> Option<Control> {
        self.control_now()
    }
}

/// The same, async; a newtype, because the traits' methods have the same names.
struct AsyncHost(Host);

impl embedded_io::ErrorType for AsyncHost {
    type Error = ErrorKind;
}

impl embedded_io_async::Read for AsyncHost {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read_now(buf)
    }
}

impl embedded_io_async::Write for AsyncHost {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write_now(buf)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl AsyncLink for AsyncHost {
    async fn reconnect(&mut self) -> Result<(), Cause> {
        self.0.reconnect_now()
    }

    fn set_deadline(&mut self, at: Instant) {
        self.0.0.borrow_mut().deadline = at;
    }

    fn is_stale(&mut self) -> bool {
        self.0.stale_now()
    }
}

impl AsyncIdle for AsyncHost {
    async fn wait(&mut self, until: Option<Instant>) {
        self.0.wait_now(until);
    }

    fn control(&mut self) -> Option<Control> {
        self.0.control_now()
    }
}

/// The worker's code: so many steps, each of which takes its time, then the end.
pub(crate) struct Code {
    pub(crate) steps: u32,
    pub(crate) takes: Duration,
    pub(crate) end: End,
    pub(crate) output: Option<&'static str>,
    pub(crate) cancelled: u32,
    pub(crate) cancelled_at: Instant,
    pub(crate) most_at_once: usize,
    host: Option<Host>,
    running: BTreeMap<EntryId, (u32, String)>,
}

impl Code {
    pub(crate) fn new(steps: u32, takes: Duration) -> Self {
        Self {
            steps,
            takes,
            end: End::Completed,
            output: None,
            cancelled: 0,
            cancelled_at: Instant::ZERO,
            most_at_once: 0,
            host: None,
            running: BTreeMap::new(),
        }
    }

    pub(crate) fn quick() -> Self {
        Self::new(1, Duration::from_millis(3))
    }
}

impl Executor for Code {
    fn start(&mut self, entry: EntryId, task: &Assignment<'_>) -> Result<(), Unfit> {
        assert_eq!(task.task_type, "greet");
        let input = String::from_utf8_lossy(task.input);
        if input.contains("unfit") {
            return Err(Unfit { reason: "the input is not what this worker takes" });
        }
        let before = self.running.insert(entry, (0, input.into_owned()));
        assert_eq!(before, None, "an entry that runs is not started again");
        self.most_at_once = self.most_at_once.max(self.running.len());
        Ok(())
    }

    fn step(&mut self, entry: EntryId, output: &mut [u8]) -> Progress {
        let world = &self.host.as_ref().expect("a host").0;
        let now = world.borrow().now.saturating_add(self.takes);
        world.borrow_mut().now = now;
        output.fill(b'?');
        let (steps, input) = self.running.get_mut(&entry).expect("an entry that runs");
        *steps += 1;
        if *steps < self.steps {
            return Progress::Pending { wake: Instant::ZERO };
        }
        let text = self.output.map_or_else(|| format!("{{\"echo\":{input}}}"), str::to_owned);
        self.running.remove(&entry);
        let len = text.len().min(output.len());
        output[..len].copy_from_slice(&text.as_bytes()[..len]);
        Progress::Done { end: self.end, output: text.len() }
    }

    fn cancel(&mut self, entry: EntryId) {
        assert!(self.running.remove(&entry).is_some(), "what is cancelled runs");
        self.cancelled += 1;
        self.cancelled_at = self.host.as_ref().expect("a host").now();
    }
}

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) world: World,
    pub(crate) code: Code,
    pub(crate) counts: Counts,
}

/// Sizes and names of a run.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) receive: usize,
    pub(crate) key: bool,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let mut policy = Policy { concurrency: 2, ..Policy::default() };
        policy.failing.jitter = 0;
        policy.auth.jitter = 0;
        Self { policy, receive: 2_048, key: false }
    }
}

/// Runs a worker to its end, blocking and async, and checks that both said and heard the same.
pub(crate) fn drive(setup: Setup, make: impl Fn() -> (World, Code)) -> Ran {
    let (world, code) = make();
    let blocking = once(setup, world, code, false);
    let (world, code) = make();
    let twin = once(setup, world, code, true);
    assert_eq!(blocking.world.transcript, twin.world.transcript);
    assert_eq!(blocking.world.now, twin.world.now);
    blocking
}

fn once(setup: Setup, world: World, mut code: Code, is_async: bool) -> Ran {
    let host = Host(Rc::new(RefCell::new(world)));
    code.host = Some(host.clone());
    let (mut receive, mut send, mut token) = (vec![0; setup.receive], [0; 2_048], [0; 256]);
    let config = Config {
        site: Site { host: "device", base: "/api" },
        task_type: "greet",
        worker_id: "w1",
        domain: "",
        key: setup.key.then_some(Key { id: "key", secret: "secret" }),
    };
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut token };
    let mut session: Session<'_, 2, 256> =
        Session::new(setup.policy, 7, config, buffers).expect("sizes that fit");
    if is_async {
        let (mut link, mut idle) = (AsyncHost(host.clone()), AsyncHost(host.clone()));
        ready(run_async(&mut session, &mut link, &mut idle, &host, &mut code));
    } else {
        let (mut link, mut idle) = (host.clone(), host.clone());
        run(&mut session, &mut link, &mut idle, &host, &mut code);
    }
    assert_eq!(session.worker().snapshot().lifecycle, Lifecycle::Stopped);
    let counts = session.counts();
    code.host = None;
    let world = Rc::into_inner(host.0).map(RefCell::into_inner);
    Ran { world: world.expect("one owner"), code, counts }
}

/// All futures of this world are ready at once.
fn ready<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("nothing in this world waits"),
    }
}
