//! One worker, one queue, one number: a server that fails until it is healed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, EntryId, Fault, Input, Instant, Loss, Outcome, Policy, Reply,
    TaskKey, TaskMeta, Worker,
};

/// How long the server waits for a sign of life.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// The longest run of a task, above the lease.
pub(crate) const LONGEST_RUN: Duration = Duration::from_secs(15);
/// The longest way to the server and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);

/// One row of the record: a time, what happened, what was answered.
pub(crate) type Row = (Instant, Input, Action);

pub(crate) struct World {
    pub(crate) worker: Worker<4>,
    pub(crate) now: Instant,
    pub(crate) record: Vec<Row>,
    /// Tasks that the worker runs or reports, by entry; with the outcome once there is one.
    pub(crate) held: BTreeMap<EntryId, (TaskKey, Option<Outcome>)>,
    /// Tasks that ended at the server, and how often a final report had effect.
    pub(crate) ended: BTreeMap<TaskKey, u32>,
    /// Slots from which a final outcome of a task was sent.
    pub(crate) senders: BTreeMap<TaskKey, Vec<EntryId>>,
    /// Leases that lapsed, with their times.
    pub(crate) lapsed: Vec<Instant>,
    pub(crate) discarded: Vec<(Instant, Loss, Option<Outcome>)>,
    pub(crate) stopped: Option<Instant>,
    heal_at: Instant,
    queue: VecDeque<TaskKey>,
    /// Reports and spills in flight: an accepted one frees its entry.
    reports: BTreeMap<CallId, EntryId>,
    /// Tasks in a worker's hands: which delivery, and until when.
    leased: BTreeMap<TaskKey, u64>,
    long_poll: Option<(CallId, u16)>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    serial: u64,
    random: u64,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Wake,
    Arrive(u128),
    /// A call reaches the server; `answered`: its answer arrives.
    Effect {
        call: CallId,
        request: Request,
        answered: bool,
    },
    Answer {
        call: CallId,
        tasks: Vec<TaskKey>,
        failed: Option<(Fault, bool)>,
        token: bool,
    },
    LongPollOver(CallId),
    Finish {
        entry: EntryId,
        yields: bool,
    },
    Lapse {
        task: TaskKey,
        delivery: u64,
    },
    Requeue(TaskKey),
    Control(u8),
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Request {
    Poll { count: u16, wait: Duration },
    Update { entry: EntryId, take_next: bool },
    Extend { entry: EntryId },
    GiveBack { task: TaskKey },
    Refresh,
}

impl World {
    pub(crate) fn new(policy: Policy, seed: u64, heal_at: Instant) -> Self {
        let Ok(worker) = Worker::new(policy, seed) else { panic!("the policy is not sound") };
        let mut world = Self {
            worker,
            now: Instant::ZERO,
            record: Vec::new(),
            held: BTreeMap::new(),
            ended: BTreeMap::new(),
            senders: BTreeMap::new(),
            lapsed: Vec::new(),
            discarded: Vec::new(),
            stopped: None,
            heal_at,
            queue: VecDeque::new(),
            reports: BTreeMap::new(),
            leased: BTreeMap::new(),
            long_poll: None,
            events: BinaryHeap::new(),
            serial: 0,
            random: seed,
        };
        world.plan(Instant::ZERO, Event::Wake);
        world
    }

    pub(crate) fn arrive(&mut self, at: Instant, task: u128) {
        self.plan(at, Event::Arrive(task));
    }

    pub(crate) fn control(&mut self, at: Instant, control: Control) {
        let code = CONTROLS.iter().position(|known| *known == control).and_then(|at| u8::try_from(at).ok());
        self.plan(at, Event::Control(code.unwrap_or_default()));
    }

    /// Lets everything happen that happens before `end`.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > end {
                self.plan(at, event);
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// Tasks that are not ended yet, wherever they are.
    pub(crate) fn open_tasks(&self) -> usize {
        self.queue.len() + self.leased.len()
    }

    pub(crate) fn polls_since(&self, since: Instant) -> Vec<Instant> {
        let polls = self
            .record
            .iter()
            .filter(|(at, _, action)| *at >= since && matches!(action, Action::Poll { .. }));
        polls.map(|(at, ..)| *at).collect()
    }

