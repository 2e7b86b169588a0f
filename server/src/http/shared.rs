//! What the connections share: the conductor behind a lock, the polls that wait, the alarm of real time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use downbeat_core::machine::{Instant, TaskKey};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::Options;
use super::clock::Clock;
use super::conductor::{Conductor, Rules};
use super::faults::Faults;
use super::stats::{Counters, Stats};

/// The tasks that end a poll that waits.
pub(super) type Waiting = oneshot::Receiver<Vec<TaskKey>>;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) address: SocketAddr,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    /// Request threads of the real server (R-HTTP-4).
    pub(super) threads: Semaphore,
    pub(super) stopping: watch::Sender<bool>,
    pub(super) seed: u64,
    state: Mutex<State>,
    calls: AtomicU64,
    /// When the alarm is set for, in microseconds.
    alarm: AtomicU64,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    conductor: Conductor,
    waiting: BTreeMap<u64, oneshot::Sender<Vec<TaskKey>>>,
}

impl Shared {
    pub(super) fn new(options: Options, address: SocketAddr) -> Self {
        let clock = Clock::start();
        let seed = options.seed.unwrap_or_else(|| {
            let process = u64::from(std::process::id()) << 32 | u64::from(address.port());
            crate::random::mix(clock.now().as_micros() ^ process)
        });
        let conductor = Conductor::new(Rules {
            seed,
            backend: options.backend,
            token_life: options.auth.as_ref().map(|auth| auth.token_life),
            update_v2: options.update_v2,
            input_inline_max: options.input_inline_max,
            output_inline_max: options.output_inline_max,
            output_max: options.output_max,
            ended_kept: options.ended_kept,
            generation: options.generation,
            refuse_nul: options.refuse_nul,
        });
        Self {
            faults: Faults::new(clock, seed),
            counters: Counters::new(clock),
            threads: Semaphore::new(options.threads),
            stopping: watch::Sender::new(false),
            state: Mutex::new(State { conductor, waiting: BTreeMap::new() }),
            calls: AtomicU64::new(0),
            alarm: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            options,
            address,
            clock,
            seed,
        }
    }

    /// A number for a call.
    pub(super) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets something happen at the conductor now, and what follows from it at once: polls that waited end.
    pub(super) fn with<T>(&self, then: impl FnOnce(&mut Conductor, Instant) -> T) -> T {
        let mut state = self.lock();
        let now = self.clock.now();
        state.settle(now);
        let result = then(&mut state.conductor, now);
        state.settle(now);
        self.set_alarm(&state);
        result
    }

    /// Waits for the end of a poll that the conductor has parked.
    pub(super) fn wait_for(&self, call: u64, poll: impl FnOnce(&mut Conductor, Instant) -> Parked) -> Polled {
        let mut state = self.lock();
        let now = self.clock.now();
        state.settle(now);
        let polled = match poll(&mut state.conductor, now) {
            Ok(Some(tasks)) => Polled::Tasks(tasks),
            Ok(None) => {
                let (sender, receiver) = oneshot::channel();
                state.waiting.insert(call, sender);
                Polled::Waits(receiver)
            }
            Err(refused) => Polled::Refused(refused),
        };
        state.settle(now);
        self.set_alarm(&state);
        polled
    }

    /// Real time goes on: leases lapse, polls end. Runs until the server stops.
    pub(super) async fn keep_time(&self) {
        let mut stopping = self.stopping.subscribe();
        loop {
            let next = {
                let mut state = self.lock();
                state.settle(self.clock.now());
                let next = state.conductor.next_deadline().unwrap_or(Instant::FAR_FUTURE);
                self.alarm.store(next.as_micros(), Ordering::Relaxed);
                next
            };
            let wait =
                next.saturating_duration_since(self.clock.now()).min(std::time::Duration::from_secs(3_600));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Stops: no more connections, and polls that wait end with nothing.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
        self.lock().waiting.clear();
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    pub(super) fn stats(&self) -> Stats {
        let (tasks, workflows) = self.with(|conductor, _| (conductor.counts(), conductor.workflow_counts()));
        self.counters.stats(tasks, workflows)
    }

    fn set_alarm(&self, state: &State) {
        let next = state.conductor.next_deadline().unwrap_or(Instant::FAR_FUTURE);
        if next.as_micros() < self.alarm.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a conductor says of a poll: tasks, or that it waits.
pub(super) type Parked = Result<Option<Vec<TaskKey>>, super::Refused>;

/// What becomes of a poll.
#[derive(Debug)]
pub(super) enum Polled {
    Tasks(Vec<TaskKey>),
    Waits(Waiting),
    Refused(super::Refused),
}

impl State {
    /// Ends the polls that have waited long enough. Whoever has gone is given tasks all the same (R-POLL-1).
    fn settle(&mut self, now: Instant) {
        if self.conductor.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        for (call, tasks) in self.conductor.advance(now) {
            if let Some(waiting) = self.waiting.remove(&call) {
                let _ = waiting.send(tasks);
            }
        }
    }
}
