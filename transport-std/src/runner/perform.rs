//! Performs one job after the other: calls, the user's code, the store.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{
    Action, CallError, CallId, Clock, EntryId, Fault, HubAction, HubInput, Input, Instead, Loss, RecallReason,
};

use super::counts::count;
use super::held_task::{HeldTask, Payload, Report};
use super::performer::Performer;
use super::report::{Sending, Small, given_up, update_failed};
use super::shared::Shared;
use super::slots::WorkerSlots;
use super::thread::DONE;
use crate::context::{CancelReason, Context, TaskFacts, lock};
use crate::event::EventKind;
use crate::handler::{EndStatus, Ending};
use crate::metrics::{Metrics, Name};

/// How long a recalled task may take to end by itself before it is given back.
const RECALL_GRACE: Duration = Duration::from_secs(1);

impl Performer {
    pub(crate) fn perform(&mut self, job: HubAction) {
        let shared = Arc::clone(&self.shared);
        let (worker, action) = match job {
            HubAction::Worker { worker, action } => (worker, action),
            HubAction::Refresh { call } => return self.refresh(call),
            HubAction::Wait { .. } | HubAction::Stopped => return,
        };
        let Some(slots) = shared.slots(worker) else { return };
        match action {
            Action::Run { entry, .. } => self.run(worker, slots, entry),
            Action::Poll { call, count, wait } => self.poll(worker, slots, call, count, wait),
            Action::Update { call, entry, attempt, take_next, instead } => {
                self.update(worker, slots, Sending { call, entry, attempt, take_next, instead });
            }
            Action::Extend { call, entry } => self.extend(worker, slots, call, entry),
            Action::Ask { call, entry } => self.ask(worker, slots, call, entry),
            Action::GiveBack { call, key } => self.give_back(worker, slots, call, key),
            Action::Recall { entry, why } => self.recall(worker, slots, entry, why),
            Action::Lapsed { entry } => {
                if let Some(held) = slots.held(entry) {
                    self.lapsed(slots, &held);
                }
            }
            Action::Spill { call, entry, instead } => self.spill(worker, slots, call, (entry, instead)),
            Action::Discard { entry, why } => self.discard(slots, entry, why),
            Action::Adopt { .. }
            | Action::Ignore { .. }
            | Action::Refresh { .. }
            | Action::Wait { .. }
            | Action::Stopped => {}
        }
    }

    // ---------------------------------------------------------------- the user's code

    fn run(&mut self, worker: u16, slots: &WorkerSlots, entry: EntryId) {
        let Some(held) = slots.held(entry) else { return };
        let shared = Arc::clone(&self.shared);
        let started = shared.clock.now();
        count(&shared.counts.tasks);
        let all_busy = slots.running.fetch_add(1, Ordering::Relaxed) + 1 >= slots.concurrency;
        let facts = held.facts();
        shared.emit(slots, || EventKind::TaskExecutionStarted {
            task_id: facts.task_id.clone(),
            workflow_instance_id: facts.workflow_id.clone(),
            worker_id: slots.worker_id.clone(),
        });
        shared.measure(|metrics| {
            metrics.add(Name::ExecutionStarted, &[&slots.task], 1);
            metrics.add(Name::ActiveWorkers, &[&slots.task], 1);
            if all_busy {
                metrics.add(Name::QueueFull, &[&slots.task], 1);
            }
        });
        shared.note_lease(slots, &held, &facts);
        let context = Context::new(facts, Arc::clone(&held.recall), shared.note_process.clone());
        let payload = lock(&held.input).take();
        let ending = match payload {
            Some(Payload::Inline(input)) => slots.handler.call(&input, &context),
            Some(Payload::External(path)) => match self.fetch_input(&slots.task, &path) {
                Ok(input) => slots.handler.call(&input, &context),
                Err(ending) => ending,
            },
            Some(Payload::Unfit(reason)) => Ending::failed(reason),
            None => Ending::failed("the task was started twice"),
        };
        slots.running.fetch_sub(1, Ordering::Relaxed);
        let finished = shared.clock.now();
        let duration = finished.saturating_duration_since(started);
        let facts = held.facts();
        let task = facts.task_id.as_str();
        tracing::debug!(worker = slots.task, task, status = word(&ending.status), took = ?duration, "task ended");
        if matches!(ending.status, EndStatus::Failed(_) | EndStatus::Terminal(_))
            && !slots.has_failed.swap(true, Ordering::Relaxed)
        {
            // Once: a service may fail tasks as a matter of course. What the reason says may be of the input.
            tracing::warn!(
                worker = slots.task,
                task,
                status = word(&ending.status),
                "the first task failed; the server has the reason, and the log has each task at `debug`"
            );
        }
        shared.measure(|metrics| measure_end(metrics, slots, &ending, duration));
        shared.emit(slots, || execution_ended(slots, &facts, &ending, duration));
        let log = context.take_log();
        let report = |facts: &TaskFacts| Report::from_ending(facts, &slots.worker_id, &ending, &log);
        if !shared.finish(worker, &held, report) {
            tracing::warn!(task, "a task ended after it was given back; its result is dropped");
        }
    }

