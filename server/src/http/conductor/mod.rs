//! A Conductor with payloads: ids, inputs, outputs, logs, definitions and workflows around the model server.
//!
//! Still a state machine: time is an argument (microseconds since 1970), nothing here reads a clock or does I/O. The
//! decisions about queues, leases and retries are the model server's ([`crate::model`]); this keeps what that one
//! has no words for.

mod definitions;
mod fill;
pub(crate) mod json;
mod lifecycle;
mod metadata;
mod queues;
mod received;
mod refused;
mod result;
mod sequence;
mod task;
mod update;
mod workflow;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, TaskKey};
use serde::Serialize;

use self::definitions::{TaskDef, WorkflowDef};
use self::json::Raw;
pub(crate) use self::lifecycle::Change;
pub use self::refused::Refused;
pub(crate) use self::result::{Gist, TaskResult};
use self::task::Task;
pub use self::task::{Log, Received, Status};
pub(crate) use self::workflow::Start;
use self::workflow::Workflow;
pub use self::workflow::{TaskView, WorkflowStatus, WorkflowView};
use crate::model::Effect;
use crate::model::{self, Backend, Generation, Setup, Ticket};

/// How a conductor is set up.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) seed: u64,
    pub(crate) backend: Backend,
    pub(crate) token_life: Option<Duration>,
    pub(crate) update_v2: bool,
    /// Longer inputs are handed out as a path (R-PAYLOAD-4).
    pub(crate) input_inline_max: usize,
    /// Longer outputs are moved to the external storage (R-PAYLOAD-2).
    pub(crate) output_inline_max: usize,
    /// Longer outputs fail their task and workflow (R-PAYLOAD-3).
    pub(crate) output_max: usize,
    /// How many ended workflows are kept.
    pub(crate) ended_kept: usize,
    pub(crate) generation: Generation,
    /// Results with U+0000 are refused, and recorded all the same (R-PAYLOAD-6).
    pub(crate) refuse_nul: bool,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) call: u64,
    pub(crate) token: Option<u64>,
}

/// A poll.
#[derive(Clone, Debug)]
pub(crate) struct Poll {
    pub(crate) kind: String,
    pub(crate) domain: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) count: u16,
    pub(crate) wait: Duration,
}

/// What became of the tasks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct TaskCounts {
    /// Tasks made, retries included.
    pub scheduled: u64,
    /// Deliveries to workers.
    pub delivered: u64,
    /// Those of them that delivered a task that had been delivered before.
    pub redelivered: u64,
    /// Tasks ended: the sum of the five below.
    pub ended: u64,
    /// COMPLETED.
    pub completed: u64,
    /// FAILED.
    pub failed: u64,
    /// FAILED_WITH_TERMINAL_ERROR.
    pub failed_terminally: u64,
    /// TIMED_OUT.
    pub timed_out: u64,
    /// CANCELED.
    pub canceled: u64,
    /// Reports and heartbeats of tasks that had ended: accepted, and without effect.
    pub ignored_reports: u64,
    /// Tasks given back, or put off.
    pub put_back: u64,
    /// Lease extensions with effect.
    pub extended: u64,
    /// Results with a final status that arrived, those among them that a fault kept from having an effect.
    pub results: u64,
    /// Those of them for a task that had sent one before.
    pub repeated_results: u64,
}

/// A conductor.
#[derive(Debug)]
pub(crate) struct Conductor {
    rules: Rules,
    server: model::Server,
    task_defs: BTreeMap<String, TaskDef>,
    workflow_defs: BTreeMap<String, BTreeMap<i64, Arc<WorkflowDef>>>,
    /// Definitions of the model server, which are its queues too, by task type and domain.
    kinds: BTreeMap<(String, Option<String>), usize>,
    names: Vec<(String, Option<String>)>,
    tasks: BTreeMap<TaskKey, Task>,
    workflows: BTreeMap<u128, Workflow>,
    /// Those that have ended, oldest first.
    ended: VecDeque<u128>,
    forgotten: BTreeMap<WorkflowStatus, u64>,
    /// The names of the workers whose polls wait.
    pollers: BTreeMap<u64, Option<String>>,
    poll_data: BTreeMap<(usize, String), u64>,
    external: BTreeMap<String, Raw>,
    counts: TaskCounts,
    made: u64,
}

const BATCH_LOGS_MAX: usize = 10;

impl Conductor {
    pub(crate) fn new(rules: Rules) -> Self {
        let Rules { seed, backend, token_life, update_v2, generation, .. } = rules;
        let setup = Setup { seed, backend, update_v2, token_life };
        let server = model::Server::new(setup, Vec::new()).with_generation(generation);
        Self {
            rules,
            server,
            task_defs: BTreeMap::new(),
            workflow_defs: BTreeMap::new(),
            kinds: BTreeMap::new(),
            names: Vec::new(),
            tasks: BTreeMap::new(),
            workflows: BTreeMap::new(),
            ended: VecDeque::new(),
            forgotten: BTreeMap::new(),
            pollers: BTreeMap::new(),
            poll_data: BTreeMap::new(),
            external: BTreeMap::new(),
            counts: TaskCounts::default(),
            made: 0,
        }
    }

    // ---------------------------------------------------------------- polls

