//! The calls to the server, one for each action that needs one.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Clock, Fault, HubAction, HubInput, Input, Instant, Reply, SlotId,
    TaskKey, TaskMeta,
};
use downbeat_core::ports::{Content, Method, Request};
use downbeat_core::wire::target;
use downbeat_core::wire::{self, Accepted, CallKind, Element, TaskView};

use super::answer::{AnswerSink, Trouble};
use super::crew::{DONE, Kept};
use super::held::{Held, Payload, encoded, give_back_body};
use super::perform::Performer;
use super::shared::{Shared, Side, count};
use crate::context::{Facts, lock};
use crate::event::EventKind;
use crate::metrics::Name;

/// How long the call for the token may take.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Tasks on their way back that are remembered; of more, the oldest is left to its lease.
const REFUSED_MAX: usize = 1_000;

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
    const fn uri(&self) -> &'static str {
        match self.kind {
            CallKind::Poll => "/tasks/poll/batch/{taskType}",
            CallKind::Update => target::UPDATE,
            CallKind::UpdateV2 => target::UPDATE_V2,
            CallKind::Token => target::TOKEN,
            CallKind::Other => "/tasks/externalstoragelocation",
        }
    }
}

impl Performer {
    /// Makes a call; tasks in its answer go to `take`. Answers what it means, and the body where it was no tasks.
    fn call(
        &mut self,
        call: &Call<'_>,
        take: &mut dyn FnMut(Element<'_>),
    ) -> (Result<Accepted, Trouble>, Vec<u8>) {
        let shared = &self.shared;
        let token = if call.kind == CallKind::Token { None } else { shared.token() };
        let request = Request {
            method: call.method,
            target: call.target,
            content: if call.method == Method::Get { Content::None } else { Content::Json },
            body: call.body,
            token: token.as_deref(),
        };
        let mut sink = AnswerSink::new(call.kind, shared.max_task, call.wanted, take);
        let sent = shared.clock.now();
        let exchange = self.transport.exchange(&request, call.deadline, &mut sink);
        let status = exchange.map_or(0, |head| head.status);
        let meaning = sink.conclude(exchange);
        let now = shared.clock.now();
        let took = sent.until(now);
        let cause = meaning.as_ref().err().map(tracing::field::display);
        tracing::trace!(method = call.method(), uri = call.uri(), status, ?took, cause, "call");
        shared.measure(|metrics| {
            metrics.time(Name::HttpRequest, &[call.method(), call.uri(), &status.to_string()], took);
        });
        match &meaning {
            Err(trouble) if trouble.is_of_link() => {
                shared.link.failed(now, "the runner", &trouble.to_string());
            }
            Ok(_) | Err(_) => shared.link.worked(now, "the runner"),
        }
        (meaning, sink.into_body())
    }

    /// A call that brings no tasks.
    pub(super) fn plain_call(&mut self, call: &Call<'_>) -> (Result<Accepted, Trouble>, Vec<u8>) {
        self.call(call, &mut |_| {})
    }

    pub(super) fn poll(&mut self, worker: u16, side: &Side, call: CallId, wanted: u16, wait: Duration) {
        let shared = Arc::clone(&self.shared);
        let sent = shared.clock.now();
        shared
            .emit(side, || EventKind::PollStarted { worker_id: side.worker_id.clone(), poll_count: wanted });
        let mut put_off = Vec::new();
        let mut received = 0;
        let meaning = match side.poll_target(wanted, wait) {
            Ok(target) => {
                let deadline = sent.after(side.call_timeout).after(wait);
                let poll = Call::get(CallKind::Poll, &target, wanted, deadline);
                let mut take = |element: Element<'_>| {
                    received += 1;
                    put_off.extend(shared.receive(worker, side, call, element));
                };
                self.call(&poll, &mut take).0
            }
            // Names are checked before the start.
            Err(_) => Err(Trouble::said(Fault::Rejected, "the poll's target cannot be made")),
        };
        let now = shared.clock.now();
        let duration = sent.until(now);
        shared.measure(|metrics| {
            metrics.add(Name::Poll, &[&side.task], 1);
            metrics.time(Name::PollTime, &[&side.task, success(&meaning)], duration);
            if let Err(trouble) = &meaning {
                metrics.add(Name::PollError, &[&side.task, &trouble.code()], 1);
            }
        });
        match &meaning {
            Ok(_) => {
                side.polls.worked(now, &side.task);
                shared.emit(side, || EventKind::PollCompleted { duration, tasks_received: received });
            }
            Err(trouble) => {
                if !trouble.is_of_link() {
                    side.polls.failed(now, &side.task, &trouble.to_string());
                }
                shared.emit(side, || EventKind::PollFailure { duration, cause: trouble.to_string() });
            }
        }
        shared.tell_after(put_off, replied(worker, call, reply(&meaning)));
    }

