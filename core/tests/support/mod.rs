//! A bench for one worker: says what happened and when, and names what came of it.
#![expect(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]
#![expect(clippy::unwrap_used, reason = "a policy that is not sound fails the test")]
#![expect(unreachable_pub, reason = "a module of several test programs")]

pub mod noise;

use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, EntryId, Fault, Input, Instant, Outcome, Policy, Reply,
    TaskKey, TaskMeta, Worker,
};

pub struct Bench<const N: usize> {
    pub worker: Worker<N>,
    pub now: Instant,
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The default without jitter, so that times are exact.
pub fn exact() -> Policy {
    let mut policy = Policy::default();
    policy.failing.jitter = 0;
    policy.auth.jitter = 0;
    // The jitter of questions cannot be turned off; tests of other rules go without them.
    policy.ask_interval = None;
    policy
}

pub fn key(number: u128) -> TaskKey {
    TaskKey::from_u128(number)
}

pub fn failed(fault: Fault) -> Reply {
    Err(CallError::new(fault))
}

pub fn asked(fault: Fault, retry_after: Duration) -> Reply {
    Err(CallError { fault, retry_after: Some(retry_after) })
}

impl<const N: usize> Bench<N> {
    pub fn new(policy: Policy) -> Self {
        Self { worker: Worker::new(policy, 1).unwrap(), now: Instant::ZERO }
    }

    /// Lets time pass to this millisecond.
    pub fn at(&mut self, millis: u64) -> &mut Self {
        self.at_micros(millis * 1_000)
    }

    pub fn at_micros(&mut self, micros: u64) -> &mut Self {
        self.now = Instant::from_micros(micros);
        self
    }

    pub fn say(&mut self, input: Input) -> Action {
        self.worker.step(self.now, input)
    }

    pub fn tick(&mut self) -> Action {
        self.say(Input::Tick)
    }

    pub fn control(&mut self, control: Control) -> Action {
        self.say(Input::Control(control))
    }

    pub fn reply(&mut self, call: CallId, reply: Reply) -> Action {
        self.say(Input::Replied { call, reply })
    }

    pub fn ok(&mut self, call: CallId) -> Action {
        self.reply(call, Ok(Answer::Done))
    }

    pub fn token(&mut self, call: CallId, valid_for: Option<Duration>) -> Action {
        self.reply(call, Ok(Answer::Token { valid_for }))
    }

    pub fn lease(&mut self, call: CallId, task: u128, response_timeout: Option<Duration>) -> Action {
        self.say(Input::Leased { call, task: TaskMeta::new(key(task), response_timeout) })
    }

    /// A task arrives and is run.
    pub fn run(&mut self, call: CallId, task: u128, response_timeout: Option<Duration>) -> EntryId {
        match self.lease(call, task, response_timeout) {
            Action::Run { entry, key: of } if of == key(task) => entry,
            other => panic!("expected Run of {task}, got {other:?}"),
        }
    }

    pub fn finish(&mut self, entry: EntryId) -> Action {
        self.say(Input::Finished { entry, outcome: Outcome::Final })
    }

    pub fn give_way(&mut self, entry: EntryId, callback_after: Duration) -> Action {
        self.say(Input::Finished { entry, outcome: Outcome::Yield { callback_after } })
    }

    /// Ticks; the action must be a poll.
    pub fn polls(&mut self) -> (CallId, u16, Duration) {
        let action = self.tick();
        self.is_poll(action)
    }

    pub fn is_poll(&self, action: Action) -> (CallId, u16, Duration) {
        match action {
            Action::Poll { call, count, wait } => (call, count, wait),
            other => panic!("at {:?}: expected a poll, got {other:?}", self.now),
        }
    }

    /// A worker that has polled and holds this one task, whose code runs.
    pub fn running(policy: Policy, response_timeout: Option<Duration>) -> (Self, EntryId) {
        let mut bench = Self::new(policy);
        let (call, ..) = bench.polls();
        let entry = bench.run(call, 1, response_timeout);
        let _ = bench.ok(call);
        (bench, entry)
    }

    /// As [`Bench::running`], with room for more: a second poll is in flight.
    pub fn running_and_polling(policy: Policy) -> (Self, EntryId, CallId) {
        let mut bench = Self::new(policy);
        let (call, ..) = bench.polls();
        let entry = bench.run(call, 1, None);
        let next = bench.ok(call);
        let (poll, ..) = bench.is_poll(next);
        (bench, entry, poll)
    }

    /// Nothing is due before this microsecond, and this action then.
    pub fn only_at(&mut self, micros: u64) -> Action {
        self.at_micros(micros - 1);
        let early = self.tick();
        match early {
            Action::Wait { until: Some(until), .. } => {
                assert_eq!(until.as_micros(), micros, "the wait names the instant");
            }
            other => panic!("at {} µs, one before: expected a wait, got {other:?}", micros - 1),
        }
        self.at_micros(micros).tick()
    }
}

pub fn updated(action: Action) -> (CallId, u16, bool) {
    match action {
        Action::Update { call, attempt, take_next, .. } => (call, attempt, take_next),
        other => panic!("expected an update, got {other:?}"),
    }
}

pub fn extended(action: Action) -> CallId {
    match action {
        Action::Extend { call, .. } => call,
        other => panic!("expected an extension, got {other:?}"),
    }
}

pub fn refreshed(action: Action) -> CallId {
    match action {
        Action::Refresh { call } => call,
        other => panic!("expected a refresh, got {other:?}"),
    }
}

pub fn waits(action: Action) -> Option<Instant> {
    match action {
        Action::Wait { until, .. } => until,
        other => panic!("expected a wait, got {other:?}"),
    }
}
