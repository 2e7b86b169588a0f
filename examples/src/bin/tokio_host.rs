//! An async host: one tokio task owns the machine, calls (reqwest) and the user's code are tasks of their own.
//!
//! The machine is plain data behind no lock. What calls and user code bring comes back as events over a channel, and
//! the one loop tells the machine, performs what it answers and sleeps until its deadline.

use std::collections::VecDeque;
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Clock, Control, EntryId, Fault, Input, Instant, Outcome, Policy,
    Reply, Worker,
};
use downbeat_core::ports::Head;
use downbeat_core::wire::target::{self, Target};
use downbeat_core::wire::{
    Accepted, CallKind, Element, Full, Ids, Out, Output, Status, TaskResult, TaskState, TaskView, classify,
    encode_extend, encode_give_back, read_status, reason_instead, tasks,
};
use downbeat_examples::{Args, Person, SystemClock, greet};
use reqwest::Client;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Tasks at once.
const SLOTS: usize = 4;
/// Every call and every task has room for its event: nobody waits for the loop.
const EVENTS: usize = 4 * SLOTS;
const WORKER: &str = "tokio-example";

type Failed = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let args = Args::read()?;
    let policy = Policy { concurrency: u16::try_from(SLOTS)?, ..Policy::DEFAULT };
    let (sender, events) = mpsc::channel(EVENTS);
    let host = Host {
        worker: Worker::new(policy, u64::from(std::process::id()))?,
        held: [const { None }; SLOTS],
        client: Client::builder().build()?,
        sender,
        inputs: VecDeque::new(),
        reported: 0,
        args,
    };
    host.run(events).await;
    Ok(())
}

/// Something that happened outside the loop.
enum Event {
    /// A call ended.
    Answered { call: CallId, purpose: Purpose, answer: Result<(Head, Vec<u8>), Fault> },
    /// The user's code of an entry ended; its output, if the input was one that it understands.
    Ended { entry: EntryId, output: Option<Vec<u8>> },
}

/// What a call is for.
#[derive(Clone, Copy)]
enum Purpose {
    Poll,
    Update { take_next: bool },
    Ask,
    Other,
}

impl Purpose {
    const fn kind(self) -> CallKind {
        match self {
            Self::Poll => CallKind::Poll,
            Self::Update { take_next: true } => CallKind::UpdateV2,
            Self::Update { take_next: false } | Self::Other => CallKind::Update,
            Self::Ask => CallKind::Other,
        }
    }
}

/// What an entry needs besides what the machine knows.
struct HeldTask {
    entry: EntryId,
    /// Others as soon as a retry is adopted; so the result is encoded when the run is over.
    ids: Ids,
    polled: Vec<u8>,
    lease: Duration,
    /// What is reported, once it is known how the task ended.
    result: Option<Body>,
}

struct Host {
    worker: Worker<SLOTS>,
    held: [Option<HeldTask>; SLOTS],
    client: Client,
    sender: Sender<Event>,
    /// What the machine is told next.
    inputs: VecDeque<Input>,
    reported: u32,
    args: Args,
}

impl Host {
    /// The loop of docs/driver-contract.md.
    async fn run(mut self, mut events: Receiver<Event>) {
        loop {
            let input = self.inputs.pop_front().unwrap_or(Input::Tick);
            let action = self.worker.step(SystemClock.now(), input);
            if action == Action::Stopped {
                return;
            }
            if let Action::Wait { until, .. } = action
                && self.inputs.is_empty()
            {
                if let Some(event) = wait(until, &mut events).await {
                    self.take(event);
                }
            } else {
                self.perform(action);
            }
        }
    }

