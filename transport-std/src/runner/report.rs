//! Reports what became of a task, and what follows from the server's answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use downbeat_core::machine::{Action, CallError, CallId, Clock as _, EntryId, Fault, Instead, Loss};
use downbeat_core::wire::{CallKind, Element, target};

use super::answer::CallFailure;
use super::calls::{Call, replied, reply, success};
use super::counts::count;
use super::held_task::{HeldTask, Refusal, Report, ReportKind, reason_instead};
use super::performer::Performer;
use super::shared::Shared;
use super::slots::WorkerSlots;
use crate::event::EventKind;
use crate::metrics::Name;

/// One report that is to be sent.
#[derive(Clone, Copy)]
pub(super) struct Sending {
    pub(super) call: CallId,
    pub(super) entry: EntryId,
    /// How many failed before it.
    pub(super) attempt: u16,
    pub(super) take_next: bool,
    /// Why it says that the task failed, in the outcome's place.
    pub(super) instead: Option<Instead>,
}

impl Sending {
    fn action(self) -> Action {
        let Self { call, entry, attempt, take_next, instead } = self;
        Action::Update { call, entry, attempt, take_next, instead }
    }
}

/// A small report that the task failed, in place of its outcome.
pub(super) struct Small {
    pub(super) report: Report,
    why: Instead,
    reason: String,
}

impl Small {
    pub(super) fn new(slots: &WorkerSlots, held: &HeldTask, report: &Report, why: Instead) -> Self {
        let most = slots.largest_taken.load(Ordering::Relaxed);
        let reason = reason_instead(why, report, held.refusal(), most, held.attempts());
        Self { report: report.replaced(&held.facts(), &slots.worker_id, why, &reason), why, reason }
    }
}

impl Performer {
    pub(super) fn update(&mut self, worker: u16, slots: &WorkerSlots, sending: Sending) {
        let shared = Arc::clone(&self.shared);
        let Sending { call, entry, attempt, take_next, instead } = sending;
        let Some((held, report)) =
            slots.held(entry).and_then(|held| Some((Arc::clone(&held), held.report()?)))
        else {
            // An entry without a payload cannot be reported; that would be a mistake of the runner's.
            return shared.tell(replied(worker, call, Err(CallError::new(Fault::Rejected))));
        };
        held.attempt(attempt);
        let small = instead.map(|why| Small::new(slots, &held, &report, why));
        if !report.is_result() && small.is_none() && !shared.note_yield(&held.facts()) {
            // As if the server had asked to be left alone: it is tried again later, and had no effect.
            return shared.tell(replied(worker, call, Err(CallError::new(Fault::Throttled))));
        }
        let sent = shared.clock.now();
        let deadline = sent.saturating_add(slots.policy.time_limit(&sending.action(), !report.is_result()));
        let (kind, target) = if take_next {
            (CallKind::UpdateV2, target::UPDATE_V2)
        } else {
            (CallKind::Update, target::UPDATE)
        };
        let body = small.as_ref().map_or(&report.body, |small| &small.report.body);
        let mut put_off = Vec::new();
        let mut take = |element: Element<'_>| put_off.extend(shared.receive(worker, slots, call, element));
        let (meaning, answer) = self.call(&Call::post(kind, target, body, deadline), &mut take);
        let now = shared.clock.now();
        shared.measure(|metrics| {
            metrics.time(
                Name::UpdateTime,
                &[&slots.task, success(&meaning)],
                now.saturating_duration_since(sent),
            );
            if let Err(failure) = &meaning {
                metrics.add(Name::UpdateError, &[&slots.task, &failure.code()], 1);
            }
        });
        match &meaning {
            Ok(_) => {
                slots.updates.worked(now, &slots.task);
                slots.lapses.worked(now, &slots.task);
                if let Some(small) = &small {
                    shared.replaced(slots, &held, &report, small);
                    shared.accepted(slots, &held, small.report.kind);
                } else {
                    slots.largest_taken.fetch_max(length(&report.body), Ordering::Relaxed);
                    shared.accepted(slots, &held, report.kind);
                }
                // What was replaced is among the dead letters, or waits for room there.
                if small.is_none() || !report.is_result() {
                    shared.forget(&held);
                }
                shared.settle(slots, &held, small.is_none());
                slots.release(entry);
            }
            Err(failure) => {
                if failure.error.fault != Fault::Gone {
                    shared.note_failure(&held, &report);
                }
                if !report.is_result() && small.is_none() && !failure.may_have_had_effect() {
                    shared.note_no_yield(slots, &held);
                }
                shared.not_taken(slots, &held, failure, &answer, small.is_some());
            }
        }
        shared.tell_after(put_off, replied(worker, call, reply(&meaning)));
    }
}

impl Shared {
    /// The server has answered a report well. It does so too where it has ended the task before, and then changes nothing:
    /// what comes after the lease's end counts as late, and as nothing else.
    fn accepted(&self, slots: &WorkerSlots, held: &HeldTask, kind: ReportKind) {
        if !held.lapsed.load(Ordering::Acquire) {
            return self.counts.accepted(kind);
        }
        count(&self.counts.late);
        self.measure(|metrics| metrics.add(Name::ReportLate, &[&slots.task], 1));
        let task = &held.facts().task_id;
        tracing::debug!(
            worker = slots.task,
            task,
            "reported after the lease's end: the server has dropped it, it may be"
        );
    }