    fn recall(&self, worker: u16, slots: &WorkerSlots, entry: EntryId, why: RecallReason) {
        let shared = &self.shared;
        let Some(held) = slots.held(entry) else { return };
        let reason = match why {
            RecallReason::Drain => CancelReason::Draining,
            RecallReason::Cancelled => CancelReason::WorkflowEnded,
            RecallReason::Lapsed => CancelReason::LeaseLapsed,
        };
        // It is counted before the code can end, and its entry with it.
        match why {
            RecallReason::Drain => {}
            RecallReason::Cancelled => shared.cancelled(slots, &held, "WorkflowEnded"),
            RecallReason::Lapsed => {
                self.lapsed(slots, &held);
                shared.cancelled(slots, &held, "LeaseLapsed");
            }
        }
        held.recall.cancel(reason);
        if why == RecallReason::Drain {
            self.end_or_give_back(worker, held);
        }
    }

    /// By the worker's own clock the server has ended this task: that is said once for all that lapse together.
    fn lapsed(&self, slots: &WorkerSlots, held: &HeldTask) {
        let shared = &self.shared;
        let facts = held.facts();
        held.lapsed.store(true, Ordering::Release);
        count(&shared.counts.lapsed);
        shared.measure(|metrics| metrics.add(Name::LeaseLapsed, &[&slots.task], 1));
        let said = format!("task {} was not extended within {:?}", facts.task_id, facts.lease);
        slots.lapses.failed_once(shared.clock.now(), &slots.task, &said);
        tracing::debug!(worker = slots.task, task = facts.task_id, "the task's lease is over");
    }

