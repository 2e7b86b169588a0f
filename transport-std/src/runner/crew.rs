//! The threads: interchangeable performers of one hub.
//!
//! The hub is stepped under one lock until it has nothing more to ask for; what it asks for are jobs. A thread takes a
//! job, performs it outside the lock, and tells the hub what came of it. One idle thread, the leader, waits for the
//! hub's deadline; the others wait to be woken. A thread that takes a job sees to it that somebody is there for the
//! other jobs and for the deadline, and starts a thread where nobody is.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread, ThreadId};
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, Clock, Entry, Fault, Hub, HubAction, HubInput, Input, Instant, Machine, Member,
};

use super::perform::Performer;
use super::shared::Shared;
use crate::context::lock;
use crate::metrics::Name;
use crate::record::Recorder;

/// How long a thread waits after an unexpected error before it goes on.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// The hub's memory: boxed, so that any number of workers and places will do.
pub(crate) type StdMachine = Machine<Box<[Entry]>>;
/// A worker in the hub.
pub(crate) type StdMember = Member<Box<[Entry]>>;
/// The hub of a runner.
pub(crate) type StdHub = Hub<Box<[StdMember]>, Box<[Entry]>>;

/// The hub and its crew.
pub(crate) struct Crew {
    engine: Mutex<Engine>,
    /// The hub has stopped, or a thread has put its last job down.
    ended: Condvar,
}

/// What the one lock guards.
struct Engine {
    hub: StdHub,
    /// Notes each step, where somebody wants a record.
    recorder: Option<Recorder>,
    jobs: VecDeque<HubAction>,
    /// When the hub wants a tick.
    until: Option<Instant>,
    stopped: bool,
    /// Waits for the deadline that is noted here.
    leader: Option<(Thread, Instant)>,
    /// Wait to be woken; the last to come is the first to go.
    idle: Vec<Thread>,
    /// Woken or started, and not arrived at the lock yet.
    coming: usize,
    threads: usize,
    most_threads: usize,
    /// Jobs in hand that a runner must not end without.
    in_hand: usize,
}

impl Engine {
    /// Steps the hub until it has nothing more to ask for now.
    fn tell(&mut self, now: Instant, input: HubInput) {
        let mut action = self.step(now, input);
        while self.note(action) {
            action = self.step(now, HubInput::Tick);
        }
    }

    /// One step of the hub.
    fn step(&mut self, now: Instant, input: HubInput) -> HubAction {
        match &mut self.recorder {
            Some(recorder) => recorder.step(&mut self.hub, now, input),
            None => self.hub.step(now, input),
        }
    }

    /// Files an action; false: the hub waits.
    fn note(&mut self, action: HubAction) -> bool {
        match action {
            HubAction::Wait { until, .. } => {
                self.until = until;
                false
            }
            HubAction::Stopped => {
                self.stopped = true;
                false
            }
            HubAction::Worker { .. } | HubAction::Refresh { .. } => {
                self.jobs.push_back(action);
                true
            }
        }
    }

    /// Takes a thread off the lists of those that wait; false: somebody else has done so, to wake it.
    fn arrive(&mut self, me: ThreadId) {
        if self.leader.as_ref().is_some_and(|(thread, _)| thread.id() == me) {
            self.leader = None;
        } else if let Some(at) = self.idle.iter().position(|thread| thread.id() == me) {
            self.idle.remove(at);
        } else {
            self.coming = self.coming.saturating_sub(1);
        }
    }

    /// Files a thread that has nothing to do, and answers how long it may sleep; `None`: until woken.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        let until = self.until.unwrap_or(Instant::FAR_FUTURE);
        if self.leader.as_ref().is_some_and(|(_, at)| *at <= until) {
            self.idle.push(thread::current());
            return None;
        }
        // An earlier leader waits for a later time: it may still be woken for a job.
        let earlier = self.leader.replace((thread::current(), until));
        self.idle.extend(earlier.map(|(thread, _)| thread));
        (until < Instant::FAR_FUTURE).then(|| now.until(until))
    }

    /// How many threads must be there besides the one that is about to perform: one for each job, one to lead.
    fn missing(&self, taken: usize) -> usize {
        let jobs = self.jobs.len().saturating_sub(taken);
        let leader = usize::from(self.leader.is_none() && !self.stopped);
        (jobs + leader).saturating_sub(self.coming)
    }
}

impl Crew {
    pub(crate) fn new(hub: StdHub, recorder: Option<Recorder>, most_threads: usize) -> Self {
        let engine = Engine {
            hub,
            recorder,
            jobs: VecDeque::new(),
            until: Some(Instant::ZERO),
            stopped: false,
            leader: None,
            idle: Vec::new(),
            coming: 0,
            threads: 0,
            most_threads,
            in_hand: 0,
        };
        Self { engine: Mutex::new(engine), ended: Condvar::new() }
    }

