//! The calls to the server, one for each action that needs one.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Clock, EntryId, Fault, HubAction, HubInput, Input, Instant, Policy,
    Reply, TaskKey, TaskMeta,
};
use downbeat_core::ports::{Content, Method, Request};
use downbeat_core::wire::target;
use downbeat_core::wire::{self, Accepted, CallKind, Element, TaskState, TaskView};

use super::answer::{AnswerSink, CallFailure};
use super::counts::count;
use super::held_task::{HeldTask, Payload, encoded, give_back_body};
use super::performer::Performer;
use super::shared::Shared;
use super::slots::WorkerSlots;
use super::thread::{DONE, LeaseReply};
use crate::clock::unix_millis;
use crate::context::{TaskFacts, lock};
use crate::event::EventKind;
use crate::metrics::Name;

/// How long the call for the token may take.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Tasks on their way back that are remembered; of more, the oldest is left to its lease.
const SURPLUS_MAX: usize = 1_000;

/// A call that is to be made.
pub(super) struct Call<'a> {
    pub(super) kind: CallKind,
    pub(super) method: Method,
    pub(super) target: &'a str,
    pub(super) body: &'a [u8],
    /// Tasks that are asked for; at least 1.
    pub(super) wanted: u16,
    pub(super) deadline: Instant,
}

impl<'a> Call<'a> {
    pub(super) const fn post(kind: CallKind, target: &'a str, body: &'a [u8], deadline: Instant) -> Self {
        Self { kind, method: Method::Post, target, body, wanted: 1, deadline }
    }

    pub(super) const fn get(kind: CallKind, target: &'a str, wanted: u16, deadline: Instant) -> Self {
        Self { kind, method: Method::Get, target, body: &[], wanted, deadline }
    }
}

impl Call<'_> {
    const fn method(&self) -> &'static str {
        match self.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }

    /// What metrics and the log say of it: the template of its path, for the path itself has ids in it.
    fn uri(&self) -> &'static str {
        match self.kind {
            CallKind::Poll => "/tasks/poll/batch/{taskType}",
            CallKind::Update => target::UPDATE,
            CallKind::UpdateV2 => target::UPDATE_V2,
            CallKind::Token => target::TOKEN,
            CallKind::Other if self.target.starts_with("/tasks/externalstoragelocation") => {
                "/tasks/externalstoragelocation"
            }
            CallKind::Other => "/tasks/{taskId}",
        }
    }
}