    /// Waits for a recalled task to end by itself, and gives it back where it does not in time.
    fn end_or_give_back(&self, worker: u16, held: Arc<HeldTask>) {
        let shared = &self.shared;
        let mut recalled = lock(&shared.recalled);
        let first = recalled.is_empty();
        recalled.push((worker, held));
        if !first {
            return;
        }
        // The first of them waits for all: until they have ended by themselves, or the grace is over.
        let until = shared.clock.now().saturating_add(RECALL_GRACE);
        loop {
            recalled.retain(|(_, held)| held.report().is_none());
            let left = until.saturating_duration_since(shared.clock.now());
            if recalled.is_empty() || left.is_zero() {
                break;
            }
            recalled =
                shared.recalled_ended.wait_timeout(recalled, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let late = std::mem::take(&mut *recalled);
        drop(recalled);
        for (worker, held) in late {
            let Some(slots) = shared.slots(worker) else { continue };
            let report = |facts: &TaskFacts| Report::give_back(facts, &slots.worker_id);
            if shared.finish(worker, &held, report) {
                tracing::info!(task = held.facts().task_id, "a running task is given back to the server");
            }
        }
    }

    // ---------------------------------------------------------------- the store

    /// Hands a result to the store, or the report that takes its place: then the result itself is a dead letter.
    fn spill(
        &self,
        worker: u16,
        slots: &WorkerSlots,
        call: CallId,
        (entry, instead): (EntryId, Option<Instead>),
    ) {
        let shared = &self.shared;
        let reply = match (slots.held(entry).and_then(|held| Some((held.report()?, held))), &shared.store) {
            (Some((report, held)), Some(store)) => {
                let small = instead.map(|why| Small::new(slots, &held, &report, why));
                if let Some(small) = &small {
                    // First: it is the task's result, and the store holds one of each.
                    shared.bury_once(slots, &held, &report, small);
                }
                let body = small.as_ref().map_or(&report.body, |small| &small.report.body);
                match store.keep(&held.facts().task_id, body, shared.is_aborted(worker)) {
                    Ok(()) => {
                        shared.keeps.worked(shared.clock.now(), "the store");
                        count(&shared.counts.stored);
                        shared.measure(|metrics| metrics.add(Name::ResultStored, &[&slots.task], 1));
                        shared.measure_store();
                        if let Some(small) = &small {
                            shared.replaced(slots, &held, &report, small);
                        } else {
                            let what = "the result is kept in the store";
                            shared.emit(slots, || update_failed(slots, &held, &report, what));
                        }
                        shared.settle(slots, &held, false);
                        slots.release(entry);
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

    fn discard(&self, slots: &WorkerSlots, entry: EntryId, why: Loss) {
        let shared = &self.shared;
        let Some(held) = slots.take_discarded(entry) else { return };
        shared.settle(slots, &held, false);
        let Some(report) = held.report() else { return };
        let facts = held.facts();
        let (worker, task) = (slots.task.as_str(), facts.task_id.as_str());
        let buries = matches!(why, Loss::Rejected | Loss::Refused) && report.is_result();
        // What is aborted is given back, or sent, at the next start.
        if !buries && why != Loss::Aborted {
            shared.forget(&held);
        }
        let what = match why {
            Loss::Rejected => "the server will never take this result",
            Loss::Refused => {
                "the server refused this result, and the report that the task failed, again and again"
            }
            Loss::Aborted if shared.store.is_some() => {
                "aborted before the server took the result, and it could not be stored"
            }
            Loss::Aborted => "aborted before the server took the result, and there is no store",
            Loss::UnsafeYield => {
                "the progress may have been taken; to repeat it could disturb the task's next run"
            }
            Loss::GaveUp => "four tries failed",
            Loss::Ended => {
                if !held.recall.reason().is_some_and(|reason| reason != CancelReason::Draining) {
                    shared.cancelled(slots, &held, "WorkflowEnded");
                }
                tracing::debug!(worker, task, "the server has ended the task; its result is nobody's");
                return;
            }
        };
        if why == Loss::Aborted && !report.is_result() && shared.notes().is_some() {
            tracing::info!(
                worker,
                task,
                "aborted before the server took the task back; the next start sees to it"
            );
            return;
        }
        // A yield is no result (S2): the server delivers its task again.
        if why == Loss::UnsafeYield {
            tracing::warn!(worker, task, "{what}");
        } else {
            count(&shared.counts.given_up);
            shared.measure(|metrics| metrics.add(Name::ResultGivenUp, &[&slots.task, given_up(why)], 1));
            if buries {
                shared.bury(slots, &held, &report, what);
            } else {
                tracing::error!(worker, task, "{what}");
            }
        }
        shared.emit(slots, || update_failed(slots, &held, &report, what));
    }
}

impl Shared {
    /// Nobody waits for a run, or for its result, any more: that is no failure of anybody's.
    fn cancelled(&self, slots: &WorkerSlots, held: &HeldTask, reason: &str) {
        count(&self.counts.cancelled);
        self.measure(|metrics| metrics.add(Name::RunCancelled, &[&slots.task, reason], 1));
        let facts = held.facts();
        tracing::info!(
            worker = slots.task,
            task = facts.task_id,
            reason,
            "nobody waits for this task any more; its run is stopped, and nothing is reported"
        );
    }
}

/// What the server calls it.
const fn word(status: &EndStatus) -> &'static str {
    match status {
        EndStatus::Completed => "COMPLETED",
        EndStatus::Failed(_) => "FAILED",
        EndStatus::Terminal(_) => "FAILED_WITH_TERMINAL_ERROR",
        EndStatus::InProgress(_) | EndStatus::GivenBack => "IN_PROGRESS",
    }
}

fn measure_end(metrics: &Metrics, slots: &WorkerSlots, ending: &Ending, duration: Duration) {
    let task = slots.task.as_str();
    let exception = match ending.status {
        EndStatus::Completed | EndStatus::InProgress(_) | EndStatus::GivenBack => None,
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

fn execution_ended(slots: &WorkerSlots, facts: &TaskFacts, ending: &Ending, duration: Duration) -> EventKind {
    let task_id = facts.task_id.clone();
    let workflow_instance_id = facts.workflow_id.clone();
    let worker_id = slots.worker_id.clone();
    let (cause, is_retryable) = match &ending.status {
        EndStatus::Completed | EndStatus::InProgress(_) | EndStatus::GivenBack => {
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
