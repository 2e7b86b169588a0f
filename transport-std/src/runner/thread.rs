//! The threads: interchangeable performers of what the scheduler has.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, Clock as _, Fault, HubAction, HubInput, Input, Instant, RecallReason,
};

use super::hub_core::HubCore;
use super::performer::Performer;
use super::scheduler::{self, Owner, Scheduler, Step};
use super::shared::Shared;
use crate::metrics::Name;

/// How long a thread waits after an unexpected error before it goes on.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// What became of the answer to a lease.
pub(crate) enum LeaseReply {
    /// It is a job now.
    Job,
    /// Nothing is to be done.
    Dropped,
    /// It is to be done when the answer has been read to its end.
    Later,
}

/// `Ok` for the machine.
pub(crate) const DONE: Result<Answer, CallError> = Ok(Answer::Done);

impl Owner for Arc<Shared> {
    type Core = HubCore;

    fn scheduler(&self) -> &Scheduler<HubCore> {
        &self.scheduler
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn perform_all(self) {
        perform_all(&self);
    }
}

impl Shared {
    /// Tells the hub what happened. What it asks for becomes jobs, the first of them for the calling performer.
    pub(crate) fn tell(self: &Arc<Self>, input: HubInput) {
        self.tell_after(Vec::new(), input);
    }

    /// As [`Shared::tell`], with jobs that were put off until now.
    pub(crate) fn tell_after(self: &Arc<Self>, put_off: Vec<HubAction>, input: HubInput) {
        scheduler::tell(self, put_off, || true, input);
    }

    /// As [`Shared::tell`], unless `still` says that it is not so any more; whether it was told. Nothing can come between
    /// the two: what `still` looks at changes while the hub is stepped.
    pub(crate) fn tell_if(self: &Arc<Self>, still: impl FnOnce() -> bool, input: HubInput) -> bool {
        scheduler::tell(self, Vec::new(), still, input)
    }

    /// Tells the hub something from a thread that is no performer.
    pub(crate) fn tell_from_outside(self: &Arc<Self>, input: HubInput) {
        scheduler::tell_from_outside(self, input);
    }

    /// Tells the hub of a task. `keep` is shown what is to be done with that very task, and files its payload before
    /// anybody can see the job. An action that must wait for the end of the answer is given back.
    pub(crate) fn lease(
        self: &Arc<Self>,
        worker: u16,
        input: Input,
        keep: impl FnOnce(Action) -> LeaseReply,
    ) -> Option<HubAction> {
        let mut later = None;
        scheduler::step_once(self, HubInput::Worker { worker, input }, |step| {
            let kept = match step {
                Step::Job(HubAction::Worker { worker: of, action }) if of == worker => keep(action),
                Step::Job(_) | Step::Wait(_) | Step::Stopped => LeaseReply::Job,
            };
            match (kept, step) {
                (LeaseReply::Job, step) => return Some(step),
                (LeaseReply::Later, Step::Job(action)) => later = Some(action),
                (LeaseReply::Later | LeaseReply::Dropped, _) => {}
            }
            None
        });
        later
    }

    /// Tells the hub something while there are no threads yet.
    pub(crate) fn tell_before_start(&self, input: HubInput) {
        self.scheduler.tell_before_start(self.clock.now(), input);
    }

    /// Starts the first thread.
    pub(crate) fn start_threads(self: &Arc<Self>) -> std::io::Result<()> {
        scheduler::start_threads(self)
    }
}

/// A thread's life.
fn perform_all(shared: &Arc<Shared>) {
    let mut performer = Performer::new(Arc::clone(shared));
    let mut done = None;
    while let Some(job) = scheduler::next_job(shared, done.take()) {
        if catch_unwind(AssertUnwindSafe(|| performer.perform(job))).is_err() {
            shared.measure(|metrics| metrics.add(Name::UncaughtException, &["Panic"], 1));
            tracing::error!(job = name(&job), "an unexpected error in the runner; it goes on after a second");
            shared.wait_over(AFTER_PANIC);
            performer = Performer::new(Arc::clone(shared));
            shared.give_up_job(job);
        }
        done = Some(job);
    }
    // Also if nobody joins the runner: the store, the admin endpoint and the signals are let go.
    if shared.scheduler.has_ended() {
        shared.declare_over();
    }
}

impl Shared {
    /// Replies for a job that ended in an unexpected error, so that nothing stays open for ever.
    fn give_up_job(self: &Arc<Self>, job: HubAction) {
        let reply = Err(CallError::new(Fault::Unknown));
        match job {
            HubAction::Refresh { call } => self.tell(HubInput::Refreshed { call, reply }),
            HubAction::Worker { worker, action } => match action {
                Action::Poll { call, .. }
                | Action::Update { call, .. }
                | Action::Extend { call, .. }
                | Action::Ask { call, .. }
                | Action::GiveBack { call, .. }
                | Action::Spill { call, .. } => {
                    self.tell(HubInput::Worker { worker, input: Input::Replied { call, reply } });
                }
                Action::Run { entry, .. } | Action::Recall { entry, why: RecallReason::Drain } => {
                    self.finish_broken(worker, entry);
                }
                Action::Recall { .. }
                | Action::Lapsed { .. }
                | Action::Adopt { .. }
                | Action::Discard { .. }
                | Action::Ignore { .. }
                | Action::Refresh { .. }
                | Action::Wait { .. }
                | Action::Stopped => {}
            },
            HubAction::Wait { .. } | HubAction::Stopped => {}
        }
    }
}

/// The name of a job, for the log.
const fn name(job: &HubAction) -> &'static str {
    match job {
        HubAction::Refresh { .. } => "refresh",
        HubAction::Wait { .. } => "wait",
        HubAction::Stopped => "stopped",
        HubAction::Worker { action, .. } => action.name(),
    }
}