impl Performer {
    /// Makes a call; tasks in its answer go to `take`. Returns what it means, and the body where it was no tasks.
    pub(super) fn call(
        &mut self,
        call: &Call<'_>,
        take: &mut dyn FnMut(Element<'_>),
    ) -> (Result<Accepted, CallFailure>, Vec<u8>) {
        let mut sink = AnswerSink::new(call.kind, self.shared.max_task, call.wanted, take);
        let meaning = self.exchange(call, &mut sink);
        (meaning, sink.into_body())
    }

    /// Sends a call, and reads its answer into the sink.
    fn exchange(&mut self, call: &Call<'_>, sink: &mut AnswerSink<'_>) -> Result<Accepted, CallFailure> {
        let shared = &self.shared;
        let token = if call.kind == CallKind::Token { None } else { shared.token() };
        let request = Request {
            method: call.method,
            target: call.target,
            content: if call.method == Method::Get { Content::None } else { Content::Json },
            body: call.body,
            token: token.as_deref(),
        };
        let sent = shared.clock.now();
        let exchange = self.transport.exchange(&request, call.deadline, sink);
        let status = exchange.map_or(0, |head| head.status);
        let meaning = sink.conclude(exchange);
        let now = shared.clock.now();
        let took = now.saturating_duration_since(sent);
        let cause = meaning.as_ref().err().map(tracing::field::display);
        tracing::trace!(method = call.method(), uri = call.uri(), status, ?took, cause, "call");
        shared.measure(|metrics| {
            metrics.time(Name::HttpRequest, &[call.method(), call.uri(), &status.to_string()], took);
        });
        match &meaning {
            Err(failure) if failure.is_of_link() => {
                shared.link.failed(now, "the runner", &failure.to_string());
            }
            Ok(_) | Err(_) => shared.link.worked(now, "the runner"),
        }
        meaning
    }

    /// A call that brings one task, of which the state alone counts.
    fn state_call(&mut self, call: &Call<'_>) -> (Result<Accepted, CallFailure>, TaskState) {
        let max_task = self.shared.max_task;
        let mut take = |_: Element<'_>| {};
        let mut sink = AnswerSink::for_state(max_task, 0, &mut take);
        let meaning = self.exchange(call, &mut sink);
        (meaning, sink.state())
    }

    /// Asks the server whether a task is still out as it was delivered then. It is not in these hands any more if it was
    /// given back, which puts it into the queue, or delivered again, which counts one up.
    pub(super) fn is_still_out(&mut self, task_id: &str, poll_count: u32) -> Result<bool, CallFailure> {
        let Ok(target) = target::task::<2048>(task_id) else { return Ok(false) };
        let deadline = self.shared.clock.now().saturating_add(Policy::DEFAULT.call_timeout);
        let (max_task, mut seen) = (self.shared.max_task, 0);
        let mut take = |element: Element<'_>| {
            if let Element::Task(task) = element {
                seen = task.poll_count;
            }
        };
        let mut sink = AnswerSink::for_state(max_task, max_task, &mut take);
        self.exchange(&Call::get(CallKind::Other, &target, 1, deadline), &mut sink)?;
        let state = sink.state();
        Ok(state == TaskState::InProgress && poll_count > 0 && seen == poll_count)
    }

    /// A call that brings no tasks.
    pub(super) fn plain_call(&mut self, call: &Call<'_>) -> (Result<Accepted, CallFailure>, Vec<u8>) {
        self.call(call, &mut |_| {})
    }

