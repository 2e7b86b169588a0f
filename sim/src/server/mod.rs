//! A Conductor server as a state machine under virtual time: queues, leases, retries, yields, long polls, tokens.
//!
//! It is told what arrives and at what time, and answers at once or parks a poll until [`Server::advance`] ends it.
//! No clock, no threads, no JSON; every map is ordered, so that a run is a function of its inputs. The rules are
//! those of docs/server-rules.md; each is cited where it is kept.

mod poll;
mod report;
mod token;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, TaskKey};

pub use self::report::Update;

use crate::event::{Effect, Report};
use crate::random::mix;
pub use crate::scenario::Backend;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Feeds the ids of tasks.
    pub seed: u64,
    /// How polls wait.
    pub backend: Backend,
    /// `update-v2` is known (R-UPDATE-9).
    pub update_v2: bool,
    /// A token is wanted, and good for so long; `None`: none is.
    pub token_life: Option<Duration>,
}

/// A task definition with the queue that its tasks go to.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Which queue: a task type in a domain.
    pub queue: u32,
    /// `responseTimeoutSeconds`.
    pub response_timeout: Duration,
    /// `retryCount`.
    pub retries: u32,
    /// `retryDelaySeconds`, fixed.
    pub retry_delay: Duration,
}

/// Who asks: a worker, one of its lives, one of its calls.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket {
    /// The worker.
    pub worker: u32,
    /// Which life of its process.
    pub life: u32,
    /// The call.
    pub call: CallId,
}

/// A task handed out, with the length of its lease.
pub type Handed = (TaskKey, Duration);

/// Why a request was turned down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// 401: no token, or one that is not good (any more).
    Unauthorized,
    /// 404: no such task.
    NoSuchTask,
    /// 404 on the path of `update-v2`.
    NoUpdateV2,
}

/// One task.
#[derive(Clone, Debug)]
struct Task {
    definition: usize,
    state: State,
    /// Retries that the server has left.
    retries: u32,
    deliveries: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// SCHEDULED, in its queue.
    Queued,
    /// SCHEDULED, in its queue from then on.
    Postponed { until: Instant },
    /// IN_PROGRESS.
    Leased { worker: u32, until: Instant },
    /// COMPLETED, FAILED, FAILED_WITH_TERMINAL_ERROR or TIMED_OUT.
    Ended,
}

/// A poll that waits.
#[derive(Clone, Copy, Debug)]
struct Parked {
    ticket: Ticket,
    count: u16,
    until: Instant,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Alarm {
    /// A lease may have lapsed.
    Lease(TaskKey),
    /// A postponed task comes into its queue.
    Queue(TaskKey),
    /// A retry is scheduled for a task that has ended.
    Retry(TaskKey),
    /// Polls of this queue may have waited long enough.
    Polls(u32),
}

/// The server.
#[derive(Clone, Debug)]
pub struct Server {
    setup: Setup,
    definitions: Vec<Definition>,
    tasks: BTreeMap<TaskKey, Task>,
    queues: BTreeMap<u32, VecDeque<TaskKey>>,
    parked: BTreeMap<u32, VecDeque<Parked>>,
    alarms: BTreeSet<(Instant, Alarm)>,
    tokens: token::Tokens,
    effects: Vec<Effect>,
    made: u64,
    /// Tasks that have not ended, and retries that are to come.
    open: usize,
}

impl Server {
    /// Sets a server up, with an empty queue for each definition.
    #[must_use]
    pub fn new(setup: Setup, definitions: Vec<Definition>) -> Self {
        Self {
            tokens: token::Tokens::new(setup.token_life),
            setup,
            definitions,
            tasks: BTreeMap::new(),
            queues: BTreeMap::new(),
            parked: BTreeMap::new(),
            alarms: BTreeSet::new(),
            effects: Vec::new(),
            made: 0,
            open: 0,
        }
    }

    /// Schedules a task of a definition.
    pub fn schedule(&mut self, now: Instant, definition: usize) -> Option<TaskKey> {
        let retries = self.definitions.get(definition)?.retries;
        Some(self.put_task(now, definition, retries, None))
    }

