//! Every sequence of inputs up to a depth, for a worker with two entries, under all oracles that need no server.
//!
//! An enumeration of our own (docs/decisions/0020): what may come next depends on what the machine has asked for.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a policy of the test's own is sound, and any other action is performed"
)]

use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, Entry, EntryId, Fault, Input, Instant, Machine, Outcome,
    Policy, TaskKey, TaskMeta,
};
use downbeat_sim::event::Event;
use downbeat_sim::oracle::Oracles;
use downbeat_sim::scenario::Setting;

/// A machine under the eyes of the oracles, with what is open.
struct Bench {
    machine: Machine<Box<[Entry]>>,
    oracles: Oracles,
    now: Instant,
    calls: Vec<(CallId, bool)>,
    running: Vec<EntryId>,
    tasks: u128,
    wait: Option<Instant>,
    stopped: bool,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        let table = vec![Entry::FREE; 2].into_boxed_slice();
        let mut bench = Self {
            machine: Machine::with_storage(table, policy, 1).unwrap(),
            oracles: Oracles::new(Setting::from_workers(&[(policy, 2)])),
            now: Instant::ZERO,
            calls: Vec::new(),
            running: Vec::new(),
            tasks: 0,
            wait: None,
            stopped: false,
        };
        bench.drain(Input::Tick);
        bench
    }

    fn step(&mut self, input: Input) -> Action {
        let mut twin = self.machine.clone();
        let action = self.machine.step(self.now, input);
        assert_eq!((twin.step(self.now, input), &twin), (action, &self.machine), "S18");
        let event = Event::Step { at: self.now, worker: 0, local: self.now, input, action };
        if let Err(broken) = self.oracles.see(&event) {
            panic!("{broken}");
        }
        action
    }

    fn drain(&mut self, input: Input) {
        let mut action = self.step(input);
        for _ in 0..64 {
            match action {
                Action::Wait { until, .. } => {
                    self.wait = until;
                    return;
                }
                Action::Stopped => {
                    self.stopped = true;
                    return;
                }
                action => self.perform(action),
            }
            action = self.step(Input::Tick);
        }
        panic!("no rest");
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Poll { call, .. } | Action::Update { call, take_next: true, .. } => {
                self.calls.push((call, true))
            }
            Action::Update { call, .. }
            | Action::Extend { call, .. }
            | Action::Ask { call, .. }
            | Action::Refresh { call }
            | Action::GiveBack { call, .. }
            | Action::Spill { call, .. } => self.calls.push((call, false)),
            Action::Run { entry, .. } => self.running.push(entry),
            Action::Discard { entry, .. } => self.running.retain(|running| *running != entry),
            Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ignore { .. }
            | Action::Wait { .. }
            | Action::Stopped => {}
        }
    }

    /// Takes the n-th thing that may happen; whether there is one.
    fn choose(&mut self, n: usize) -> bool {
        if self.stopped {
            return false;
        }
        let replies = 6 * self.calls.len();
        let ends = 2 * self.running.len();
        if n < replies {
            let (call, brings) = self.calls.swap_remove(n / 6);
            return self.answer(call, brings, n % 6);
        }
        if n < replies + ends {
            let entry = self.running.swap_remove((n - replies) / 2);
            let callback_after = Duration::from_secs(15);
            let last = (n - replies).is_multiple_of(2);
            let outcome = if last { Outcome::Final } else { Outcome::Yield { callback_after } };
            self.drain(Input::Finished { entry, outcome });
            return true;
        }
        match n - replies - ends {
            0 => match self.wait {
                Some(until) => {
                    self.now = until;
                    self.drain(Input::Tick);
                }
                None => return false,
            },
            1 => self.drain(Input::Control(Control::Pause)),
            2 => self.drain(Input::Control(Control::Resume)),
            3 => self.drain(Input::Control(Control::Drain)),
            4 => self.drain(Input::Control(Control::Abort)),
            5 => self.drain(Input::Finished { entry: EntryId::new(0, 77), outcome: Outcome::Final }),
            _ => return false,
        }
        true
    }

    fn answer(&mut self, call: CallId, brings: bool, how: usize) -> bool {
        self.now = self.now.saturating_add(Duration::from_millis(3));
        let fail = |fault, retry_after| Err(CallError { fault, retry_after });
        let reply = match how {
            0 => Ok(Answer::Done),
            1 if brings => {
                self.tasks += 1;
                let task = TaskMeta::new(TaskKey::from_u128(self.tasks), Some(Duration::from_secs(10)));
                let action = self.step(Input::Leased { call, task });
                self.perform(action);
                Ok(Answer::Done)
            }
            2 => fail(Fault::NotSent, None),
            3 => fail(Fault::Unknown, None),
            4 => fail(Fault::Unauthorized, None),
            5 => fail(Fault::Throttled, Some(Duration::from_secs(7))),
            _ => return false,
        };
        self.drain(Input::Replied { call, reply });
        true
    }
}

/// Goes through all continuations of a prefix; how many sequences there were.
fn explore(policy: Policy, prefix: &mut Vec<usize>, depth: usize) -> u64 {
    let mut count = 0;
    for n in 0..40 {
        let mut bench = Bench::new(policy);
        let replayed = prefix.iter().all(|n| bench.choose(*n));
        assert!(replayed, "a prefix that was possible is possible again");
        if !bench.choose(n) {
            continue;
        }
        count += 1;
        if depth > 1 {
            prefix.push(n);
            count += explore(policy, prefix, depth - 1);
            prefix.pop();
        }
    }
    count
}

#[test]
fn no_sequence_of_inputs_breaks_a_rule() {
    let policy = Policy { concurrency: 2, max_calls: 2, store: true, ..Policy::default() };
    let count = explore(policy, &mut Vec::new(), 4);
    assert!(count > 5_000, "only {count} sequences");
}

#[test]
fn no_sequence_breaks_a_rule_on_one_lane_with_a_task_in_hand() {
    let policy = Policy { concurrency: 1, max_calls: 1, ..Policy::default() };
    // The first poll has brought a task.
    let count = explore(policy, &mut vec![1], 4);
    assert!(count > 1_000, "only {count} sequences");
}
