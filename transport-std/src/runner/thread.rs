//! The threads: interchangeable performers of what the scheduler has.
//!
//! A thread takes a job, performs it outside the lock, and tells the hub what came of it. One idle thread, the leader,
//! waits for the hub's deadline; the others wait to be woken. A thread that takes a job sees to it that somebody is there
//! for the other jobs and for the deadline, and starts a thread where nobody is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, Thread, ThreadId};
use std::time::Duration;

use downbeat_core::machine::{
    Action, CallError, Clock, Fault, HubAction, HubInput, Input, Instant, RecallReason,
};

use super::performer::Performer;
use super::scheduler::{Engine, LeaseReply};
use super::shared::Shared;
use crate::context::lock;
use crate::metrics::Name;

/// How long a thread waits after an unexpected error before it goes on.
const AFTER_PANIC: Duration = Duration::from_secs(1);

impl Shared {
    /// Tells the hub what happened. What it asks for becomes jobs, the first of them for the calling performer.
    pub(crate) fn tell(self: &Arc<Self>, input: HubInput) {
        self.tell_after(Vec::new(), input);
    }

    /// As [`Shared::tell`], with jobs that were put off until now.
    pub(crate) fn tell_after(self: &Arc<Self>, put_off: Vec<HubAction>, input: HubInput) {
        let mut engine = lock(&self.scheduler.engine);
        engine.jobs.extend(put_off);
        engine.tell(&self.workers, self.clock.now(), input);
        self.staff(&mut engine, 1);
    }

    /// As [`Shared::tell`], unless `still` says that it is not so any more; whether it was told. Nothing can come between
    /// the two: what `still` looks at changes while the hub is stepped.
    pub(crate) fn tell_if(self: &Arc<Self>, still: impl FnOnce() -> bool, input: HubInput) -> bool {
        let mut engine = lock(&self.scheduler.engine);
        if !still() {
            return false;
        }
        engine.tell(&self.workers, self.clock.now(), input);
        self.staff(&mut engine, 1);
        true
    }

    /// Tells the hub something from a thread that is no performer.
    pub(crate) fn tell_from_outside(self: &Arc<Self>, input: HubInput) {
        let mut engine = lock(&self.scheduler.engine);
        engine.tell(&self.workers, self.clock.now(), input);
        self.staff(&mut engine, 0);
        if engine.stopped {
            self.dismiss(&mut engine);
        }
    }

    /// Tells the hub of a task. `keep` is shown what is to be done with that very task, and files its payload before
    /// anybody can see the job. An action that must wait for the end of the answer is given back.
    pub(crate) fn lease(
        self: &Arc<Self>,
        worker: u16,
        input: Input,
        keep: impl FnOnce(Action) -> LeaseReply,
    ) -> Option<HubAction> {
        let mut engine = lock(&self.scheduler.engine);
        let action = engine.step(self.clock.now(), HubInput::Worker { worker, input });
        let kept = match action {
            HubAction::Worker { worker: of, action: what } if of == worker => keep(what),
            HubAction::Worker { .. }
            | HubAction::Refresh { .. }
            | HubAction::Wait { .. }
            | HubAction::Stopped => LeaseReply::Job,
        };
        match kept {
            LeaseReply::Dropped => None,
            LeaseReply::Later => Some(action),
            LeaseReply::Job => {
                engine.note(&self.workers, action);
                // The calling thread takes one of them when it has read the answer to its end.
                self.staff(&mut engine, 1);
                None
            }
        }
    }

    /// Tells the hub something while there are no threads yet.
    pub(crate) fn tell_before_start(&self, input: HubInput) {
        lock(&self.scheduler.engine).tell(&self.workers, self.clock.now(), input);
    }

    /// Starts the first thread.
    pub(crate) fn start_threads(self: &Arc<Self>) -> std::io::Result<()> {
        let mut engine = lock(&self.scheduler.engine);
        self.start_thread(&mut engine)
    }