    pub(super) fn update(
        &mut self,
        worker: u16,
        side: &Side,
        call: CallId,
        slot: SlotId,
        attempt: u16,
        take_next: bool,
    ) {
        let shared = Arc::clone(&self.shared);
        let Some((held, report)) = side.held(slot).and_then(|held| Some((Arc::clone(&held), held.report()?)))
        else {
            // A slot without a payload cannot be reported; that would be a mistake of the runner's.
            return shared.tell(replied(worker, call, Err(CallError::new(Fault::Rejected))));
        };
        held.attempt(attempt);
        let sent = shared.clock.now();
        let deadline = sent.after(side.call_timeout);
        let (kind, target) = if take_next {
            (CallKind::UpdateV2, target::UPDATE_V2)
        } else {
            (CallKind::Update, target::UPDATE)
        };
        let mut put_off = Vec::new();
        let mut take = |element: Element<'_>| put_off.extend(shared.receive(worker, side, call, element));
        let (meaning, _) = self.call(&Call::post(kind, target, &report.body, deadline), &mut take);
        let now = shared.clock.now();
        shared.measure(|metrics| {
            metrics.time(Name::UpdateTime, &[&side.task, success(&meaning)], sent.until(now));
            if let Err(trouble) = &meaning {
                metrics.add(Name::UpdateError, &[&side.task, &trouble.code()], 1);
            }
        });
        match &meaning {
            Ok(_) => {
                side.updates.worked(now, &side.task);
                shared.counts.accepted(report.kind);
                side.release(slot);
            }
            Err(trouble) if trouble.is_of_link() || trouble.error.fault == Fault::Unsupported => {}
            Err(trouble) => side.updates.failed(now, &side.task, &trouble.to_string()),
        }
        shared.tell_after(put_off, replied(worker, call, reply(&meaning)));
    }

    pub(super) fn extend(&mut self, worker: u16, side: &Side, call: CallId, slot: SlotId) {
        let shared = Arc::clone(&self.shared);
        let Some(held) = side.held(slot) else {
            return shared.tell(replied(worker, call, Err(CallError::new(Fault::Rejected))));
        };
        let body = encoded(|out| wire::encode_extend(&held.facts.task_id, &held.facts.workflow_id, out));
        let deadline = shared.clock.now().after(side.call_timeout);
        let (meaning, _) = self.plain_call(&Call::post(CallKind::Update, target::UPDATE, &body, deadline));
        if let Err(trouble) = &meaning {
            shared.measure(|metrics| {
                metrics.add(Name::ExtensionError, &[&side.task, &trouble.code()], 1);
            });
            tracing::warn!(task = held.facts.task_id, cause = %trouble, "a lease could not be extended");
        }
        shared.tell(replied(worker, call, reply(&meaning)));
    }

    pub(super) fn refuse(&mut self, worker: u16, side: &Side, call: CallId, key: TaskKey) {
        let shared = Arc::clone(&self.shared);
        let facts = side.refused(key);
        let meaning = match &facts {
            Some(facts) => {
                let body = give_back_body(facts, &side.worker_id);
                let deadline = shared.clock.now().after(side.call_timeout);
                self.plain_call(&Call::post(CallKind::Update, target::UPDATE, &body, deadline)).0
            }
            None => Err(Trouble::said(Fault::Rejected, "a task to be given back is not known any more")),
        };
        match &meaning {
            Ok(_) => count(&shared.counts.given_back),
            Err(trouble) => tracing::warn!(task = facts.map(|facts| facts.task_id), cause = %trouble,
                "a surplus task could not be given back; its lease has to end"),
        }
        // The machine repeats it only where nothing was sent.
        if !matches!(&meaning, Err(trouble) if trouble.error.fault == Fault::NotSent) {
            side.forget_refused(key);
        }
        shared.tell(replied(worker, call, reply(&meaning)));
    }