    /// The server did not take a report.
    fn not_taken(
        &self,
        slots: &WorkerSlots,
        held: &HeldTask,
        failure: &CallFailure,
        answer: &[u8],
        small: bool,
    ) {
        let now = self.clock.now();
        match failure.error.fault {
            // Nobody waits for it; the machine says so next.
            Fault::Gone | Fault::Unsupported => return,
            _ if failure.is_of_link() => return,
            Fault::Internal | Fault::Forbidden | Fault::Rejected | Fault::TooLarge => {
                let waiting = slots.refusals.refused(now, held);
                self.measure_refused(slots, waiting);
            }
            Fault::NotSent
            | Fault::Unknown
            | Fault::Slow
            | Fault::Unauthorized
            | Fault::Throttled
            | Fault::Server => {}
        }
        if let (Some(status), false) = (failure.status(), small) {
            held.refuse(Refusal { status, limit: limit_in(answer) });
        }
        slots.updates.failed(now, &slots.task, &failure.to_string());
    }

    /// A result waits no longer. `taken`: the server has taken it as it was.
    pub(super) fn settle(&self, slots: &WorkerSlots, held: &HeldTask, taken: bool) {
        if let Some(waiting) = slots.refusals.settled(held, taken) {
            self.measure_refused(slots, waiting);
        }
    }

    fn measure_refused(&self, slots: &WorkerSlots, waiting: usize) {
        self.measure(|metrics| {
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            metrics.set(Name::ResultsRefused, &[&slots.task], waiting);
        });
    }

    /// The server has accepted a report that the task failed, in a result's place, or the store keeps it for that. What was
    /// replaced is kept among the dead letters, if there is a store: the code ran, and its result may be wanted.
    pub(super) fn replaced(&self, slots: &WorkerSlots, held: &HeldTask, report: &Report, small: &Small) {
        let Small { why, reason, .. } = small;
        let facts = held.facts();
        let task = facts.task_id.as_str();
        if !report.is_result() {
            tracing::warn!(
                worker = slots.task,
                task,
                "{reason}; it is reported as failed, so that it can be retried"
            );
            return;
        }
        count(&self.counts.replaced);
        self.measure(|metrics| metrics.add(Name::ResultReplaced, &[&slots.task, word(*why)], 1));
        self.bury_once(slots, held, report, small);
        self.emit(slots, || update_failed(slots, held, report, reason));
    }

    /// Keeps a result that is replaced among the dead letters, unless it is there already.
    pub(super) fn bury_once(&self, slots: &WorkerSlots, held: &HeldTask, report: &Report, small: &Small) {
        if report.is_result() && !held.buried.swap(true, Ordering::AcqRel) {
            self.bury(slots, held, report, &small.reason);
        }
    }

    /// Keeps what the server will not take among the dead letters, and says where; without a store it says that alone.
    pub(super) fn bury(&self, slots: &WorkerSlots, held: &HeldTask, report: &Report, what: &str) {
        let facts = held.facts();
        let (worker, task) = (slots.task.as_str(), facts.task_id.as_str());
        let Some(store) = &self.store else {
            tracing::error!(worker, task, "{what}");
            return;
        };
        match store.bury(task, &report.body, what) {
            Ok(path) => {
                self.measure_store();
                tracing::error!(worker, task, dead_letter = %path.display(), "{what}; the result is kept");
            }
            Err(cause) => {
                let cause = store.said(&cause);
                tracing::error!(
                    worker,
                    task,
                    cause,
                    "{what}, nor could it be stored: it is in the event alone"
                );
            }
        }
    }
}

/// The most bytes that a 413 says are taken, as far as it does: the first number of it before which or after which it
/// speaks of bytes.
fn limit_in(answer: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(answer.get(..512).unwrap_or(answer)).ok()?;
    let is_byte = |word: &str| word.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("byte"));
    let words: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.windows(2).find_map(|pair| match pair {
        [number, unit] if is_byte(unit) => number.parse().ok(),
        _ => None,
    })
}

fn length(body: &[u8]) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

/// A metric's label.
const fn word(why: Instead) -> &'static str {
    match why {
        Instead::TooLarge => "TooLarge",
        Instead::Rejected => "Rejected",
        Instead::Refused => "Refused",
        Instead::PollTimeout => "PollTimeout",
    }
}

/// A metric's label.
pub(super) const fn given_up(why: Loss) -> &'static str {
    match why {
        Loss::Rejected => "Rejected",
        Loss::Refused => "Refused",
        Loss::Aborted => "Aborted",
        Loss::UnsafeYield => "UnsafeYield",
        Loss::GaveUp => "GaveUp",
        Loss::Ended => "Ended",
    }
}

pub(super) fn update_failed(slots: &WorkerSlots, held: &HeldTask, report: &Report, cause: &str) -> EventKind {
    EventKind::TaskUpdateFailure {
        task_id: held.facts().task_id.clone(),
        workflow_instance_id: held.facts().workflow_id.clone(),
        worker_id: slots.worker_id.clone(),
        cause: cause.to_owned(),
        retry_count: held.attempts(),
        task_result: String::from_utf8_lossy(&report.body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_where_the_answer_speaks_of_bytes() {
        for (answer, limit) in [
            ("<h1>413 Request Entity Too Large</h1><hr><center>nginx/1.27.3</center>", None),
            (r#"{"message":"Maximum upload size of 1048576 bytes exceeded"}"#, Some(1_048_576)),
            ("the body has more than 1024 Bytes", Some(1_024)),
            ("bytes", None),
            ("12 b\u{e9}tes", None),
        ] {
            assert_eq!(limit_in(answer.as_bytes()), limit, "{answer}");
        }
        assert_eq!(limit_in(b"\xff 10 bytes"), None);
    }
}
