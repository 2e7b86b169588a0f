//! The scheduler: a hub under one lock, the jobs that it has asked for, and the threads that wait for more.
//!
//! A thread takes a job, performs it outside the lock, and tells the hub what came of it. One idle thread, the leader,
//! waits for the hub's deadline, and the others wait to be woken. A thread that takes a job sees to it that somebody is
//! there for the other jobs and for the deadline, and starts a thread if nobody is.
//!
//! This file names no lock and no thread of its own: they come from `sync`, so that tests/schedules can compile it with
//! those of an explorer.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use downbeat_core::machine::Instant;

use super::sync::{self, Condvar, Mutex, MutexGuard, Thread, ThreadId, lock};

/// What the scheduler's lock guards: something that is told what happened, and asks for jobs.
pub(crate) trait Core: Send + 'static {
    /// What it is told.
    type Input;
    /// What it asks for.
    type Job: Copy + Send;

    /// A popped sleeper is not woken: a mistake for the explorer to find, like the next two.
    const WAKES_NOBODY: bool = false;
    /// A job is looked at under the lock, and taken under another.
    const TAKES_LATE: bool = false;
    /// The end is looked for outside the lock that its news comes under.
    const LOOKS_UNLOCKED: bool = false;

    /// Tells it of something, or that time has passed.
    fn step(&mut self, now: Instant, input: Option<Self::Input>) -> Step<Self::Job>;

    /// Whether nothing ends without this job.
    fn must_be_done(job: &Self::Job) -> bool;
}

/// What a step comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<J> {
    /// There is something to do.
    Job(J),
    /// Nothing, until then at the latest; `None`: until it is told of something.
    Wait(Option<Instant>),
    /// Nothing any more.
    Stopped,
}

/// Who owns a scheduler: it has a clock, and knows what a thread does.
pub(crate) trait Owner: Clone + Send + 'static {
    type Core: Core;

    fn scheduler(&self) -> &Scheduler<Self::Core>;

    fn now(&self) -> Instant;

    /// A thread's life: it performs jobs until [`next_job`] has none.
    fn perform_all(self);
}

/// What an owner's scheduler is told.
type InputOf<O> = <<O as Owner>::Core as Core>::Input;
/// What it asks for.
type JobOf<O> = <<O as Owner>::Core as Core>::Job;

/// The hub, and the threads that perform what it asks for.
pub(crate) struct Scheduler<C: Core> {
    engine: Mutex<Engine<C>>,
    /// The hub has stopped, or a thread has put its last job down.
    ended: Condvar,
}

/// What the one lock guards.
struct Engine<C: Core> {
    core: C,
    jobs: VecDeque<C::Job>,
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

impl<C: Core> Engine<C> {
    /// Steps the hub until it has nothing more to ask for now.
    fn tell(&mut self, now: Instant, input: Option<C::Input>) {
        let mut step = self.core.step(now, input);
        while self.note(step) {
            step = self.core.step(now, None);
        }
    }

    /// Files what a step came to; false: the hub waits.
    fn note(&mut self, step: Step<C::Job>) -> bool {
        match step {
            Step::Job(job) => {
                self.jobs.push_back(job);
                true
            }
            Step::Wait(until) => {
                self.until = until;
                false
            }
            Step::Stopped => {
                self.stopped = true;
                false
            }
        }
    }

    /// Takes a thread off the lists of those that wait, or off those that were woken.
    fn arrive(&mut self, me: ThreadId) {
        if self.leader.as_ref().is_some_and(|(thread, _)| thread.id() == me) {
            self.leader = None;
        } else if let Some(at) = self.idle.iter().position(|thread| thread.id() == me) {
            self.idle.remove(at);
        } else {
            self.coming = self.coming.saturating_sub(1);
        }
    }

    /// Files a thread that has nothing to do. Returns for how long it may sleep, or `None` for until it is woken.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        let until = self.until.unwrap_or(Instant::FAR_FUTURE);
        if self.leader.as_ref().is_some_and(|(_, at)| *at <= until) {
            self.idle.push(sync::current());
            return None;
        }
        // An earlier leader waits for a later time: it may still be woken for a job.
        let earlier = self.leader.replace((sync::current(), until));
        self.idle.extend(earlier.map(|(thread, _)| thread));
        (until < Instant::FAR_FUTURE).then(|| until.saturating_duration_since(now))
    }

    /// Returns how many threads must be there besides the one that is about to perform: one for each job, one to lead.
    fn missing(&self, taken: usize) -> usize {
        let jobs = self.jobs.len().saturating_sub(taken);
        let leader = usize::from(self.leader.is_none() && !self.stopped);
        (jobs + leader).saturating_sub(self.coming)
    }

    fn has_ended(&self) -> bool {
        self.stopped && self.jobs.is_empty() && self.in_hand == 0
    }

    fn wake(&mut self, thread: &Thread) {
        self.coming += 1;
        if !C::WAKES_NOBODY {
            thread.unpark();
        }
    }
}