    pub(super) fn poll(
        &mut self,
        worker: u16,
        slots: &WorkerSlots,
        call: CallId,
        wanted: u16,
        wait: Duration,
    ) {
        let shared = Arc::clone(&self.shared);
        let sent = shared.clock.now();
        shared.emit(slots, || EventKind::PollStarted {
            worker_id: slots.worker_id.clone(),
            poll_count: wanted,
        });
        let mut put_off = Vec::new();
        let mut received = 0;
        let meaning = match slots.poll_target(wanted, wait) {
            Ok(target) => {
                let limit = slots.limit(&Action::Poll { call, count: wanted, wait });
                let deadline = sent.saturating_add(limit);
                let poll = Call::get(CallKind::Poll, &target, wanted, deadline);
                let mut take = |element: Element<'_>| {
                    received += 1;
                    put_off.extend(shared.receive(worker, slots, call, element));
                };
                self.call(&poll, &mut take).0
            }
            // Names are checked before the start.
            Err(_) => Err(CallFailure::said(Fault::Rejected, "the poll's target cannot be made")),
        };
        let now = shared.clock.now();
        let duration = now.saturating_duration_since(sent);
        shared.measure(|metrics| {
            metrics.add(Name::Poll, &[&slots.task], 1);
            metrics.time(Name::PollTime, &[&slots.task, success(&meaning)], duration);
            if let Err(failure) = &meaning {
                metrics.add(Name::PollError, &[&slots.task, &failure.code()], 1);
            }
        });
        match &meaning {
            Ok(_) => {
                slots.polls.worked(now, &slots.task);
                shared.emit(slots, || EventKind::PollCompleted { duration, tasks_received: received });
            }
            Err(failure) => {
                if !failure.is_of_link() {
                    slots.polls.failed(now, &slots.task, &failure.to_string());
                }
                shared.emit(slots, || EventKind::PollFailure { duration, cause: failure.to_string() });
            }
        }
        shared.tell_after(put_off, replied(worker, call, reply(&meaning)));
    }

    pub(super) fn extend(&mut self, worker: u16, slots: &WorkerSlots, call: CallId, entry: EntryId) {
        let shared = Arc::clone(&self.shared);
        let Some(held) = slots.held(entry) else {
            return shared.tell(replied(worker, call, Err(CallError::new(Fault::Rejected))));
        };
        let facts = held.facts();
        let body = encoded(|out| {
            wire::encode_extend(&facts.task_id, &facts.workflow_id, &slots.worker_id, facts.lease, out)
        });
        let deadline = shared.clock.now().saturating_add(slots.limit(&Action::Extend { call, entry }));
        let (meaning, _) = self.plain_call(&Call::post(CallKind::Update, target::UPDATE, &body, deadline));
        let now = shared.clock.now();
        match &meaning {
            Ok(_) => {
                slots.extensions.worked(now, &slots.task);
                slots.lapses.worked(now, &slots.task);
            }
            Err(failure) => {
                shared.measure(|metrics| {
                    metrics.add(Name::ExtensionError, &[&slots.task, &failure.code()], 1);
                });
                // All tasks of a worker fail together; an unreachable server is said to be so already.
                if !failure.is_of_link() && failure.error.fault != Fault::Gone {
                    slots.extensions.failed_once(now, &slots.task, &failure.to_string());
                }
                tracing::debug!(task = facts.task_id, cause = %failure, "a lease could not be extended");
            }
        }
        shared.tell(replied(worker, call, reply(&meaning)));
    }

    /// Asks the server whether it still waits for a running task.
    pub(super) fn ask(&mut self, worker: u16, slots: &WorkerSlots, call: CallId, entry: EntryId) {
        let shared = Arc::clone(&self.shared);
        let unknown = || replied(worker, call, Err(CallError::new(Fault::Rejected)));
        let Some(facts) = slots.held(entry).map(|held| held.facts()) else { return shared.tell(unknown()) };
        let Ok(target) = target::task::<2048>(&facts.task_id) else { return shared.tell(unknown()) };
        let deadline = shared.clock.now().saturating_add(slots.limit(&Action::Ask { call, entry }));
        let (meaning, state) = self.state_call(&Call::get(CallKind::Other, &target, 1, deadline));
        let reply = match (meaning, state) {
            (Err(failure), _) => {
                tracing::debug!(task = facts.task_id, cause = %failure, "the state of a task is not known");
                Err(failure.error)
            }
            (Ok(_), TaskState::Ended) => Ok(Answer::Ended),
            (Ok(_), TaskState::TimedOut) => Ok(Answer::TimedOut),
            (Ok(_), TaskState::InProgress | TaskState::Scheduled | TaskState::Unknown) => DONE,
        };
        shared.tell(replied(worker, call, reply));
    }

    pub(super) fn give_back(&mut self, worker: u16, slots: &WorkerSlots, call: CallId, key: TaskKey) {
        let shared = Arc::clone(&self.shared);
        let facts = slots.surplus(key);
        let delivery = shared.notes().map(crate::store::Store::deliveries);
        let meaning = match &facts {
            // It may have been in hand before, and noted as such: a later runner must not give it back once more (S4).
            Some(facts) if !shared.note_yield(facts) => {
                Err(CallFailure::said(Fault::Throttled, "the store cannot note the give-back of a task"))
            }
            Some(facts) => {
                let body = give_back_body(facts, &slots.worker_id);
                let deadline =
                    shared.clock.now().saturating_add(slots.limit(&Action::GiveBack { call, key }));
                self.plain_call(&Call::post(CallKind::Update, target::UPDATE, &body, deadline)).0
            }
            None => Err(CallFailure::said(Fault::Rejected, "a task to be given back is not known any more")),
        };
        if meaning.is_ok() {
            count(&shared.counts.given_back);
            if let (Some(store), Some(facts), Some(delivery)) = (shared.notes(), &facts, delivery) {
                store.delivery_ended(&facts.task_id, delivery);
            }
        }
        shared.tell(replied(worker, call, reply(&meaning)));
        // Where it had no effect the machine may ask for it again.
        let repeats = shared.scheduler.look(|hub| {
            hub.members().get(usize::from(worker)).is_some_and(|member| member.machine().gives_back(key))
        });
        if repeats {
            return;
        }
        slots.forget_surplus(key);
        if let Err(failure) = &meaning {
            tracing::warn!(task = facts.map(|facts| facts.task_id), cause = %failure,
                "a surplus task could not be given back; its lease has to end");
        }
    }

    pub(super) fn refresh(&mut self, call: CallId) {
        let shared = Arc::clone(&self.shared);
        let Some(credentials) = &shared.credentials else {
            return shared.tell(HubInput::Refreshed { call, reply: Ok(Answer::NoAuth) });
        };
        let body = encoded(|out| wire::encode_token_request(&credentials.key, &credentials.secret, out));
        let deadline = shared.clock.now().saturating_add(TOKEN_TIMEOUT);
        let (meaning, answer) = self.plain_call(&Call::post(CallKind::Token, target::TOKEN, &body, deadline));
        let now = shared.clock.now();
        let outcome = meaning.and_then(|accepted| match accepted {
            Accepted::NoAuth => Ok((Answer::NoAuth, None)),
            Accepted::Body | Accepted::Empty => match wire::read_token(&answer) {
                Ok(token) => {
                    let token: String = token.chars().collect();
                    Ok((Answer::Token { valid_for: None }, Some(Arc::from(token))))
                }
                Err(_) => Err(CallFailure::said(
                    Fault::Unknown,
                    "the answer to the token request has no token in it",
                )),
            },
        });
        match &outcome {
            Ok((answer, token)) => {
                shared.token.write().unwrap_or_else(PoisonError::into_inner).clone_from(token);
                shared.auth.worked(now, "the runner");
                if *answer == Answer::NoAuth {
                    tracing::info!("the server knows no tokens; going on without one");
                }
            }
            Err(failure) if failure.is_of_link() => {}
            Err(failure) => shared.auth.failed(now, "the runner", &failure.to_string()),
        }
        let reply = outcome.map(|(answer, _)| answer).map_err(|failure| failure.error);
        shared.tell(HubInput::Refreshed { call, reply });
    }
}

