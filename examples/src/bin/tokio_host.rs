//! An async host: one tokio task owns the machine, calls (reqwest) and the user's code are tasks of their own.
//!
//! The machine is plain data behind no lock. What calls and user code bring comes back as events over a channel, and
//! the one loop tells the machine, performs what it answers and sleeps until its deadline.

use std::collections::VecDeque;
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Clock, Control, Fault, Input, Instant, Outcome, Policy, Reply, SlotId,
    Worker,
};
use downbeat_core::ports::Head;
use downbeat_core::wire::target::{self, Target};
use downbeat_core::wire::{
    Accepted, CallKind, Element, Full, Ids, Out, Output, Status, TaskResult, TaskView, classify,
    encode_extend, encode_give_back, tasks,
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
    /// The user's code of a slot ended; the result as it goes to the server.
    Ended { slot: SlotId, outcome: Outcome, body: Body },
}

/// What a call is for.
#[derive(Clone, Copy)]
enum Purpose {
    Poll,
    Update { take_next: bool },
    Other,
}

impl Purpose {
    const fn kind(self) -> CallKind {
        match self {
            Self::Poll => CallKind::Poll,
            Self::Update { take_next: true } => CallKind::UpdateV2,
            Self::Update { take_next: false } | Self::Other => CallKind::Update,
        }
    }
}

/// What a slot needs besides what the machine knows.
struct Held {
    ids: Ids,
    polled: Vec<u8>,
    result: Body,
}

struct Host {
    worker: Worker<SLOTS>,
    held: [Option<Held>; SLOTS],
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
            Action::Update { call, slot, take_next, .. } => {
                let body = self.held(slot).map_or_else(Vec::new, |held| held.result.0.clone());
                let path = if take_next { target::UPDATE_V2 } else { target::UPDATE };
                self.post(call, Purpose::Update { take_next }, path, body);
            }
            Action::Extend { call, slot } => {
                let mut body = Body::default();
                if let Some(held) = self.held(slot) {
                    let _ = encode_extend(&held.ids.task, &held.ids.workflow, &mut body);
                }
                self.post(call, Purpose::Other, target::UPDATE, body.0);
            }
            Action::Recall { slot } => self.give_back(slot),
            // This example's server wants no token, and there is no store.
            Action::Refresh { call } => self.tell(Input::Replied { call, reply: Ok(Answer::NoAuth) }),
            Action::Spill { call, .. } => {
                self.tell(Input::Replied { call, reply: Err(CallError::new(Fault::Rejected)) });
            }
            Action::Discard { .. }
            | Action::Ignore { .. }
            | Action::Run { .. }
            | Action::Refuse { .. }
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
            Event::Ended { slot, outcome, body } => {
                if let Some(held) = self.held(slot) {
                    held.result = body;
                }
                self.tell(Input::Finished { slot, outcome });
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
        if classify(purpose.kind(), head, body)? == Accepted::Body {
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
        if let Action::Run { slot, .. } = action {
            let held = Held { ids: task.ids.clone(), polled: task.output.to_vec(), result: Body::default() };
            if let Some(place) = self.held.get_mut(usize::from(slot.index())) {
                *place = Some(held);
            }
            let (ids, input, sender) = (task.ids.clone(), task.input.to_vec(), self.sender.clone());
            tokio::spawn(async move {
                let body = work(&ids, &input);
                drop(sender.send(Event::Ended { slot, outcome: Outcome::Final, body }).await);
            });
        } else if let Action::Refuse { call, .. } = action {
            let (mut body, polled) = (Body::default(), task.polled_output());
            let _ = encode_give_back(&task.ids.task, &task.ids.workflow, WORKER, polled, &mut body);
            self.post(call, Purpose::Other, target::UPDATE, body.0);
        }
    }

    /// The drain's time is over: the task goes back to the server.
    fn give_back(&mut self, slot: SlotId) {
        if let Some(held) = self.held(slot) {
            let polled = Output::new(&held.polled).unwrap_or_default();
            let mut body = Body::default();
            let _ = encode_give_back(&held.ids.task, &held.ids.workflow, WORKER, polled, &mut body);
            held.result = body;
        }
        let outcome = Outcome::Yield { callback_after: Duration::from_secs(1) };
        self.tell(Input::Finished { slot, outcome });
    }

    fn held(&mut self, slot: SlotId) -> Option<&mut Held> {
        self.held.get_mut(usize::from(slot.index()))?.as_mut()
    }

    fn post(&self, call: CallId, purpose: Purpose, path: &str, body: Vec<u8>) {
        self.call(call, purpose, Target::try_from(path).ok(), body, Duration::ZERO);
    }

    /// Sends a request by a task of its own; its answer becomes an event.
    fn call(&self, call: CallId, purpose: Purpose, target: Option<Target>, body: Vec<u8>, wait: Duration) {
        let timeout = self.worker.policy().call_timeout + wait;
        let request = target.map(|target| {
            let url = format!("http://{}{}{target}", self.args.host, self.args.base);
            let request = match purpose {
                Purpose::Poll => self.client.get(url),
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

/// Runs the user's code and writes its result.
fn work(ids: &Ids, input: &[u8]) -> Body {
    let greeting = serde_json::from_slice::<Person>(input).map(|person| greet(&person));
    let output = greeting.as_ref().ok().and_then(|greeting| serde_json::to_vec(greeting).ok());
    let status = match &output {
        Some(_) => Status::Completed,
        None => Status::FailedTerminal { reason: "the input must be {\"name\": text}" },
    };
    let output = output.as_deref().and_then(|raw| Output::new(raw).ok()).unwrap_or_default();
    let (task_id, workflow_id) = (ids.task.as_str(), ids.workflow.as_str());
    let mut body = Body::default();
    let _ =
        TaskResult { task_id, workflow_id, worker_id: WORKER, status, output, logs: &[] }.encode(&mut body);
    body
}

/// Waits for an event, until the machine's deadline.
async fn wait(until: Option<Instant>, events: &mut Receiver<Event>) -> Option<Event> {
    let Some(until) = until else { return events.recv().await };
    let time = SystemClock.now().until(until);
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