    /// Looks at the hub.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&StdHub) -> T) -> T {
        look(&lock(&self.engine).hub)
    }

    /// Ends the record, if there is one, and waits until it is written.
    pub(crate) fn end_record(&self) {
        let recorder = lock(&self.engine).recorder.take();
        recorder.into_iter().for_each(Recorder::finish);
    }

    /// Waits until the hub has stopped and every result is where it is to be. Neither a call that hangs nor user code
    /// that never ends is waited for.
    pub(crate) fn wait_ended(&self) {
        let mut engine = lock(&self.engine);
        while !(engine.stopped && engine.jobs.is_empty() && engine.in_hand == 0) {
            engine = self.ended.wait(engine).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        let engine = lock(&self.engine);
        engine.stopped && engine.jobs.is_empty() && engine.in_hand == 0
    }
}

impl Shared {
    /// Tells the hub what happened. What it asks for becomes jobs, the first of them for the calling performer.
    pub(crate) fn tell(self: &Arc<Self>, input: HubInput) {
        self.tell_after(Vec::new(), input);
    }

    /// As [`Shared::tell`], with jobs that were put off until now.
    pub(crate) fn tell_after(self: &Arc<Self>, put_off: Vec<HubAction>, input: HubInput) {
        let mut engine = lock(&self.crew.engine);
        engine.jobs.extend(put_off);
        engine.tell(self.clock.now(), input);
        self.staff(&mut engine, 1);
    }

    /// Tells the hub something from a thread that is no performer.
    pub(crate) fn tell_from_outside(self: &Arc<Self>, input: HubInput) {
        let mut engine = lock(&self.crew.engine);
        engine.tell(self.clock.now(), input);
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
        keep: impl FnOnce(Action) -> Kept,
    ) -> Option<HubAction> {
        let mut engine = lock(&self.crew.engine);
        let action = engine.step(self.clock.now(), HubInput::Worker { worker, input });
        let kept = match action {
            HubAction::Worker { worker: of, action: what } if of == worker => keep(what),
            HubAction::Worker { .. }
            | HubAction::Refresh { .. }
            | HubAction::Wait { .. }
            | HubAction::Stopped => Kept::Job,
        };
        match kept {
            Kept::Dropped => None,
            Kept::Later => Some(action),
            Kept::Job => {
                engine.note(action);
                // The calling thread takes one of them when it has read the answer to its end.
                self.staff(&mut engine, 1);
                None
            }
        }
    }

    /// Tells the hub something while there are no threads yet.
    pub(crate) fn tell_before_start(&self, input: HubInput) {
        lock(&self.crew.engine).tell(self.clock.now(), input);
    }

    /// Starts the first thread.
    pub(crate) fn start_crew(self: &Arc<Self>) -> std::io::Result<()> {
        let mut engine = lock(&self.crew.engine);
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
        let mut engine = lock(&self.crew.engine);
        match done {
            Some(job) => engine.in_hand = engine.in_hand.saturating_sub(usize::from(must_be_done(&job))),
            None => engine.coming = engine.coming.saturating_sub(1),
        }
        loop {
            if engine.jobs.is_empty() && !engine.stopped {
                engine.tell(self.clock.now(), HubInput::Tick);
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
        self.crew.ended.notify_all();
    }

    fn rest<'e>(&'e self, mut engine: MutexGuard<'e, Engine>, me: ThreadId) -> MutexGuard<'e, Engine> {
        let sleep = engine.rest(self.clock.now());
        drop(engine);
        match sleep {
            Some(sleep) => thread::park_timeout(sleep),
            None => thread::park(),
        }
        let mut engine = lock(&self.crew.engine);
        engine.arrive(me);
        engine
    }
}

/// What became of the answer to a lease.
pub(crate) enum Kept {
    /// It is a job now.
    Job,
    /// Nothing is to be done.
    Dropped,
    /// It is to be done when the answer has been read to its end.
    Later,
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
    if shared.crew.has_ended() {
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
                | Action::Refuse { call, .. }
                | Action::Spill { call, .. } => {
                    self.tell(HubInput::Worker { worker, input: Input::Replied { call, reply } });
                }
                Action::Run { slot, .. } | Action::Recall { slot } => self.finish_broken(worker, slot),
                Action::Discard { .. }
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

/// `Ok` for the machine.
pub(crate) const DONE: Result<Answer, CallError> = Ok(Answer::Done);