impl<C: Core> Scheduler<C> {
    pub(crate) fn new(core: C, most_threads: usize) -> Self {
        let engine = Engine {
            core,
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
    pub(crate) fn look_at_core<T>(&self, look: impl FnOnce(&mut C) -> T) -> T {
        look(&mut lock(&self.engine).core)
    }

    /// Waits until the hub has stopped and every result is where it is to be. Neither a call that hangs nor user code
    /// that never ends is waited for.
    pub(crate) fn wait_ended(&self) {
        if C::LOOKS_UNLOCKED {
            while !self.has_ended() {
                drop(sync::wait(&self.ended, lock(&self.engine)));
            }
            return;
        }
        let mut engine = lock(&self.engine);
        while !engine.has_ended() {
            engine = sync::wait(&self.ended, engine);
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.engine).has_ended()
    }

    /// Tells the hub something while there are no threads yet.
    pub(crate) fn tell_before_start(&self, now: Instant, input: C::Input) {
        lock(&self.engine).tell(now, Some(input));
    }

    /// Wakes all who wait for something: there will be nothing.
    fn dismiss(&self, engine: &mut Engine<C>) {
        let leader = engine.leader.take().map(|(thread, _)| thread);
        engine.idle.drain(..).chain(leader).for_each(|thread| thread.unpark());
        self.ended.notify_all();
    }
}

/// Tells the hub what happened, unless `still` says that it is not so any more; whether it was told. Nothing can come
/// between the two: what `still` looks at changes while the hub is stepped. What the hub asks for becomes jobs after those
/// that were put off, the first of them for the calling performer.
pub(crate) fn tell<O: Owner>(
    owner: &O,
    put_off: Vec<JobOf<O>>,
    still: impl FnOnce() -> bool,
    input: InputOf<O>,
) -> bool {
    let mut engine = lock(&owner.scheduler().engine);
    if !still() {
        return false;
    }
    engine.jobs.extend(put_off);
    engine.tell(owner.now(), Some(input));
    staff(owner, &mut engine, 1);
    true
}

/// Tells the hub something from a thread that is no performer.
pub(crate) fn tell_from_outside<O: Owner>(owner: &O, input: InputOf<O>) {
    let scheduler = owner.scheduler();
    let mut engine = lock(&scheduler.engine);
    engine.tell(owner.now(), Some(input));
    staff(owner, &mut engine, 0);
    if engine.stopped {
        scheduler.dismiss(&mut engine);
    }
}

/// Has the hub make one step. `keep` is shown what it comes to before anybody else can see it; only what it returns is filed.
/// The calling thread takes one of the jobs later.
pub(crate) fn step_once<O: Owner>(
    owner: &O,
    input: InputOf<O>,
    keep: impl FnOnce(Step<JobOf<O>>) -> Option<Step<JobOf<O>>>,
) {
    let mut engine = lock(&owner.scheduler().engine);
    let step = engine.core.step(owner.now(), Some(input));
    if let Some(step) = keep(step) {
        engine.note(step);
        staff(owner, &mut engine, 1);
    }
}

/// Starts the first thread.
pub(crate) fn start_threads<O: Owner>(owner: &O) -> io::Result<()> {
    start_thread(owner, &mut lock(&owner.scheduler().engine))
}

fn start_thread<O: Owner>(owner: &O, engine: &mut Engine<O::Core>) -> io::Result<()> {
    let (name, thread) = (format!("downbeat-{}", engine.threads), owner.clone());
    sync::spawn(name, move || thread.perform_all())?;
    engine.threads += 1;
    engine.coming += 1;
    Ok(())
}

/// Sees to it that jobs and deadline have somebody; the caller takes `taken` jobs itself.
fn staff<O: Owner>(owner: &O, engine: &mut Engine<O::Core>, taken: usize) {
    let until = engine.until.unwrap_or(Instant::FAR_FUTURE);
    if taken == 0 && engine.leader.as_ref().is_some_and(|(_, at)| *at > until) {
        // It sleeps for too long.
        if let Some((leader, _)) = engine.leader.take() {
            engine.wake(&leader);
        }
    }
    while engine.missing(taken) > 0 {
        if let Some(thread) = engine.idle.pop() {
            engine.wake(&thread);
        } else if engine.jobs.len() > taken
            && let Some((thread, _)) = engine.leader.take()
        {
            engine.wake(&thread);
        } else if engine.threads >= engine.most_threads {
            return;
        } else if let Err(cause) = start_thread(owner, engine) {
            tracing::warn!(%cause, threads = engine.threads, "a thread could not be started; going on with fewer");
            return;
        }
    }
}

/// Waits for a job, after the one that was `done`; `None`: there will be none.
pub(crate) fn next_job<O: Owner>(owner: &O, done: Option<JobOf<O>>) -> Option<JobOf<O>> {
    let scheduler = owner.scheduler();
    let mut engine = lock(&scheduler.engine);
    match done {
        Some(job) => engine.in_hand = engine.in_hand.saturating_sub(usize::from(O::Core::must_be_done(&job))),
        None => engine.coming = engine.coming.saturating_sub(1),
    }
    loop {
        if engine.jobs.is_empty() && !engine.stopped {
            engine.tell(owner.now(), None);
        }
        if O::Core::TAKES_LATE
            && let Some(job) = engine.jobs.front().copied()
        {
            drop(engine);
            engine = lock(&scheduler.engine);
            engine.jobs.pop_front();
            staff(owner, &mut engine, 0);
            return Some(job);
        }
        if let Some(job) = engine.jobs.pop_front() {
            engine.in_hand += usize::from(O::Core::must_be_done(&job));
            staff(owner, &mut engine, 0);
            return Some(job);
        }
        if engine.stopped {
            engine.threads = engine.threads.saturating_sub(1);
            scheduler.dismiss(&mut engine);
            return None;
        }
        engine = rest(owner, engine);
    }
}

fn rest<'e, O: Owner>(
    owner: &'e O,
    mut engine: MutexGuard<'e, Engine<O::Core>>,
) -> MutexGuard<'e, Engine<O::Core>> {
    let sleep = engine.rest(owner.now());
    drop(engine);
    match sleep {
        Some(sleep) => sync::park_until(sleep),
        None => sync::park(),
    }
    let mut engine = lock(&owner.scheduler().engine);
    engine.arrive(sync::current().id());
    engine
}