    pub(super) fn refresh(&mut self, call: CallId) {
        let shared = Arc::clone(&self.shared);
        let Some(credentials) = &shared.credentials else {
            return shared.tell(HubInput::Refreshed { call, reply: Ok(Answer::NoAuth) });
        };
        let body = encoded(|out| wire::encode_token_request(&credentials.key, &credentials.secret, out));
        let deadline = shared.clock.now().after(TOKEN_TIMEOUT);
        let (meaning, answer) = self.plain_call(&Call::post(CallKind::Token, target::TOKEN, &body, deadline));
        let now = shared.clock.now();
        let outcome = meaning.and_then(|accepted| match accepted {
            Accepted::NoAuth => Ok((Answer::NoAuth, None)),
            Accepted::Body | Accepted::Empty => match wire::read_token(&answer) {
                Ok(token) => {
                    let token: String = token.chars().collect();
                    Ok((Answer::Token { valid_for: None }, Some(Arc::from(token))))
                }
                Err(_) => {
                    Err(Trouble::said(Fault::Unknown, "the answer to the token request has no token in it"))
                }
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
            Err(trouble) if trouble.is_of_link() => {}
            Err(trouble) => shared.auth.failed(now, "the runner", &trouble.to_string()),
        }
        let reply = outcome.map(|(answer, _)| answer).map_err(|trouble| trouble.error);
        shared.tell(HubInput::Refreshed { call, reply });
    }
}

impl Side {
    /// Path and query of a poll.
    pub(super) fn poll_target(&self, wanted: u16, wait: Duration) -> Result<String, target::TargetError> {
        let target = target::poll::<2048>(&self.task, &self.worker_id, wanted, wait, self.domain.as_deref())?;
        Ok(target.as_str().to_owned())
    }

    fn refused(&self, key: TaskKey) -> Option<Facts> {
        lock(&self.refused).iter().find(|(of, _)| *of == key).map(|(_, facts)| facts.clone())
    }

    fn forget_refused(&self, key: TaskKey) {
        lock(&self.refused).retain(|(of, _)| *of != key);
    }
}

impl Shared {
    /// Takes one element of an answer: a task becomes a job. Answers what must wait until the answer has been read.
    fn receive(
        self: &Arc<Self>,
        worker: u16,
        side: &Side,
        call: CallId,
        element: Element<'_>,
    ) -> Option<HubAction> {
        let (meta, facts, payload) = match element {
            Element::Task(task) => (task.meta(), facts(&task), payload(side, &task)),
            Element::Bad { ids, misfit } => {
                let facts = Facts {
                    task_id: ids.task.as_str().to_owned(),
                    workflow_id: ids.workflow.as_str().to_owned(),
                    task_type: side.task.clone(),
                    polled_output: "{}".to_owned(),
                    ..Facts::default()
                };
                let meta = TaskMeta { key: ids.key(), response_timeout: None };
                (meta, facts, Payload::Unfit(misfit.reason().as_str().to_owned()))
            }
            Element::Unreportable { misfit } => {
                count(&self.counts.unreportable);
                tracing::error!(worker = side.task, cause = %misfit, "the server sent a task that cannot even be reported");
                return None;
            }
        };
        let input = Input::Leased { call, task: meta };
        self.lease(worker, input, |action| match action {
            Action::Run { slot, key } if key == meta.key => {
                side.keep(Held::new(slot, facts, payload));
                Kept::Job
            }
            Action::Refuse { key, .. } if key == meta.key => {
                let mut refused = lock(&side.refused);
                if refused.len() >= REFUSED_MAX {
                    refused.remove(0);
                }
                refused.push((key, facts));
                Kept::Later
            }
            Action::Ignore { key } if key == meta.key => {
                tracing::debug!(task = facts.task_id, "a task was delivered again that is here already");
                Kept::Dropped
            }
            Action::Run { .. }
            | Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Kept::Job,
        })
    }
}

fn facts(task: &TaskView<'_>) -> Facts {
    Facts {
        task_id: task.ids.task.as_str().to_owned(),
        workflow_id: task.ids.workflow.as_str().to_owned(),
        task_type: task.task_type.chars().collect(),
        retry_count: task.retry_count,
        poll_count: task.poll_count,
        polled_output: String::from_utf8_lossy(task.output).into_owned(),
    }
}

fn payload(side: &Side, task: &TaskView<'_>) -> Payload {
    let ours = side.task.as_str();
    if !task.task_type.is_empty() && task.task_type != *ours && task.def_name != *ours {
        let theirs: String = task.task_type.chars().take(100).collect();
        return Payload::Unfit(format!("the server sent a task of type `{theirs}` to a worker for `{ours}`"));
    }
    match task.external_input {
        Some(path) => Payload::External(path.chars().collect()),
        None => Payload::Inline(task.input.to_vec()),
    }
}

const fn success<T, E>(end: &Result<T, E>) -> &'static str {
    if end.is_ok() { "SUCCESS" } else { "FAILURE" }
}

fn reply(meaning: &Result<Accepted, Trouble>) -> Reply {
    match meaning {
        Ok(_) => DONE,
        Err(trouble) => Err(trouble.error),
    }
}

const fn replied(worker: u16, call: CallId, reply: Reply) -> HubInput {
    HubInput::Worker { worker, input: Input::Replied { call, reply } }
}
