//! What the machine does not keep: the payloads of its slots.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use downbeat_core::machine::{EntryId, Instead, Outcome};
use downbeat_core::wire::{self, Full, LOGS_MAX, Log, OUTPUT_LIMIT, Out, Output, Status, TaskResult};

use crate::context::{Recall, TaskFacts, lock};
use crate::handler::{EndStatus, Ending};

/// After how long a task that is given back is delivered again.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// A task that the machine holds.
pub(crate) struct HeldTask {
    pub(crate) entry: EntryId,
    /// Others as soon as the server's retry of the task is adopted.
    facts: Mutex<Arc<TaskFacts>>,
    /// Taken by the thread that runs the task.
    pub(crate) input: Mutex<Option<Payload>>,
    pub(crate) recall: Arc<Recall>,
    /// Somebody has told the machine how the task ended; whoever comes later is too late.
    settled: AtomicBool,
    report: Mutex<Option<Arc<Report>>>,
    attempts: AtomicU16,
    /// The server answers, and has refused this very result: it is counted among those.
    pub(crate) refused: AtomicBool,
    /// The result is among the dead letters.
    pub(crate) buried: AtomicBool,
    /// The result is in the journal.
    pub(crate) journaled: AtomicBool,
    /// Its lease has ended, by the runner's own clock, and no retry of it was adopted since.
    pub(crate) lapsed: AtomicBool,
    /// The turn of its note in the journal; zero: there is none.
    pub(crate) delivery: AtomicU64,
    /// The ids that it had before it was adopted.
    former: Mutex<Vec<String>>,
    /// What the server said to the latest report that it did not take.
    trouble: Mutex<Option<Refusal>>,
}

/// What the server said to a report that it did not take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The most bytes that it takes, where its answer names them.
    pub(crate) limit: Option<u64>,
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

impl HeldTask {
    pub(crate) fn new(entry: EntryId, facts: TaskFacts, payload: Payload) -> Self {
        Self {
            entry,
            facts: Mutex::new(Arc::new(facts)),
            input: Mutex::new(Some(payload)),
            recall: Arc::default(),
            settled: AtomicBool::new(false),
            report: Mutex::new(None),
            attempts: AtomicU16::new(0),
            refused: AtomicBool::new(false),
            buried: AtomicBool::new(false),
            journaled: AtomicBool::new(false),
            lapsed: AtomicBool::new(false),
            delivery: AtomicU64::new(0),
            former: Mutex::default(),
            trouble: Mutex::new(None),
        }
    }

    /// What the server said of the task, of its latest attempt where that was adopted.
    pub(crate) fn facts(&self) -> Arc<TaskFacts> {
        Arc::clone(&lock(&self.facts))
    }

    /// Whether these are the facts still.
    pub(crate) fn is_of(&self, facts: &Arc<TaskFacts>) -> bool {
        Arc::ptr_eq(&lock(&self.facts), facts)
    }

    /// The run goes on for the server's retry of the task. Returns what the task was before.
    pub(crate) fn adopt(&self, facts: TaskFacts) -> Arc<TaskFacts> {
        let before = std::mem::replace(&mut *lock(&self.facts), Arc::new(facts));
        lock(&self.former).push(before.task_id.clone());
        self.lapsed.store(false, Ordering::Release);
        before
    }

    /// The ids of the task, of earlier attempts that were adopted too.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids = lock(&self.former).clone();
        ids.push(self.facts().task_id.clone());
        ids
    }

    /// Whether the caller is the one to say how the task ended; everybody who asks later is not.
    pub(crate) fn claim(&self) -> bool {
        !self.settled.swap(true, Ordering::AcqRel)
    }

    /// Files the report that the machine is about to be told of.
    pub(crate) fn file(&self, report: Report) {
        *lock(&self.report) = Some(Arc::new(report));
    }

    /// Notes what the server said to a report that it did not take.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        *lock(&self.trouble) = Some(refusal);
    }

    /// What the server said to the latest report that it did not take.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *lock(&self.trouble)
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
    pub(crate) fn from_ending(
        facts: &TaskFacts,
        worker_id: &str,
        ending: &Ending,
        log: &[(String, i64)],
    ) -> Self {
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
            EndStatus::GivenBack => {
                let outcome = Outcome::Yield { callback_after: GIVE_BACK };
                (Status::InProgress { callback_after: GIVE_BACK }, ReportKind::GivenBack, outcome)
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

    /// A result as an earlier runner wrote it.
    pub(crate) fn from_body(body: Vec<u8>) -> Self {
        let status = wire::find(&body, "status").ok().flatten().and_then(|value| value.text());
        let is = |word: &str| status.is_some_and(|status| status == *word);
        let kind = if is("COMPLETED") {
            ReportKind::Completed
        } else if is("FAILED") {
            ReportKind::Failed
        } else {
            ReportKind::Terminal
        };
        Self { body, kind, outcome: Outcome::Final }
    }

    /// The task goes back as it came, to be delivered again after a second.
    pub(crate) fn give_back(facts: &TaskFacts, worker_id: &str) -> Self {
        let outcome = Outcome::Yield { callback_after: GIVE_BACK };
        Self { body: give_back_body(facts, worker_id), kind: ReportKind::GivenBack, outcome }
    }
}

impl Report {
    /// A small report that the task failed, in place of this one.
    pub(crate) fn replaced(&self, facts: &TaskFacts, worker_id: &str, why: Instead, reason: &str) -> Self {
        let status = Status::instead(why, reason);
        let kind = if why == Instead::TooLarge { ReportKind::Terminal } else { ReportKind::Failed };
        let result = TaskResult {
            task_id: &facts.task_id,
            workflow_id: &facts.workflow_id,
            worker_id,
            status,
            output: Output::EMPTY,
            logs: &[],
        };
        Self { body: encoded(|out| result.encode(out)), kind, outcome: Outcome::Final }
    }

    /// Whether it is a result, and no yield or give-back.
    pub(crate) const fn is_result(&self) -> bool {
        matches!(self.outcome, Outcome::Final)
    }
}

/// Why the server gets a small report that the task failed, for those who read it there.
///
/// `most`: the bytes of the largest result of this worker that the server has taken so far.
pub(crate) fn reason_instead(
    why: Instead,
    report: &Report,
    refusal: Option<Refusal>,
    most: u64,
    tries: u16,
) -> String {
    let size = report.body.len();
    let status =
        refusal.map_or_else(|| "no status".to_owned(), |refusal| format!("status {}", refusal.status));
    match why {
        Instead::TooLarge => {
            let limit = match refusal.and_then(|refusal| refusal.limit) {
                Some(limit) => format!("the limit that it names is {limit} bytes"),
                None => format!(
                    "it names no limit; the largest that it took of this worker so far had {most} bytes"
                ),
            };
            format!(
                "the result is too large: it has {size} bytes, and the server, or a proxy before it, answered with \
                 {status} ({limit}); store it elsewhere and report where, or raise the limit"
            )
        }
        Instead::Rejected => format!("the server rejected the task's result of {size} bytes with {status}"),
        Instead::Refused => format!(
            "the server, which takes other results, refused the task's result of {size} bytes {tries} times, the last time with {status}"
        ),
        Instead::PollTimeout => wire::reason_instead(why).to_owned(),
    }
}

/// The body of a give-back.
pub(crate) fn give_back_body(facts: &TaskFacts, worker_id: &str) -> Vec<u8> {
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