    fn start_thread(self: &Arc<Self>, engine: &mut Engine) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        let name = format!("downbeat-{}", engine.threads);
        thread::Builder::new().name(name).spawn(move || perform_all(&shared))?;
        engine.threads += 1;
        engine.coming += 1;
        Ok(())
    }

    /// Sees to it that jobs and deadline have somebody; the caller takes `taken` jobs itself.
    fn staff(self: &Arc<Self>, engine: &mut Engine, taken: usize) {
        let until = engine.until.unwrap_or(Instant::FAR_FUTURE);
        if taken == 0 && engine.leader.as_ref().is_some_and(|(_, at)| *at > until) {
            // It sleeps for too long.
            let leader = engine.leader.take().map(|(thread, _)| thread);
            engine.coming += 1;
            leader.iter().for_each(Thread::unpark);
        }
        while engine.missing(taken) > 0 {
            if let Some(thread) = engine.idle.pop() {
                engine.coming += 1;
                thread.unpark();
            } else if engine.jobs.len() > taken
                && let Some((thread, _)) = engine.leader.take()
            {
                engine.coming += 1;
                thread.unpark();
            } else if engine.threads >= engine.most_threads {
                return;
            } else if let Err(cause) = self.start_thread(engine) {
                tracing::warn!(%cause, threads = engine.threads, "a thread could not be started; going on with fewer");
                return;
            }
        }
    }

    /// Waits for a job; `None`: there will be none.
    fn next_job(self: &Arc<Self>, done: Option<HubAction>) -> Option<HubAction> {
        let me = thread::current().id();
        let mut engine = lock(&self.scheduler.engine);
        match done {
            Some(job) => engine.in_hand = engine.in_hand.saturating_sub(usize::from(must_be_done(&job))),
            None => engine.coming = engine.coming.saturating_sub(1),
        }
        loop {
            if engine.jobs.is_empty() && !engine.stopped {
                engine.tell(&self.workers, self.clock.now(), HubInput::Tick);
            }
            if let Some(job) = engine.jobs.pop_front() {
                engine.in_hand += usize::from(must_be_done(&job));
                self.staff(&mut engine, 0);
                return Some(job);
            }
            if engine.stopped {
                engine.threads = engine.threads.saturating_sub(1);
                self.dismiss(&mut engine);
                return None;
            }
            engine = self.rest(engine, me);
        }
    }

    /// Wakes all who wait for something: there will be nothing.
    fn dismiss(&self, engine: &mut Engine) {
        let leader = engine.leader.take().map(|(thread, _)| thread);
        engine.idle.drain(..).chain(leader).for_each(|thread| thread.unpark());
        self.scheduler.ended.notify_all();
    }

    fn rest<'e>(&'e self, mut engine: MutexGuard<'e, Engine>, me: ThreadId) -> MutexGuard<'e, Engine> {
        let sleep = engine.rest(self.clock.now());
        drop(engine);
        match sleep {
            Some(sleep) => thread::park_timeout(sleep),
            None => thread::park(),
        }
        let mut engine = lock(&self.scheduler.engine);
        engine.arrive(me);
        engine
    }
}

/// A thread's life.
fn perform_all(shared: &Arc<Shared>) {
    let mut performer = Performer::new(Arc::clone(shared));
    let mut done = None;
    while let Some(job) = shared.next_job(done.take()) {
        if catch_unwind(AssertUnwindSafe(|| performer.perform(job))).is_err() {
            shared.measure(|metrics| metrics.add(Name::UncaughtException, &["Panic"], 1));
            tracing::error!(job = name(&job), "an unexpected error in the runner; it goes on after a second");
            shared.wait_over(AFTER_PANIC);
            performer = Performer::new(Arc::clone(shared));
            shared.give_up_job(job);
        }
        done = Some(job);
    }
    // Also where nobody joins the runner: the store, the admin endpoint and the signals are let go.
    if shared.scheduler.has_ended() {
        shared.declare_over();
    }
}

impl Shared {
    /// Answers a job that ended in an unexpected error, so that nothing stays open for ever.
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

/// What is still done when the hub has stopped: it keeps results. A call that is under way then (the runner was
/// aborted) can bring nothing any more, and the user's code may never end.
const fn must_be_done(job: &HubAction) -> bool {
    matches!(job, HubAction::Worker { action: Action::Spill { .. } | Action::Discard { .. }, .. })
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
