//! The scheduler: the hub under one lock, the jobs that it has asked for, and who waits for more.
//!
//! The hub is stepped until it has nothing more to ask for; what it asks for are jobs. The threads that take them are
//! in `thread.rs`.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, Thread, ThreadId};
use std::time::Duration;

use downbeat_core::machine::{Action, Answer, CallError, HubAction, HubInput, Instant};

use super::slots::WorkerSlots;
use crate::context::lock;
use crate::hub::BoxedHub;
use crate::record::Recorder;

/// The hub, and the threads that perform what it asks for.
pub(crate) struct Scheduler {
    pub(super) engine: Mutex<Engine>,
    /// The hub has stopped, or a thread has put its last job down.
    pub(super) ended: Condvar,
}

/// What the one lock guards.
pub(super) struct Engine {
    pub(super) hub: BoxedHub,
    /// Notes each step, where somebody wants a record.
    recorder: Option<Recorder>,
    pub(super) jobs: VecDeque<HubAction>,
    /// When the hub wants a tick.
    pub(super) until: Option<Instant>,
    pub(super) stopped: bool,
    /// Waits for the deadline that is noted here.
    pub(super) leader: Option<(Thread, Instant)>,
    /// Wait to be woken; the last to come is the first to go.
    pub(super) idle: Vec<Thread>,
    /// Woken or started, and not arrived at the lock yet.
    pub(super) coming: usize,
    pub(super) threads: usize,
    pub(super) most_threads: usize,
    /// Jobs in hand that a runner must not end without.
    pub(super) in_hand: usize,
}

impl Engine {
    /// Steps the hub until it has nothing more to ask for now.
    pub(super) fn tell(&mut self, workers: &[WorkerSlots], now: Instant, input: HubInput) {
        let mut action = self.step(now, input);
        while self.note(workers, action) {
            action = self.step(now, HubInput::Tick);
        }
    }

    /// One step of the hub.
    pub(super) fn step(&mut self, now: Instant, input: HubInput) -> HubAction {
        match &mut self.recorder {
            Some(recorder) => recorder.step(&mut self.hub, now, input),
            None => self.hub.step(now, input),
        }
    }

    /// Files an action; false: the hub waits.
    pub(super) fn note(&mut self, workers: &[WorkerSlots], action: HubAction) -> bool {
        if let HubAction::Worker { worker, action: Action::Discard { entry, .. } } = action
            && let Some(slots) = workers.get(usize::from(worker))
        {
            slots.set_aside(entry);
        }
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
    pub(super) fn arrive(&mut self, me: ThreadId) {
        if self.leader.as_ref().is_some_and(|(thread, _)| thread.id() == me) {
            self.leader = None;
        } else if let Some(at) = self.idle.iter().position(|thread| thread.id() == me) {
            self.idle.remove(at);
        } else {
            self.coming = self.coming.saturating_sub(1);
        }
    }

    /// Files a thread that has nothing to do, and answers how long it may sleep; `None`: until woken.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Duration> {
        let until = self.until.unwrap_or(Instant::FAR_FUTURE);
        if self.leader.as_ref().is_some_and(|(_, at)| *at <= until) {
            self.idle.push(thread::current());
            return None;
        }
        // An earlier leader waits for a later time: it may still be woken for a job.
        let earlier = self.leader.replace((thread::current(), until));
        self.idle.extend(earlier.map(|(thread, _)| thread));
        (until < Instant::FAR_FUTURE).then(|| until.saturating_duration_since(now))
    }

    /// How many threads must be there besides the one that is about to perform: one for each job, one to lead.
    pub(super) fn missing(&self, taken: usize) -> usize {
        let jobs = self.jobs.len().saturating_sub(taken);
        let leader = usize::from(self.leader.is_none() && !self.stopped);
        (jobs + leader).saturating_sub(self.coming)
    }
}

impl Scheduler {
    pub(crate) fn new(hub: BoxedHub, recorder: Option<Recorder>, most_threads: usize) -> Self {
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
    pub(crate) fn look<T>(&self, look: impl FnOnce(&BoxedHub) -> T) -> T {
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