    /// Does one action that is not about a task just leased.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Poll { call, count, wait } => {
                let target = target::poll(&self.args.task_type, WORKER, count, wait, None);
                self.call(call, Purpose::Poll, target.ok(), Vec::new(), wait);
            }
            Action::Update { call, entry, take_next, instead, .. } => {
                let body = self.held(entry).map_or_else(Vec::new, |held| match instead {
                    Some(why) => failed(&held.ids, Status::instead(why, reason_instead(why))).0,
                    None => held.result.as_ref().map_or_else(Vec::new, |body| body.0.clone()),
                });
                let path = if take_next { target::UPDATE_V2 } else { target::UPDATE };
                self.post(call, Purpose::Update { take_next }, path, body);
            }
            Action::Extend { call, entry } => {
                let mut body = Body::default();
                if let Some(held) = self.held(entry) {
                    let _ = encode_extend(&held.ids.task, &held.ids.workflow, WORKER, held.lease, &mut body);
                }
                self.post(call, Purpose::Other, target::UPDATE, body.0);
            }
            Action::Ask { call, entry } => {
                let target = self.held(entry).and_then(|held| target::task(&held.ids.task).ok());
                self.call(call, Purpose::Ask, target, Vec::new(), Duration::ZERO);
            }
            // Whatever becomes of the outcome, the machine wants to be told that the run is over.
            Action::Recall { entry, .. } => self.give_back(entry),
            // This example's server wants no token, and there is no store.
            Action::Refresh { call } => self.tell(Input::Replied { call, reply: Ok(Answer::NoAuth) }),
            Action::Spill { call, .. } => {
                self.tell(Input::Replied { call, reply: Err(CallError::new(Fault::Rejected)) });
            }
            Action::Discard { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ignore { .. }
            | Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Wait { .. }
            | Action::Stopped => {}
        }
    }

    fn tell(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    /// Tells the machine of an event: of the tasks in an answer at once, of the rest after them.
    fn take(&mut self, event: Event) {
        match event {
            Event::Ended { entry, output } => {
                // The code of a task that was given back ends too, and nobody asks.
                if let Some(held) = self.held(entry).filter(|held| held.result.is_none()) {
                    held.result = Some(result(&held.ids, output.as_deref()));
                    self.tell(Input::Finished { entry, outcome: Outcome::Final });
                }
            }
            Event::Answered { call, purpose, answer } => {
                let reply = match answer {
                    Ok((head, body)) => self.answered(call, purpose, &head, &body),
                    Err(fault) => Err(CallError::new(fault)),
                };
                self.tell(Input::Replied { call, reply });
                if reply.is_ok() && matches!(purpose, Purpose::Update { .. }) {
                    self.reported += 1;
                    if self.reported == self.args.count {
                        self.tell(Input::Control(Control::Drain));
                    }
                }
            }
        }
    }

    fn answered(&mut self, call: CallId, purpose: Purpose, head: &Head, body: &[u8]) -> Reply {
        let accepted = classify(purpose.kind(), head, body)?;
        if matches!(purpose, Purpose::Ask) {
            return Ok(match read_status(body) {
                TaskState::Ended => Answer::Ended,
                TaskState::TimedOut => Answer::TimedOut,
                TaskState::InProgress | TaskState::Scheduled | TaskState::Unknown => Answer::Done,
            });
        }
        if accepted == Accepted::Body {
            for element in tasks(body) {
                match element {
                    Ok(Element::Task(task)) => self.leased(call, &task),
                    Ok(Element::Bad { .. } | Element::Unreportable { .. }) => {}
                    Err(_) => return Err(CallError::new(Fault::Unknown)),
                }
            }
        }
        Ok(Answer::Done)
    }

    fn leased(&mut self, call: CallId, task: &TaskView<'_>) {
        let action = self.worker.step(SystemClock.now(), Input::Leased { call, task: task.meta() });
        if let Action::Run { entry, .. } = action {
            let held = HeldTask {
                entry,
                ids: task.ids.clone(),
                polled: task.output.to_vec(),
                lease: task.response_timeout.unwrap_or_default(),
                result: None,
            };
            if let Some(place) = self.held.get_mut(usize::from(entry.index())) {
                *place = Some(held);
            }
            let (input, sender) = (task.input.to_vec(), self.sender.clone());
            tokio::spawn(async move {
                drop(sender.send(Event::Ended { entry, output: work(&input) }).await);
            });
        } else if let Action::Adopt { entry, .. } = action {
            // The run goes on for this task: what is told of it carries the new ids.
            if let Some(held) = self.held(entry) {
                held.ids = task.ids.clone();
            }
        } else if let Action::GiveBack { call, .. } = action {
            let (mut body, polled) = (Body::default(), task.polled_output());
            let _ = encode_give_back(&task.ids.task, &task.ids.workflow, WORKER, polled, &mut body);
            self.post(call, Purpose::Other, target::UPDATE, body.0);
        }
    }

    /// The drain's time is over: the task goes back to the server.
    fn give_back(&mut self, entry: EntryId) {
        if let Some(held) = self.held(entry) {
            let polled = Output::new(&held.polled).unwrap_or_default();
            let mut body = Body::default();
            let _ = encode_give_back(&held.ids.task, &held.ids.workflow, WORKER, polled, &mut body);
            held.result = Some(body);
        }
        let outcome = Outcome::Yield { callback_after: Duration::from_secs(1) };
        self.tell(Input::Finished { entry, outcome });
    }

    fn held(&mut self, entry: EntryId) -> Option<&mut HeldTask> {
        self.held.get_mut(usize::from(entry.index()))?.as_mut().filter(|held| held.entry == entry)
    }

    fn post(&self, call: CallId, purpose: Purpose, path: &str, body: Vec<u8>) {
        self.call(call, purpose, Target::try_from(path).ok(), body, Duration::ZERO);
    }

    /// Sends a request by a task of its own; its answer becomes an event.
    fn call(&self, call: CallId, purpose: Purpose, target: Option<Target>, body: Vec<u8>, wait: Duration) {
        let policy = self.worker.policy();
        let limit = match purpose {
            Purpose::Poll | Purpose::Update { .. } => policy.report_timeout,
            Purpose::Ask | Purpose::Other => policy.call_timeout,
        };
        let timeout = limit + wait;
        let request = target.map(|target| {
            let url = format!("http://{}{}{target}", self.args.host, self.args.base);
            let request = match purpose {
                Purpose::Poll | Purpose::Ask => self.client.get(url),
                Purpose::Update { .. } | Purpose::Other => {
                    self.client.post(url).header("content-type", "application/json").body(body)
                }
            };
            request.timeout(timeout)
        });
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let answer = match request {
                Some(request) => exchange(request).await,
                None => Err(Fault::Rejected),
            };
            drop(sender.send(Event::Answered { call, purpose, answer }).await);
        });
    }
}

