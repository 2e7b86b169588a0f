//! What an earlier runner has left in the store: its commands are ended, its tasks are given back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use downbeat_core::machine::{
    Action, Clock as _, Fault, HubInput, Input, Instead, Policy, TaskKey, TaskMeta,
};
use downbeat_core::wire::{CallKind, reason_instead, target};

use super::calls::Call;
use super::counts::count;
use super::held_task::{HeldTask, Payload, Report};
use super::performer::Performer;
use super::shared::Shared;
use super::thread::LeaseReply;
use crate::clock::unix_millis;
use crate::context::TaskFacts;
use crate::store::{Left, Process, Recovered, Store};

/// How often it is looked whether the server can be asked.
const SOON: Duration = Duration::from_millis(20);
/// For how long the server is asked about a task at least; and for no longer than its lease.
const ASK: Duration = Duration::from_secs(60);
/// The longest rest between two tries to give a task back.
const AGAIN: Duration = Duration::from_secs(1);

/// Ends a process group of an earlier runner: it is told the group's id and when its leader began, as
/// [`Context::note_process`](crate::Context::note_process) was told them.
pub(crate) struct EndProcess(pub(super) Box<dyn Fn(i32, u64) + Send + Sync>);

impl std::fmt::Debug for EndProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndProcess(…)")
    }
}

/// A task of an earlier run that its worker holds again: the worker, the task, and the id under which it was polled.
type HeldAgain = (u16, Arc<HeldTask>, String);

/// What is left to be done once the runner's threads are at work: first of all come results.
#[derive(Default)]
pub(super) struct Rest {
    /// Commands that are to be ended, each with the task that waits for it: a task must not run beside its first copy.
    commands: Vec<(Process, Option<HeldAgain>)>,
    /// Tasks without a worker here, or without room there.
    tasks: Vec<Left>,
    /// Tasks that may have been given back before.
    unsure: Vec<Left>,
}

/// Puts what an earlier runner had in hand where it was: into the hands of the worker of its type, whose rules extend its
/// lease, report its result, or give it back. To be called before the first thread. What it returns is for
/// [`Rest::see_to`], after it.
pub(super) fn take_back(shared: &Arc<Shared>, recovered: Recovered) -> Rest {
    let Some(store) = &shared.store else { return Rest::default() };
    for task in recovered.left_alone {
        tracing::info!(
            task,
            "an earlier run had this task in hand, and its note cannot be read; it is left to its lease"
        );
        store.ended(&task);
    }
    for left in recovered.finished {
        // One that cannot be read stays the sender's, which says so.
        let Some(body) = store.take_over(&left.task_id) else { continue };
        let report = Report::from_body(body.clone());
        if let Some((worker, held, _)) = shared.hold_again(&left, true) {
            shared.end_again(worker, &held, report);
            continue;
        }
        tracing::debug!(task = left.task_id, "the result of an earlier run is left to the store's sender");
        if let Err(cause) = store.keep(&left.task_id, &body, true) {
            shared.keeps.failed(shared.clock.now(), "the store", &store.said(&cause));
        }
    }
    let mut rest = Rest { unsure: recovered.unsure, ..Rest::default() };
    let mut commands = recovered.processes;
    for left in recovered.give_back {
        let command = commands.iter().position(|command| command.task_id == left.task_id);
        let command = command.map(|at| commands.swap_remove(at));
        let held = shared.hold_again(&left, false);
        match (command, held) {
            (None, Some((worker, held, id))) => {
                shared.end_again(worker, &held, Report::give_back(&held.facts(), &id));
            }
            (Some(command), held) => {
                if held.is_none() {
                    rest.tasks.push(left);
                }
                rest.commands.push((command, held));
            }
            (None, None) => rest.tasks.push(left),
        }
    }
    rest.commands.extend(commands.into_iter().map(|command| (command, None)));
    rest
}

