//! What the machine does not keep: the payloads of its slots.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use downbeat_core::machine::{Outcome, SlotId};
use downbeat_core::wire::{self, Full, LOGS_MAX, Log, OUTPUT_LIMIT, Out, Output, Status, TaskResult};

use crate::context::{Facts, Recall, lock};
use crate::handler::{EndStatus, Ending};

/// A task that the machine holds.
pub(crate) struct Held {
    pub(crate) slot: SlotId,
    pub(crate) facts: Facts,
    /// Taken by the thread that runs the task.
    pub(crate) input: Mutex<Option<Payload>>,
    pub(crate) recall: Arc<Recall>,
    /// Somebody has told the machine how the task ended; whoever comes later is too late.
    settled: AtomicBool,
    report: Mutex<Option<Arc<Report>>>,
    attempts: AtomicU16,
}

/// What there is to run a task on.
pub(crate) enum Payload {
    /// Raw JSON, an object.
    Inline(Vec<u8>),
    /// The input is in external storage, under this path.
    External(String),
    /// The task cannot be run here, for this reason, and the server may try it elsewhere.
    Unfit(String),
}

/// A result, encoded once and sent as often as need be.
pub(crate) struct Report {
    /// The body for `POST /tasks`.
    pub(crate) body: Vec<u8>,
    pub(crate) kind: ReportKind,
    pub(crate) outcome: Outcome,
}

/// What a result says, to be counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ReportKind {
    Completed,
    Failed,
    Terminal,
    InProgress,
    GivenBack,
}

impl Held {
    pub(crate) fn new(slot: SlotId, facts: Facts, payload: Payload) -> Self {
        Self {
            slot,
            facts,
            input: Mutex::new(Some(payload)),
            recall: Arc::default(),
            settled: AtomicBool::new(false),
            report: Mutex::new(None),
            attempts: AtomicU16::new(0),
        }
    }

    /// Files the report that the machine is about to be told of; false: there is one already.
    pub(crate) fn settle(&self, report: Report) -> bool {
        if self.settled.swap(true, Ordering::AcqRel) {
            return false;
        }
        *lock(&self.report) = Some(Arc::new(report));
        true
    }

    /// How often the result was sent.
    pub(crate) fn attempts(&self) -> u16 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The result is sent, after `before` reports that failed.
    pub(crate) fn attempt(&self, before: u16) {
        self.attempts.store(before.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> Option<Arc<Report>> {
        lock(&self.report).clone()
    }
}

impl Report {
    pub(crate) fn of_ending(facts: &Facts, worker_id: &str, ending: &Ending, log: &[(String, i64)]) -> Self {
        let (status, kind, outcome) = match &ending.status {
            EndStatus::Completed => (Status::Completed, ReportKind::Completed, Outcome::Final),
            EndStatus::Failed(reason) => (Status::Failed { reason }, ReportKind::Failed, Outcome::Final),
            EndStatus::Terminal(reason) => {
                (Status::FailedTerminal { reason }, ReportKind::Terminal, Outcome::Final)
            }
            EndStatus::InProgress(after) => {
                let outcome = Outcome::Yield { callback_after: *after };
                (Status::InProgress { callback_after: *after }, ReportKind::InProgress, outcome)
            }
        };
        let mut logs = Vec::with_capacity(LOGS_MAX);
        logs.extend(log.iter().map(|(text, created)| Log { text, created: *created }));
        let output = Output::new(&ending.output).and_then(|output| output.within(OUTPUT_LIMIT));
        let result = TaskResult {
            task_id: &facts.task_id,
            workflow_id: &facts.workflow_id,
            worker_id,
            status,
            // Endings are checked when they are made; there is nothing to fall back to here but `{}`.
            output: output.unwrap_or(Output::EMPTY),
            logs: &logs,
        };
        Self { body: encoded(|out| result.encode(out)), kind, outcome }
    }

    /// The task goes back as it came, to be delivered again after a second.
    pub(crate) fn of_give_back(facts: &Facts, worker_id: &str) -> Self {
        let outcome = Outcome::Yield { callback_after: std::time::Duration::from_secs(1) };
        Self { body: give_back_body(facts, worker_id), kind: ReportKind::GivenBack, outcome }
    }
}

/// The body of a give-back.
pub(crate) fn give_back_body(facts: &Facts, worker_id: &str) -> Vec<u8> {
    let polled = Output::new(facts.polled_output.as_bytes()).unwrap_or(Output::EMPTY);
    encoded(|out| wire::encode_give_back(&facts.task_id, &facts.workflow_id, worker_id, polled, out))
}

/// What `write` writes. Memory that grows is never full.
pub(crate) fn encoded(write: impl FnOnce(&mut Growing) -> Result<(), Full>) -> Vec<u8> {
    let mut out = Growing { bytes: Vec::new(), room: usize::MAX };
    let written = write(&mut out);
    debug_assert!(written.is_ok(), "memory that grows is never full");
    out.bytes
}

/// Memory that grows up to its room.
pub(crate) struct Growing {
    bytes: Vec<u8>,
    room: usize,
}

impl Growing {
    pub(crate) const fn new(room: usize) -> Self {
        Self { bytes: Vec::new(), room }
    }
}

impl Out for Growing {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.room.saturating_sub(self.bytes.len()) {
            return Err(Full);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl wire::Buffer for Growing {
    fn clear(&mut self) {
        self.bytes.clear();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn room(&self) -> usize {
        self.room
    }
}
