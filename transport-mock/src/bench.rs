//! A machine with a clock, to talk to.

use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallId, Clock, Control, EntryId, Input, Instant, Outcome, Policy, PolicyError, Reply,
    Worker,
};

use crate::clock::ManualClock;
use crate::task::TaskBuilder;

/// A worker on a hand-driven clock: says what happened, and gives what comes of it.
///
/// ```
/// use std::time::Duration;
/// use downbeat_core::machine::{Instant, Policy, Why};
/// use downbeat_mock::{Bench, TaskBuilder, actions};
///
/// let mut bench = Bench::<4>::new(Policy::default(), 1).unwrap();
/// let (call, ..) = actions::poll(bench.tick());
/// let (entry, _) = actions::run(bench.lease(call, &TaskBuilder::new("greet", "t1").response_timeout(10)));
/// assert_eq!(actions::wait(bench.accept(call)), (Some(Instant::from_secs(8)), Why::Lease));
///
/// bench.clock().advance(Duration::from_secs(8));
/// let (_, extended) = actions::extend(bench.tick());
/// assert_eq!(extended, entry);
/// ```
#[derive(Clone, Debug)]
pub struct Bench<const N: usize> {
    worker: Worker<N>,
    clock: ManualClock,
}

impl<const N: usize> Bench<N> {
    /// Makes a worker and a clock that shows [`Instant::ZERO`].
    ///
    /// # Errors
    /// Names the policy's field that is out of bounds.
    pub fn new(policy: Policy, seed: u64) -> Result<Self, PolicyError> {
        Ok(Self { worker: Worker::new(policy, seed)?, clock: ManualClock::new() })
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The worker, to look at.
    #[must_use]
    pub const fn worker(&self) -> &Worker<N> {
        &self.worker
    }

    /// Tells the worker anything, now.
    pub fn say(&mut self, input: Input) -> Action {
        self.worker.step(self.clock.now(), input)
    }

    /// Asks for the next action.
    pub fn tick(&mut self) -> Action {
        self.say(Input::Tick)
    }

    /// A call brought a task.
    pub fn lease(&mut self, call: CallId, task: &TaskBuilder) -> Action {
        self.say(Input::Leased { call, task: task.meta() })
    }

    /// A call ended.
    pub fn reply(&mut self, call: CallId, reply: Reply) -> Action {
        self.say(Input::Replied { call, reply })
    }

    /// A call was accepted.
    pub fn accept(&mut self, call: CallId) -> Action {
        self.reply(call, Ok(Answer::Done))
    }

    /// The user's code ended for good.
    pub fn finish(&mut self, entry: EntryId) -> Action {
        self.say(Input::Finished { entry, outcome: Outcome::Final })
    }

    /// The user's code gives way: the task is to be delivered again.
    pub fn give_way(&mut self, entry: EntryId, callback_after: Duration) -> Action {
        self.say(Input::Finished { entry, outcome: Outcome::Yield { callback_after } })
    }

    /// Somebody outside decided something.
    pub fn control(&mut self, control: Control) -> Action {
        self.say(Input::Control(control))
    }

    /// Keeps asking until the worker waits or has stopped, and answers what it asked for until then and how long it
    /// waits (`None`: for an input, or for nothing).
    ///
    /// # Panics
    /// When it asks for more than the 4 N + 8 actions that S14 allows.
    #[track_caller]
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is asked for is collected")]
    pub fn settle(&mut self) -> (Vec<Action>, Option<Instant>) {
        let mut actions = Vec::new();
        loop {
            match self.tick() {
                Action::Wait { until, .. } => return (actions, until),
                Action::Stopped => return (actions, None),
                action => actions.push(action),
            }
            assert!(actions.len() <= 4 * N + 8, "the worker does not come to rest: {actions:?}");
        }
    }
}