impl Rest {
    /// Ends the commands, all at once, gives back each task when its command is gone, and then what no worker here takes.
    ///
    /// # Errors
    /// The system refuses the thread for that.
    pub(super) fn see_to(self, shared: &Arc<Shared>, end: Option<EndProcess>) -> std::io::Result<()> {
        if self.commands.is_empty() && self.tasks.is_empty() && self.unsure.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("downbeat-leftover".to_owned());
        let work = move || {
            std::thread::scope(|scope| {
                for (command, held) in &self.commands {
                    let (shared, end) = (&shared, end.as_ref());
                    let work = move || end_command(shared, end, command, held.as_ref());
                    if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                        end_command(shared, end, command, held.as_ref());
                    }
                }
                // They have no commands any more, and need not wait for those of others.
                give_all_back(&shared, Vec::new(), self.unsure);
            });
            give_all_back(&shared, self.tasks, Vec::new());
        };
        thread.spawn(work).map(drop)
    }
}

/// Ends a command that may have outlived its runner; then its task may run again.
fn end_command(shared: &Arc<Shared>, end: Option<&EndProcess>, command: &Process, held: Option<&HeldAgain>) {
    match end {
        Some(EndProcess(end)) => end(command.group, command.started),
        None => tracing::warn!(
            task = command.task_id,
            group = command.group,
            "a command of an earlier run may still be there, and nobody here can end it"
        ),
    }
    if let Some((worker, held, id)) = held {
        shared.finish(*worker, held, |facts| Report::give_back(facts, id));
    }
}

impl Shared {
    /// Has the worker of its type hold a task of an earlier run; `None`: it cannot.
    fn hold_again(self: &Arc<Self>, left: &Left, is_journaled: bool) -> Option<HeldAgain> {
        let worker = self.workers.iter().position(|slots| slots.task == left.task_type)?;
        let worker = u16::try_from(worker).ok()?;
        let slots = self.slots(worker)?;
        let task = TaskMeta {
            give_back_within: left.give_back_within(unix_millis()),
            ..TaskMeta::new(
                TaskKey::from_id(&left.task_id),
                Some(left.lease).filter(|lease| !lease.is_zero()),
            )
        };
        let mut entry = None;
        let not_run = self.lease(worker, Input::Recovered { task }, |action| {
            if let Action::Run { entry: of, .. } = action {
                entry = Some(of);
            }
            LeaseReply::Dropped
        });
        debug_assert!(not_run.is_none(), "nothing of it is a job");
        let entry = entry?;
        let held = HeldTask::new(entry, facts(left), Payload::Unfit(String::new()));
        held.journaled.store(is_journaled, Ordering::Release);
        if let Some(store) = &self.store {
            held.delivery.store(store.deliveries(), Ordering::Release);
        }
        slots.keep(held);
        Some((worker, slots.held(entry)?, left.worker_id.clone()))
    }

    /// Says how a task of an earlier run ended, before the first thread.
    fn end_again(&self, worker: u16, held: &HeldTask, report: Report) {
        let (entry, outcome) = (held.entry, report.outcome);
        let _first = held.claim();
        held.file(report);
        self.tell_before_start(HubInput::Worker { worker, input: Input::Finished { entry, outcome } });
    }
}

/// What is known of a task of an earlier run.
fn facts(left: &Left) -> TaskFacts {
    TaskFacts {
        task_id: left.task_id.clone(),
        workflow_id: left.workflow_id.clone(),
        task_type: left.task_type.clone(),
        polled_output: left.polled_output.clone(),
        lease: left.lease,
        poll_count: left.poll_count,
        give_back_until_ms: left.give_back_until_ms,
        ..TaskFacts::default()
    }
}