    /// What the server does by itself up to now: leases lapse, postponed tasks and retries come, polls end. Returns
    /// the polls that ended, with their tasks.
    pub fn advance(&mut self, now: Instant) -> Vec<(Ticket, Vec<Handed>)> {
        let mut ended = Vec::new();
        let mut touched = BTreeSet::new();
        while self.alarms.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, alarm)) = self.alarms.pop_first() else { break };
            match alarm {
                Alarm::Lease(key) => self.lapse(now, key),
                Alarm::Queue(key) => touched.extend(self.enter_queue(now, key)),
                Alarm::Retry(key) => touched.extend(self.retry(now, key)),
                Alarm::Polls(queue) => {
                    touched.insert(queue);
                }
            }
        }
        touched
            .extend(self.parked.keys().filter(|queue| self.has_news(**queue)).copied().collect::<Vec<_>>());
        for queue in touched {
            self.serve_parked(now, queue, &mut ended);
        }
        ended
    }

    /// When [`Server::advance`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// What was done since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Tasks that have not ended, counting retries that are to come.
    #[must_use]
    pub fn open_tasks(&self) -> usize {
        self.open
    }

    /// The first task that has not ended, and where it stands, for people.
    #[must_use]
    pub fn describe_open(&self) -> Option<String> {
        let (key, task) = self.tasks.iter().find(|(_, task)| task.state != State::Ended)?;
        Some(format!("task {:032x} is {:?} after {} deliveries", key.to_u128(), task.state, task.deliveries))
    }

    /// The definition that a task was made of.
    #[must_use]
    pub fn definition_of(&self, key: TaskKey) -> Option<usize> {
        self.tasks.get(&key).map(|task| task.definition)
    }

    // ---------------------------------------------------------------- tasks

    fn put_task(
        &mut self,
        now: Instant,
        definition: usize,
        retries: u32,
        retry_of: Option<TaskKey>,
    ) -> TaskKey {
        self.made += 1;
        let high = mix(self.setup.seed ^ self.made.rotate_left(32));
        let key = TaskKey::from_u128(u128::from(high) << 64 | u128::from(mix(high ^ self.made)));
        self.tasks.insert(key, Task { definition, state: State::Queued, retries, deliveries: 0 });
        self.open += 1;
        let stream = u32::try_from(definition).unwrap_or(u32::MAX);
        self.effects.push(Effect::Scheduled { key, stream, retry_of });
        let queue = self.queue_of(definition);
        self.queues.entry(queue).or_default().push_back(key);
        self.alarms.insert((now, Alarm::Polls(queue)));
        key
    }

    fn queue_of(&self, definition: usize) -> u32 {
        self.definitions.get(definition).map_or(0, |definition| definition.queue)
    }

    /// R-LEASE-2: a lease that ends unextended ends the task; a retry has a new id.
    fn lapse(&mut self, now: Instant, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        let State::Leased { worker, until } = task.state else { return };
        if until > now {
            return;
        }
        self.effects.push(Effect::Lapsed { key, worker });
        self.end(now, key, true);
    }

    /// A task has ended; `again`: the server retries it while it has retries left (R-RETRY-1).
    fn end(&mut self, now: Instant, key: TaskKey, again: bool) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.state = State::Ended;
        let delay = self.definitions.get(task.definition).map(|definition| definition.retry_delay);
        match delay.filter(|_| again && task.retries > 0) {
            Some(delay) => {
                self.alarms.insert((now.after(delay), Alarm::Retry(key)));
            }
            None => self.open -= 1,
        }
    }

    fn retry(&mut self, now: Instant, key: TaskKey) -> Option<u32> {
        let (definition, retries) = self.tasks.get(&key).map(|task| (task.definition, task.retries))?;
        self.open -= 1;
        self.put_task(now, definition, retries.saturating_sub(1), Some(key));
        Some(self.queue_of(definition))
    }

    fn enter_queue(&mut self, now: Instant, key: TaskKey) -> Option<u32> {
        let task = self.tasks.get_mut(&key)?;
        if !matches!(task.state, State::Postponed { until } if until <= now) {
            return None;
        }
        task.state = State::Queued;
        let queue = self.definitions.get(task.definition)?.queue;
        self.queues.entry(queue).or_default().push_back(key);
        Some(queue)
    }
}

/// Whether a report ends its task for good, and whether the server tries again.
const fn ends(report: Report) -> Option<bool> {
    match report {
        Report::Completed | Report::Terminal => Some(false),
        Report::Failed => Some(true),
        Report::Yield => None,
    }
}
