//! A Conductor server as a state machine under virtual time: queues, leases, retries, yields, long polls, tokens.
//!
//! It is told what arrives and at what time, and answers at once or parks a poll until [`Server::advance`] ends it.
//! No clock, no threads, no JSON; every map is ordered, so that a run is a function of its inputs. The rules are
//! those of docs/server-rules.md; each is cited where it is kept.

mod alarm;
mod authorise;
mod backend;
mod definition;
mod effect;
mod hold;
mod life;
mod pause;
mod poll;
mod report;
mod task;
mod token;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use downbeat_core::machine::{CallId, Instant, TaskKey};

use self::alarm::Alarm;
pub use self::backend::Backend;
pub use self::definition::{Definition, Limit, RetryLogic, TimeoutPolicy};
pub use self::effect::{Effect, Report};
pub use self::report::{Beat, Generation, Taken, Update};
pub use self::task::{End, Stage, View};
use self::task::{State, Task};

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Feeds the ids of tasks.
    pub seed: u64,
    /// How polls wait.
    pub backend: Backend,
    /// `update-v2` is known (R-UPDATE-9).
    pub update_v2: bool,
    /// A token is wanted, and good for so long; `None` if none is.
    pub token_life: Option<Duration>,
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

/// A poll that waits.
#[derive(Clone, Copy, Debug)]
struct Parked {
    ticket: Ticket,
    count: u16,
}

/// The server.
#[derive(Clone, Debug)]
pub struct Server {
    setup: Setup,
    definitions: Vec<Definition>,
    tasks: BTreeMap<TaskKey, Task>,
    queues: BTreeMap<u32, VecDeque<TaskKey>>,
    /// Polls that wait, by their queue and in their order.
    parked: BTreeMap<u32, BTreeMap<u64, Parked>>,
    /// Polls that have waited so far.
    polls: u64,
    alarms: BTreeSet<(Instant, Alarm)>,
    tokens: token::Tokens,
    effects: Vec<Effect>,
    made: u64,
    /// Tasks in progress, by the group of their limit.
    running: BTreeMap<u32, u32>,
    /// Tasks that have not ended, and retries that are to come.
    open: usize,
    generation: Generation,
    /// Tasks of paused workflows, with what waits for the end of the pause.
    held: BTreeMap<TaskKey, hold::Held>,
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
            polls: 0,
            alarms: BTreeSet::new(),
            effects: Vec::new(),
            made: 0,
            running: BTreeMap::new(),
            open: 0,
            generation: Generation::Now,
            held: BTreeMap::new(),
        }
    }

    /// Makes it a server of another generation (R-LEASE-4).
    #[must_use]
    pub const fn with_generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Adds a definition; its number.
    pub fn define(&mut self, definition: Definition) -> usize {
        self.definitions.push(definition);
        self.definitions.len() - 1
    }

    /// Changes a definition, also for the tasks that are there.
    pub fn redefine(&mut self, at: usize, definition: Definition) {
        if let Some(old) = self.definitions.get_mut(at) {
            *old = definition;
        }
    }

    /// Does what the server does by itself up to now: leases lapse, postponed tasks and retries come, polls
    /// end. Returns the polls that ended, with their tasks.
    pub fn advance(&mut self, now: Instant) -> Vec<(Ticket, Vec<Handed>)> {
        let mut ended = Vec::new();
        let (mut touched, mut over) = (BTreeSet::new(), Vec::new());
        while self.alarms.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, alarm)) = self.alarms.pop_first() else { break };
            if self.is_held_up(alarm) {
                continue;
            }
            match alarm {
                Alarm::Lease(key) => self.lapse(now, key),
                Alarm::Queue(key) => self.enter_queue(now, key),
                Alarm::Overrun(key) => self.overrun(now, key),
                Alarm::Unpolled(key) => self.unpolled(now, key),
                Alarm::Polls(queue) => {
                    touched.insert(queue);
                }
                Alarm::Poll(queue, number) => over.push((queue, number)),
            }
        }
        touched
            .extend(self.parked.keys().filter(|queue| self.has_news(**queue)).copied().collect::<Vec<_>>());
        for queue in touched {
            self.serve_parked(now, queue, &mut ended);
        }
        for (queue, number) in over {
            self.end_wait(now, queue, number, &mut ended);
        }
        ended
    }

    /// Returns when [`Server::advance`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Takes what was done since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Tasks that have not ended, counting retries that are to come.
    #[must_use]
    pub fn open_tasks(&self) -> usize {
        self.open
    }

    /// Returns the first task that has not ended, and where it stands, for people.
    #[must_use]
    pub fn describe_open(&self) -> Option<String> {
        let (key, task) = self.tasks.iter().find(|(_, task)| !matches!(task.state, State::Ended(_)))?;
        Some(format!("task {:032x} is {:?} after {} deliveries", key.to_u128(), task.state, task.deliveries))
    }

    /// Returns the definition that a task was made of.
    #[must_use]
    pub fn definition_of(&self, key: TaskKey) -> Option<usize> {
        self.tasks.get(&key).map(|task| task.definition)
    }

    fn queue_of(&self, definition: usize) -> u32 {
        self.definitions.get(definition).map_or(0, |definition| definition.queue)
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