    /// A poll. `None` means that it waits, and ends in [`Conductor::advance`].
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        caller: Caller,
        poll: Poll,
    ) -> Result<Option<Vec<TaskKey>>, Refused> {
        let Poll { kind, domain, worker, count, wait } = poll;
        let at = self.kind(&kind, domain.as_deref());
        self.poll_data.insert((at, worker.clone().unwrap_or_default()), now.as_millis());
        self.pollers.insert(caller.call, worker);
        let queue = u32::try_from(at).unwrap_or(u32::MAX);
        let polled = self.server.poll(now, ticket(caller.call), caller.token, queue, count, wait);
        self.absorb(now);
        if !matches!(polled, Ok(None)) {
            self.pollers.remove(&caller.call);
        }
        match polled {
            Ok(handed) => Ok(handed.map(|handed| handed.into_iter().map(|(key, _)| key).collect())),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// What happens by itself up to now; the polls that ended, by their calls, with their tasks.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<(u64, Vec<TaskKey>)> {
        let mut all = Vec::new();
        loop {
            let ended = self.server.advance(now);
            let quiet = ended.is_empty();
            self.absorb(now);
            for (ticket, handed) in ended {
                let call = ticket.call.to_bits();
                self.pollers.remove(&call);
                all.push((call, handed.into_iter().map(|(key, _)| key).collect()));
            }
            // What was absorbed may have scheduled more.
            if quiet && self.server.next_deadline().is_none_or(|at| at > now) {
                return all;
            }
        }
    }

    /// When [`Conductor::advance`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.server.next_deadline()
    }

    /// A task that is out, of this type and domain, other than these: what a server hands out twice by mistake.
    pub(crate) fn running(&self, kind: &str, domain: Option<&str>, but: &[TaskKey]) -> Option<TaskKey> {
        let is = |task: &Task| {
            task.status == Status::InProgress && task.kind == kind && task.domain.as_deref() == domain
        };
        self.tasks.iter().find(|(key, task)| is(task) && !but.contains(key)).map(|(key, _)| *key)
    }

    /// A task as the server writes it.
    pub(crate) fn render(&self, key: TaskKey) -> Option<String> {
        self.tasks.get(&key).map(Task::render)
    }

    /// The type and the domain of a task.
    pub(crate) fn kind_of(&self, id: &str) -> Option<(String, Option<String>)> {
        let task = self.find(id)?;
        Some((task.kind.clone(), task.domain.clone()))
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        self.counts
    }

    // ---------------------------------------------------------------- tokens

    pub(crate) fn issue_token(&mut self, now: Instant) -> Option<u64> {
        let token = self.server.issue_token(now, 0);
        self.absorb(now);
        token
    }

    pub(crate) fn revoke_tokens(&mut self) {
        self.server.revoke_tokens();
    }

    pub(crate) fn check_token(&mut self, now: Instant, token: Option<u64>) -> Result<(), Refused> {
        let checked = self.server.check_token(now, 0, token);
        self.absorb(now);
        checked.map_err(refused)
    }

    // ---------------------------------------------------------------- inside

    /// The model server's number of a task type in a domain.
    fn kind(&mut self, kind: &str, domain: Option<&str>) -> usize {
        let name = (kind.to_owned(), domain.map(str::to_owned));
        if let Some(at) = self.kinds.get(&name) {
            return *at;
        }
        let queue = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let at = self.server.define(self.task_def(kind).rules(queue, self.group(kind)));
        self.kinds.insert(name.clone(), at);
        self.names.push(name);
        at
    }

    /// The number that the domains of a task type share.
    fn group(&self, kind: &str) -> u32 {
        let first = self.names.iter().position(|(name, _)| name == kind).unwrap_or(self.names.len());
        u32::try_from(first).unwrap_or(u32::MAX)
    }

    fn task_def(&self, kind: &str) -> TaskDef {
        self.task_defs.get(kind).cloned().unwrap_or_else(|| TaskDef::undefined(kind))
    }

    fn find(&self, id: &str) -> Option<&Task> {
        self.tasks.get(&TaskKey::from_id(id)).filter(|task| task.id == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Task> {
        self.tasks.get_mut(&TaskKey::from_id(id)).filter(|task| task.id == id)
    }

    /// Takes note of what the model server did by itself.
    fn absorb(&mut self, now: Instant) {
        for effect in self.server.take_effects() {
            match effect {
                Effect::Delivered { key, call, .. } => self.delivered(now, key, call.to_bits()),
                Effect::Lapsed { key, .. } => self.lapsed(now, key),
                Effect::Scheduled { .. }
                | Effect::Extended { .. }
                | Effect::Cancelled { .. }
                | Effect::Reported { .. }
                | Effect::TokenIssued { .. }
                | Effect::Unauthorized { .. } => {}
            }
        }
    }

    fn delivered(&mut self, now: Instant, key: TaskKey, call: u64) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.status = Status::InProgress;
        self.counts.delivered += 1;
        self.counts.redelivered += u64::from(task.poll_count > 0);
        task.poll_count += 1;
        task.updated = now.as_millis();
        if task.started == 0 {
            task.started = now.as_millis();
        }
        task.callback_after = 0;
        task.worker = self.pollers.get(&call).cloned().flatten();
    }

    fn next_id(&mut self) -> u128 {
        self.made += 1;
        let high = crate::random::mix(self.rules.seed ^ !self.made);
        u128::from(high) << 64 | u128::from(crate::random::mix(high ^ self.made))
    }
}

/// A call of nobody in particular.
const fn ticket(call: u64) -> Ticket {
    Ticket { worker: 0, life: 0, call: CallId::from_bits(call) }
}

fn refused(refusal: model::Refusal) -> Refused {
    match refusal {
        model::Refusal::Unauthorized => Refused::new(401, "Token is missing, has expired or was revoked"),
        model::Refusal::NoSuchTask => Refused::not_found("No such task found"),
        model::Refusal::NoUpdateV2 => Refused::not_found("No static resource api/tasks/update-v2."),
    }
}
