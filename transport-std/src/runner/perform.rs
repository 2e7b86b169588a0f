//! Performs one job after the other: calls, the user's code, the store.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{
    Action, CallError, CallId, Clock, Fault, HubAction, HubInput, Input, Loss, SlotId,
};
use downbeat_core::ports::Transport;

use super::crew::DONE;
use super::held::{Held, Payload, Report};
use super::shared::{Shared, Side, count};
use crate::context::{Context, Facts, lock};
use crate::event::EventKind;
use crate::handler::{EndStatus, Ending};
use crate::metrics::{Metrics, Name};

/// How long a recalled task may take to end by itself before it is given back.
const RECALL_GRACE: Duration = Duration::from_secs(1);

/// A thread's means: what it shares with all, and its own transport.
pub(crate) struct Performer {
    pub(super) shared: Arc<Shared>,
    pub(super) transport: Box<dyn Transport + Send>,
}

impl Performer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let transport = (shared.transports)();
        Self { shared, transport }
    }

    pub(crate) fn perform(&mut self, job: HubAction) {
        let shared = Arc::clone(&self.shared);
        let (worker, action) = match job {
            HubAction::Worker { worker, action } => (worker, action),
            HubAction::Refresh { call } => return self.refresh(call),
            HubAction::Wait { .. } | HubAction::Stopped => return,
        };
        let Some(side) = shared.side(worker) else { return };
        match action {
            Action::Run { slot, .. } => self.run(worker, side, slot),
            Action::Poll { call, count, wait } => self.poll(worker, side, call, count, wait),
            Action::Update { call, slot, attempt, take_next } => {
                self.update(worker, side, call, slot, attempt, take_next);
            }
            Action::Extend { call, slot } => self.extend(worker, side, call, slot),
            Action::Refuse { call, key } => self.refuse(worker, side, call, key),
            Action::Recall { slot } => self.recall(worker, side, slot),
            Action::Spill { call, slot } => self.spill(worker, side, call, slot),
            Action::Discard { slot, why } => self.discard(side, slot, why),
            Action::Ignore { .. } | Action::Refresh { .. } | Action::Wait { .. } | Action::Stopped => {}
        }
    }

    // ---------------------------------------------------------------- the user's code

    fn run(&mut self, worker: u16, side: &Side, slot: SlotId) {
        let Some(held) = side.held(slot) else { return };
        let shared = Arc::clone(&self.shared);
        let started = shared.clock.now();
        count(&shared.counts.tasks);
        let all_busy = side.running.fetch_add(1, Ordering::Relaxed) + 1 >= side.concurrency;
        shared.emit(side, || EventKind::TaskExecutionStarted {
            task_id: held.facts.task_id.clone(),
            workflow_instance_id: held.facts.workflow_id.clone(),
            worker_id: side.worker_id.clone(),
        });
        shared.measure(|metrics| {
            metrics.add(Name::ExecutionStarted, &[&side.task], 1);
            metrics.add(Name::ActiveWorkers, &[&side.task], 1);
            if all_busy {
                metrics.add(Name::QueueFull, &[&side.task], 1);
            }
        });
        let context = Context::new(held.facts.clone(), Arc::clone(&held.recall));
        let payload = lock(&held.input).take();
        let ending = match payload {
            Some(Payload::Inline(input)) => side.handler.call(&input, &context),
            Some(Payload::External(path)) => match self.fetch_input(&side.task, &path) {
                Ok(input) => side.handler.call(&input, &context),
                Err(ending) => ending,
            },
            Some(Payload::Unfit(reason)) => Ending::failed(reason),
            None => Ending::failed("the task was started twice"),
        };
        side.running.fetch_sub(1, Ordering::Relaxed);
        let finished = shared.clock.now();
        let duration = started.until(finished);
        let task = held.facts.task_id.as_str();
        tracing::debug!(worker = side.task, task, status = word(&ending.status), took = ?duration, "task ended");
        if matches!(ending.status, EndStatus::Failed(_) | EndStatus::Terminal(_))
            && !side.has_failed.swap(true, Ordering::Relaxed)
        {
            // Once: a service may fail tasks as a matter of course. What the reason says may be of the input.
            tracing::warn!(
                worker = side.task,
                task,
                status = word(&ending.status),
                "the first task failed; the server has the reason, and the log has each task at `debug`"
            );
        }
        shared.measure(|metrics| measure_end(metrics, side, &ending, duration));
        shared.emit(side, || execution_ended(side, &held.facts, &ending, duration));
        let report = Report::of_ending(&held.facts, &side.worker_id, &ending, &context.take_log());
        if !shared.finish(worker, &held, report) {
            tracing::warn!(task, "a task ended after it was given back; its result is dropped");
        }
    }

    fn recall(&self, worker: u16, side: &Side, slot: SlotId) {
        let shared = &self.shared;
        let Some(held) = side.held(slot) else { return };
        held.recall.cancel();
        let mut recalled = lock(&shared.recalled);
        let first = recalled.is_empty();
        recalled.push((worker, held));
        if !first {
            return;
        }
        // The first of them waits for all: until they have ended by themselves, or the grace is over.
        let until = shared.clock.now().after(RECALL_GRACE);
        loop {
            recalled.retain(|(_, held)| held.report().is_none());
            let left = shared.clock.now().until(until);
            if recalled.is_empty() || left.is_zero() {
                break;
            }
            recalled =
                shared.recalled_ended.wait_timeout(recalled, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let late = std::mem::take(&mut *recalled);
        drop(recalled);
        for (worker, held) in late {
            let Some(side) = shared.side(worker) else { continue };
            let report = Report::of_give_back(&held.facts, &side.worker_id);
            if shared.finish(worker, &held, report) {
                tracing::info!(task = held.facts.task_id, "a running task is given back to the server");
            }
        }
    }

    // ---------------------------------------------------------------- the store

    fn spill(&self, worker: u16, side: &Side, call: CallId, slot: SlotId) {
        let shared = &self.shared;
        let reply = match (side.held(slot).and_then(|held| Some((held.report()?, held))), &shared.store) {
            (Some((report, held)), Some(store)) => {
                match store.keep(&report.body, shared.is_aborted(worker)) {
                    Ok(()) => {
                        shared.keeps.worked(shared.clock.now(), "the store");
                        count(&shared.counts.stored);
                        shared.measure(|metrics| metrics.add(Name::ResultStored, &[&side.task], 1));
                        shared.measure_store();
                        shared.emit(side, || {
                            update_failed(side, &held, &report, "the result is kept in the store")
                        });
                        side.release(slot);
                        DONE
                    }
                    Err(cause) => {
                        shared.keeps.failed(shared.clock.now(), "the store", &store.said(&cause));
                        Err(CallError::new(Fault::Unknown))
                    }
                }
            }
            (_, _) => Err(CallError::new(Fault::Unknown)),
        };
        shared.tell(HubInput::Worker { worker, input: Input::Replied { call, reply } });
    }

    fn discard(&self, side: &Side, slot: SlotId, why: Loss) {
        let shared = &self.shared;
        let Some(held) = side.held(slot) else { return };
        side.release(slot);
        let Some(report) = held.report() else { return };
        let what = match why {
            Loss::Rejected => "the server will never take this result",
            Loss::Aborted => "aborted before the server took the result, and there is no store",
            Loss::UnsafeYield => {
                "the progress may have been taken; to repeat it could disturb the task's next run"
            }
            Loss::GaveUp => "four tries failed",
        };
        // A yield is no result (S2): the server delivers its task again.
        if why != Loss::UnsafeYield {
            count(&shared.counts.given_up);
            shared.measure(|metrics| metrics.add(Name::ResultGivenUp, &[&side.task, given_up(why)], 1));
        }
        let id = &held.facts.task_id;
        match (&shared.store, why) {
            (Some(store), Loss::Rejected) => match store.bury(&report.body) {
                Ok(path) => {
                    shared.measure_store();
                    tracing::error!(task = id, dead_letter = %path.display(), "{what}; it is kept");
                }
                Err(cause) => {
                    let cause = store.said(&cause);
                    tracing::error!(
                        task = id,
                        cause,
                        "{what}, nor could it be stored: it is in the event alone"
                    );
                }
            },
            (_, Loss::UnsafeYield) => tracing::warn!(task = id, "{what}"),
            (_, Loss::Rejected | Loss::Aborted | Loss::GaveUp) => tracing::error!(task = id, "{what}"),
        }
        shared.emit(side, || update_failed(side, &held, &report, what));
    }
}

/// A metric's label.
const fn given_up(why: Loss) -> &'static str {
    match why {
        Loss::Rejected => "Rejected",
        Loss::Aborted => "Aborted",
        Loss::UnsafeYield => "UnsafeYield",
        Loss::GaveUp => "GaveUp",
    }
}