    // ---------------------------------------------------------------- events

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake => self.tell(Input::Tick),
            Event::Arrive(task) => self.enqueue(TaskKey::from_u128(task)),
            Event::Requeue(task) => self.enqueue(task),
            Event::Effect { call, request, answered } => self.effect(call, request, answered),
            Event::Answer { call, tasks, failed, token } => self.answer(call, &tasks, failed, token),
            Event::LongPollOver(call) => {
                if self.long_poll.is_some_and(|(held, _)| held == call) {
                    self.long_poll = None;
                    self.reply(call, Vec::new());
                }
            }
            Event::Finish { entry, yields } => {
                let callback_after = Duration::from_secs(20);
                let outcome = if yields { Outcome::Yield { callback_after } } else { Outcome::Final };
                if let Some((_, end)) = self.held.get_mut(&entry) {
                    *end = Some(outcome);
                    self.tell(Input::Finished { entry, outcome });
                }
            }
            Event::Lapse { task, delivery } => {
                if self.leased.get(&task) == Some(&delivery) {
                    self.lapsed.push(self.now);
                    self.leased.remove(&task);
                    // The server ends the task and makes another, with an id of its own.
                    self.enqueue(TaskKey::from_u128(task.to_u128() + 1_000_000));
                }
            }
            Event::Control(code) => {
                if let Some(control) = CONTROLS.get(usize::from(code)) {
                    self.tell(Input::Control(*control));
                }
            }
        }
    }

    fn enqueue(&mut self, task: TaskKey) {
        self.queue.push_back(task);
        if let Some((call, count)) = self.long_poll.take() {
            let tasks = self.take(count);
            self.reply(call, tasks);
        }
    }

    /// A request reaches the server.
    fn effect(&mut self, call: CallId, request: Request, answered: bool) {
        let mut tasks = Vec::new();
        match request {
            Request::Poll { count, wait } => {
                if self.queue.is_empty() && answered && !wait.is_zero() {
                    self.long_poll = Some((call, count));
                    self.plan(self.now.saturating_add(wait), Event::LongPollOver(call));
                    return;
                }
                tasks = self.take(count);
            }
            Request::Update { entry, take_next } => {
                self.report(entry);
                tasks = if take_next { self.take(1) } else { tasks };
            }
            Request::Extend { entry } => {
                if let Some((task, _)) = self.held.get(&entry).copied() {
                    self.extend(task);
                }
            }
            Request::GiveBack { task } => {
                self.leased.remove(&task);
                self.plan(self.now.saturating_add(Duration::from_secs(1)), Event::Requeue(task));
            }
            Request::Refresh => {
                let token = Event::Answer { call, tasks: Vec::new(), failed: None, token: true };
                return self.plan_soon(token);
            }
        }
        if answered {
            self.reply(call, tasks);
        } else {
            let lost = Event::Answer {
                call,
                tasks: Vec::new(),
                failed: Some((Fault::Unknown, false)),
                token: false,
            };
            self.plan(self.now.saturating_add(Duration::from_secs(8)), lost);
        }
    }

    /// The first report of a delivery counts; later ones are taken and ignored.
    fn report(&mut self, entry: EntryId) {
        let Some((task, Some(outcome))) = self.held.get(&entry).copied() else { return };
        if self.leased.remove(&task).is_none() {
            return;
        }
        match outcome {
            Outcome::Final => *self.ended.entry(task).or_default() += 1,
            Outcome::Yield { callback_after } => {
                self.plan(self.now.saturating_add(callback_after), Event::Requeue(task))
            }
        }
    }

    fn take(&mut self, count: u16) -> Vec<TaskKey> {
        let count = usize::from(count).min(self.queue.len());
        let tasks: Vec<TaskKey> = self.queue.drain(..count).collect();
        for task in &tasks {
            self.leased.insert(*task, 0);
            self.extend(*task);
        }
        tasks
    }

    fn extend(&mut self, task: TaskKey) {
        let delivery = self.serial;
        if let Some(known) = self.leased.get_mut(&task) {
            *known = delivery;
            self.plan(self.now.saturating_add(LEASE), Event::Lapse { task, delivery });
        }
    }

    fn reply(&mut self, call: CallId, tasks: Vec<TaskKey>) {
        self.plan_soon(Event::Answer { call, tasks, failed: None, token: false });
    }

    // ---------------------------------------------------------------- the driver

    fn answer(&mut self, call: CallId, tasks: &[TaskKey], failed: Option<(Fault, bool)>, token: bool) {
        for task in tasks {
            let task = TaskMeta::new(*task, Some(LEASE));
            let _ = self.step(Input::Leased { call, task });
        }
        let retry_after = |asked: bool| asked.then_some(Duration::from_secs(2));
        let good = if token { Answer::Token { valid_for: None } } else { Answer::Done };
        let reply: Reply = match failed {
            None => Ok(good),
            Some((fault, asked)) => Err(CallError { fault, retry_after: retry_after(asked) }),
        };
        let reported = self.reports.remove(&call);
        if let Some(entry) = reported.filter(|_| reply.is_ok()) {
            self.held.remove(&entry);
        }
        self.tell(Input::Replied { call, reply });
    }

    /// The contract: after any input, tick until it waits.
    fn tell(&mut self, input: Input) {
        let mut input = input;
        loop {
            match self.step(input) {
                Action::Wait { until: Some(until), .. } => return self.plan(until, Event::Wake),
                Action::Wait { until: None, .. } | Action::Stopped => return,
                _ => input = Input::Tick,
            }
        }
    }

    fn step(&mut self, input: Input) -> Action {
        let mut twin = self.worker.clone();
        let action = self.worker.step(self.now, input);
        assert_eq!(twin.step(self.now, input), action, "S18: a clone answers the same");
        assert_eq!(twin, self.worker, "S18: a clone is equal afterwards");
        self.record.push((self.now, input, action));
        self.perform(action);
        action
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Run { entry, key } => {
                // The task's yield was accepted, or it would not be here: its old entry is over.
                self.held.retain(|_, (held, _)| *held != key);
                assert!(
                    self.held.insert(entry, (key, None)).is_none(),
                    "S1: the entry of a running task is given again"
                );
                let run = Duration::from_micros(self.below(LONGEST_RUN.as_micros() as u64));
                let yields = self.below(8) == 0;
                self.plan(self.now.saturating_add(run), Event::Finish { entry, yields });
            }
            Action::GiveBack { call, key } => self.send(call, Request::GiveBack { task: key }),
            Action::Recall { entry, .. } => {
                self.plan(self.now, Event::Finish { entry, yields: true });
            }
            Action::Refresh { call } => self.send(call, Request::Refresh),
            Action::Extend { call, entry } => self.send(call, Request::Extend { entry }),
            Action::Update { call, entry, take_next, .. } => {
                if let Some((task, Some(Outcome::Final))) = self.held.get(&entry) {
                    self.senders.entry(*task).or_default().push(entry);
                }
                self.reports.insert(call, entry);
                self.send(call, Request::Update { entry, take_next });
            }
            Action::Poll { call, count, wait } => self.send(call, Request::Poll { count, wait }),
            Action::Spill { call, entry, .. } => {
                self.reports.insert(call, entry);
                self.reply(call, Vec::new());
            }
            Action::Discard { entry, why } => {
                let Some((_, outcome)) = self.held.remove(&entry) else {
                    panic!("S1: {entry:?} ended twice")
                };
                self.discarded.push((self.now, why, outcome));
            }
            Action::Stopped => {
                self.stopped.get_or_insert(self.now);
            }
            // In this world every task that runs is wanted.
            Action::Ask { call, .. } => self.reply(call, Vec::new()),
            Action::Adopt { entry, key } => panic!("{entry:?}: {key:?} is nobody's retry"),
            Action::Lapsed { .. } | Action::Ignore { .. } | Action::Wait { .. } => {}
        }
    }

    /// Before the healing, two calls in three fail: before they leave, at the server, or after their effect.
    fn send(&mut self, call: CallId, request: Request) {
        let dice = if self.now < self.heal_at { self.below(9) } else { u64::MAX };
        let failed = |fault, asked| Event::Answer {
            call,
            tasks: Vec::new(),
            failed: Some((fault, asked)),
            token: false,
        };
        match dice {
            0 | 1 => self.plan_soon(failed(Fault::NotSent, false)),
            2 | 3 => self.plan_soon(failed(Fault::Server, false)),
            4 => self.plan_soon(failed(Fault::Throttled, true)),
            5 => self.plan_soon(Event::Effect { call, request, answered: false }),
            _ => self.plan_soon(Event::Effect { call, request, answered: true }),
        }
    }

    fn plan_soon(&mut self, event: Event) {
        let half = ROUND_TRIP.as_micros() as u64 / 2;
        let way = 100 + self.below(half - 100);
        self.plan(self.now.saturating_add(Duration::from_micros(way)), event);
    }

    fn plan(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((at, self.serial, event)));
    }

    /// SplitMix64, so that a failing world is a number.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

const CONTROLS: [Control; 4] = [Control::Pause, Control::Resume, Control::Drain, Control::Abort];