impl WorkerSlots {
    /// How long the call of an action may take.
    pub(super) fn limit(&self, action: &Action) -> Duration {
        self.policy.time_limit(action, false)
    }

    /// Path and query of a poll.
    pub(super) fn poll_target(&self, wanted: u16, wait: Duration) -> Result<String, target::TargetError> {
        let target = target::poll::<2048>(&self.task, &self.worker_id, wanted, wait, self.domain.as_deref())?;
        Ok(target.as_str().to_owned())
    }

    fn surplus(&self, key: TaskKey) -> Option<TaskFacts> {
        lock(&self.surplus).iter().find(|(of, _)| *of == key).map(|(_, facts)| facts.clone())
    }

    fn forget_surplus(&self, key: TaskKey) {
        lock(&self.surplus).retain(|(of, _)| *of != key);
    }
}

impl Shared {
    /// Takes one element of an answer: a task becomes a job. Returns what must wait until the answer has been read.
    pub(super) fn receive(
        self: &Arc<Self>,
        worker: u16,
        slots: &WorkerSlots,
        call: CallId,
        element: Element<'_>,
    ) -> Option<HubAction> {
        let (meta, facts, payload) = match element {
            Element::Task(task) => {
                let meta = task.meta();
                let until = meta.give_back_within.map(|within| {
                    unix_millis().saturating_add(i64::try_from(within.as_millis()).unwrap_or(i64::MAX))
                });
                (meta, TaskFacts { give_back_until_ms: until, ..facts(&task) }, payload(slots, &task))
            }
            Element::Bad { ids, misfit } => {
                let facts = TaskFacts {
                    task_id: ids.task.as_str().to_owned(),
                    workflow_id: ids.workflow.as_str().to_owned(),
                    task_type: slots.task.clone(),
                    polled_output: "{}".to_owned(),
                    ..TaskFacts::default()
                };
                let meta = TaskMeta::new(ids.key(), None);
                (meta, facts, Payload::Unfit(misfit.reason().as_str().to_owned()))
            }
            Element::Unreportable { misfit } => {
                count(&self.counts.unreportable);
                tracing::error!(worker = slots.task, cause = %misfit, "the server sent a task that cannot even be reported");
                return None;
            }
        };
        let input = Input::Leased { call, task: meta };
        self.lease(worker, input, |action| match action {
            Action::Run { entry, key } if key == meta.key => {
                slots.keep(HeldTask::new(entry, facts, payload));
                LeaseReply::Job
            }
            Action::GiveBack { key, .. } if key == meta.key => {
                let mut surplus = lock(&slots.surplus);
                if surplus.len() >= SURPLUS_MAX {
                    surplus.remove(0);
                }
                surplus.push((key, facts));
                LeaseReply::Later
            }
            Action::Adopt { entry, key } if key == meta.key => {
                self.adopt(slots, entry, facts);
                LeaseReply::Dropped
            }
            Action::Ignore { key } if key == meta.key => {
                tracing::debug!(task = facts.task_id, "a task was delivered again that is here already");
                LeaseReply::Dropped
            }
            Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Ask { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => LeaseReply::Job,
        })
    }
}

impl Shared {
    /// The run in an entry goes on for the server's retry of its task. Called while the hub is stepped.
    fn adopt(&self, slots: &WorkerSlots, entry: EntryId, facts: TaskFacts) {
        let Some(held) = slots.held(entry) else { return };
        let task = facts.task_id.clone();
        self.note_lease(slots, &held, &facts);
        let before = held.adopt(facts);
        count(&self.counts.adopted);
        self.measure(|metrics| metrics.add(Name::RetryAdopted, &[&slots.task], 1));
        tracing::info!(
            worker = slots.task,
            task,
            before = before.task_id,
            "the retry of a task whose lease had ended came while it still runs here; that run goes on for it"
        );
    }
}

fn facts(task: &TaskView<'_>) -> TaskFacts {
    TaskFacts {
        task_id: task.ids.task.as_str().to_owned(),
        workflow_id: task.ids.workflow.as_str().to_owned(),
        task_type: task.task_type.chars().collect(),
        retry_count: task.retry_count,
        poll_count: task.poll_count,
        polled_output: String::from_utf8_lossy(task.output).into_owned(),
        lease: task.response_timeout.unwrap_or_default(),
        give_back_until_ms: None,
    }
}

fn payload(slots: &WorkerSlots, task: &TaskView<'_>) -> Payload {
    let ours = slots.task.as_str();
    if !task.task_type.is_empty() && task.task_type != *ours && task.def_name != *ours {
        let theirs: String = task.task_type.chars().take(100).collect();
        return Payload::Unfit(format!("the server sent a task of type `{theirs}` to a worker for `{ours}`"));
    }
    match task.external_input {
        Some(path) => Payload::External(path.chars().collect()),
        None => Payload::Inline(task.input.to_vec()),
    }
}

pub(super) const fn success<T, E>(end: &Result<T, E>) -> &'static str {
    if end.is_ok() { "SUCCESS" } else { "FAILURE" }
}

pub(super) fn reply(meaning: &Result<Accepted, CallFailure>) -> Reply {
    match meaning {
        Ok(_) => DONE,
        Err(failure) => Err(failure.error),
    }
}

pub(super) const fn replied(worker: u16, call: CallId, reply: Reply) -> HubInput {
    HubInput::Worker { worker, input: Input::Replied { call, reply } }
}