/// What the server calls it.
const fn word(status: &EndStatus) -> &'static str {
    match status {
        EndStatus::Completed => "COMPLETED",
        EndStatus::Failed(_) => "FAILED",
        EndStatus::Terminal(_) => "FAILED_WITH_TERMINAL_ERROR",
        EndStatus::InProgress(_) => "IN_PROGRESS",
    }
}

fn measure_end(metrics: &Metrics, side: &Side, ending: &Ending, duration: Duration) {
    let task = side.task.as_str();
    let exception = match ending.status {
        EndStatus::Completed | EndStatus::InProgress(_) => None,
        EndStatus::Failed(_) => Some("Retryable"),
        EndStatus::Terminal(_) => Some("Terminal"),
    };
    let status = if exception.is_some() { "FAILURE" } else { "SUCCESS" };
    metrics.add(Name::ActiveWorkers, &[task], -1);
    metrics.time(Name::ExecuteTime, &[task, status], duration);
    match exception {
        Some(exception) => metrics.add(Name::ExecuteError, &[task, exception], 1),
        None => {
            let bytes = u32::try_from(ending.output.len()).unwrap_or(u32::MAX);
            metrics.observe(Name::ResultSize, &[task], f64::from(bytes));
        }
    }
}

fn execution_ended(side: &Side, facts: &Facts, ending: &Ending, duration: Duration) -> EventKind {
    let task_id = facts.task_id.clone();
    let workflow_instance_id = facts.workflow_id.clone();
    let worker_id = side.worker_id.clone();
    let (cause, is_retryable) = match &ending.status {
        EndStatus::Completed | EndStatus::InProgress(_) => {
            let output_size_bytes = ending.output.len();
            return EventKind::TaskExecutionCompleted {
                task_id,
                workflow_instance_id,
                worker_id,
                duration,
                output_size_bytes,
            };
        }
        EndStatus::Failed(reason) => (reason.clone(), true),
        EndStatus::Terminal(reason) => (reason.clone(), false),
    };
    EventKind::TaskExecutionFailure {
        task_id,
        workflow_instance_id,
        worker_id,
        duration,
        cause,
        is_retryable,
    }
}

fn update_failed(side: &Side, held: &Held, report: &Report, cause: &str) -> EventKind {
    EventKind::TaskUpdateFailure {
        task_id: held.facts.task_id.clone(),
        workflow_instance_id: held.facts.workflow_id.clone(),
        worker_id: side.worker_id.clone(),
        cause: cause.to_owned(),
        retry_count: held.attempts(),
        task_result: String::from_utf8_lossy(&report.body).into_owned(),
    }
}