/// Gives back what no worker here takes, one after the other, and what had no effect again in the next round. The
/// server is asked first about what may have been given back before (S4).
fn give_all_back(shared: &Arc<Shared>, mut left: Vec<Left>, mut unsure: Vec<Left>) {
    let Some(store) = &shared.store else { return };
    let mut performer = Performer::new(Arc::clone(shared));
    let (mut is_first, mut rest, began) = (true, SOON, shared.clock.now());
    while !(left.is_empty() && unsure.is_empty()) {
        let (fails, has_token) =
            shared.scheduler.look(|hub| (hub.link_failures() > 0, hub.token_generation().is_some()));
        if !fails && has_token {
            let waited = shared.clock.now().saturating_duration_since(began);
            unsure.retain(|task| match ask(store, &mut performer, task, waited) {
                Some(true) => {
                    left.push(task.clone());
                    false
                }
                Some(false) => false,
                None => true,
            });
            left.retain(|task| !give_one_back(shared, store, &mut performer, task));
            if is_first && !left.is_empty() {
                tracing::warn!(
                    tasks = left.len(),
                    "tasks of an earlier run, which no worker here can take, are not given back yet; it is tried again"
                );
            }
            is_first = false;
            rest = rest.saturating_mul(2).min(AGAIN);
        }
        if shared.wait_over(rest) {
            return;
        }
    }
}

/// Asks whether a task is to be given back, though it may have been before; `None`: the server does not say, and has not been
/// asked for long.
fn ask(store: &Store, performer: &mut Performer, left: &Left, waited: Duration) -> Option<bool> {
    let task = left.task_id.as_str();
    match performer.is_still_out(task, left.poll_count) {
        Ok(true) => {
            tracing::debug!(task, "an earlier run was about to give this task back, which had no effect");
            Some(true)
        }
        Err(trouble) if trouble.error.fault != Fault::Gone && waited < left.lease.max(ASK) => {
            tracing::debug!(task, cause = %trouble, "it is not known yet whether a task of an earlier run was given back");
            None
        }
        Ok(false) | Err(_) => {
            tracing::info!(
                task,
                "an earlier run has given this task back, or nobody can say; it is left to the server"
            );
            store.ended(task);
            Some(false)
        }
    }
}

/// Gives a task back; false: nothing of it has had an effect, and it is to be tried again.
fn give_one_back(shared: &Shared, store: &Store, performer: &mut Performer, left: &Left) -> bool {
    let task = left.task_id.as_str();
    // From here on nobody else may do it: twice could disturb the task's next run (S4).
    if let Err(cause) = store.yielding(task) {
        shared.keeps.failed(shared.clock.now(), "the store", &store.said(&cause));
        return false;
    }
    let facts = facts(left);
    let mut report = Report::give_back(&facts, &left.worker_id);
    if left.give_back_within(unix_millis()).is_some_and(|within| within.is_zero()) {
        // A give-back would end its workflow now (S24).
        let why = Instead::PollTimeout;
        report = report.replaced(&facts, &left.worker_id, why, reason_instead(why));
    }
    let deadline = shared.clock.now().saturating_add(Policy::DEFAULT.call_timeout);
    let (meaning, _) =
        performer.plain_call(&Call::post(CallKind::Update, target::UPDATE, &report.body, deadline));
    match meaning {
        Ok(_) => {
            count(&shared.counts.given_back);
            tracing::info!(
                task,
                worker = left.task_type,
                "a task that an earlier run had in hand is given back"
            );
        }
        Err(trouble) if !trouble.may_have_had_effect() => {
            tracing::debug!(task, cause = %trouble, "a task of an earlier run is not given back yet");
            // A crash before the next try must not leave it to its lease.
            if let Err(cause) = store.lease(&left.note()) {
                shared.keeps.failed(shared.clock.now(), "the store", &store.said(&cause));
            }
            return false;
        }
        Err(trouble) if trouble.error.fault == Fault::Gone => {}
        Err(trouble) => {
            tracing::warn!(task, cause = %trouble,
                "a task of an earlier run may not have been given back; then its lease has to end");
        }
    }
    store.ended(task);
    true
}