/// A report without an output.
fn failed(ids: &Ids, status: Status<'_>) -> Body {
    let (task_id, workflow_id) = (ids.task.as_str(), ids.workflow.as_str());
    let output = Output::EMPTY;
    let mut body = Body::default();
    let _ =
        TaskResult { task_id, workflow_id, worker_id: WORKER, status, output, logs: &[] }.encode(&mut body);
    body
}

/// Runs the user's code; returns its output.
fn work(input: &[u8]) -> Option<Vec<u8>> {
    let person = serde_json::from_slice::<Person>(input).ok()?;
    serde_json::to_vec(&greet(&person)).ok()
}

/// The result of a task, as it goes to the server.
fn result(ids: &Ids, output: Option<&[u8]>) -> Body {
    let status = match output {
        Some(_) => Status::Completed,
        None => Status::FailedTerminal { reason: "the input must be {\"name\": text}" },
    };
    let output = output.and_then(|raw| Output::new(raw).ok()).unwrap_or_default();
    let (task_id, workflow_id) = (ids.task.as_str(), ids.workflow.as_str());
    let mut body = Body::default();
    let _ =
        TaskResult { task_id, workflow_id, worker_id: WORKER, status, output, logs: &[] }.encode(&mut body);
    body
}

/// Waits for an event, until the machine's deadline.
async fn wait(until: Option<Instant>, events: &mut Receiver<Event>) -> Option<Event> {
    let Some(until) = until else { return events.recv().await };
    let time = until.saturating_duration_since(SystemClock.now());
    tokio::time::timeout(time, events.recv()).await.ok().flatten()
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<(Head, Vec<u8>), Fault> {
    let sent = request.send().await;
    let answer = sent.map_err(|error| if error.is_connect() { Fault::NotSent } else { Fault::Unknown })?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let head = Head {
        status: answer.status().as_u16(),
        retry_after: header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs),
        json: header("content-type").is_some_and(|kind| kind.starts_with("application/json")),
    };
    let body = answer.bytes().await.map_err(|_| Fault::Unknown)?;
    Ok((head, body.to_vec()))
}

/// A body that grows.
#[derive(Default)]
struct Body(Vec<u8>);

impl Out for Body {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
