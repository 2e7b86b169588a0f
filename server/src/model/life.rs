//! The life of a task: scheduled, delivered, put back, ended, retried.

use std::time::Duration;

use downbeat_core::machine::{Instant, TaskKey};

use super::alarm::Alarm;
use super::task::{End, Stage, State, Task, View};
use super::{Effect, Limit, Server, TimeoutPolicy};
use crate::random::mix;

/// How long a task over its limit is put back (R-QUEUE-3).
pub(super) const POSTPONED: Duration = Duration::from_secs(60);

impl Server {
    /// Schedules a task of a definition. Returns `None` if there is no such definition.
    pub fn schedule(&mut self, now: Instant, definition: usize) -> Option<TaskKey> {
        self.definitions.get(definition)?;
        Some(self.put_task(now, definition, None, Duration::ZERO))
    }

    /// Ends a task because its workflow ended; whether it had not ended yet (R-UPDATE-6).
    pub fn cancel(&mut self, now: Instant, key: TaskKey) -> bool {
        let open = self.tasks.get(&key).is_some_and(|task| !matches!(task.state, State::Ended(_)));
        if open {
            self.end(now, key, End::Canceled, false);
        }
        open
    }

    /// Forgets a task that has ended; nothing for one that has not.
    pub fn forget(&mut self, key: TaskKey) {
        if self.tasks.get(&key).is_some_and(|task| matches!(task.state, State::Ended(_))) {
            self.tasks.remove(&key);
            self.held.remove(&key);
        }
    }

    /// Returns what can be seen of a task.
    #[must_use]
    pub fn view(&self, key: TaskKey) -> Option<View> {
        let task = self.tasks.get(&key)?;
        let stage = match task.state {
            State::Queued | State::Postponed { .. } => Stage::Scheduled,
            State::Leased { until, .. } => Stage::InProgress { until },
            State::Ended(end) => Stage::Ended(end),
        };
        let Task { attempt, deliveries, retried_as, .. } = *task;
        Some(View { stage, attempt, deliveries, retried_as })
    }

    /// Returns the tasks waiting in a queue, in order (R-QUEUE-1).
    pub fn waiting(&self, queue: u32) -> impl Iterator<Item = TaskKey> + '_ {
        self.queues.get(&queue).into_iter().flatten().copied()
    }

    fn put_task(
        &mut self,
        now: Instant,
        definition: usize,
        retry_of: Option<TaskKey>,
        delay: Duration,
    ) -> TaskKey {
        self.made += 1;
        let high = mix(self.setup.seed ^ self.made.rotate_left(32));
        let key = TaskKey::from_u128(u128::from(high) << 64 | u128::from(mix(high ^ self.made)));
        let before = retry_of.and_then(|key| self.tasks.get(&key));
        let task = Task {
            definition,
            state: State::Postponed { until: now.saturating_add(delay) },
            attempt: before.map_or(0, |before| before.attempt + 1),
            deliveries: 0,
            scheduled: now.saturating_add(delay),
            callback_after: Duration::ZERO,
            started: None,
            retry_of,
            retried_as: None,
            told: false,
        };
        self.tasks.insert(key, task);
        self.open += 1;
        self.watch_queue(key);
        if delay.is_zero() {
            self.enter_queue(now, key);
        } else {
            self.alarms.insert((now.saturating_add(delay), Alarm::Queue(key)));
        }
        key
    }

    /// A postponed task comes into its queue; polls of it may end.
    pub(super) fn enter_queue(&mut self, now: Instant, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if !matches!(task.state, State::Postponed { until } if until <= now) {
            return;
        }
        task.state = State::Queued;
        if !std::mem::replace(&mut task.told, true) {
            let stream = u32::try_from(task.definition).unwrap_or(u32::MAX);
            self.effects.push(Effect::Scheduled { key, stream, retry_of: task.retry_of });
        }
        let Some(definition) = self.definitions.get(task.definition) else { return };
        self.queues.entry(definition.queue).or_default().push_back(key);
        self.alarms.insert((now, Alarm::Polls(definition.queue)));
    }

    /// Hands a task out of its queue to a worker. Returns `None` if it is over its limit, and put back
    /// (R-QUEUE-3).
    pub(super) fn deliver(&mut self, now: Instant, worker: u32, key: TaskKey) -> Option<Duration> {
        let task = self.tasks.get_mut(&key).filter(|task| task.state == State::Queued)?;
        let definition = self.definitions.get(task.definition)?;
        if let Some(Limit { group, at_most }) = definition.limit {
            let running = self.running.entry(group).or_default();
            if *running >= at_most {
                task.state = State::Postponed { until: now.saturating_add(POSTPONED) };
                self.alarms.insert((now.saturating_add(POSTPONED), Alarm::Queue(key)));
                return None;
            }
            *running += 1;
        }
        let lease = definition.response_timeout;
        let until = now.saturating_add(lease);
        task.state = State::Leased { worker, until };
        task.deliveries += 1;
        task.callback_after = Duration::ZERO;
        self.alarms.insert((until, Alarm::Lease(key)));
        if task.started.is_none() {
            task.started = Some(now);
            if let Some(timeout) = definition.timeout {
                self.alarms.insert((now.saturating_add(timeout), Alarm::Overrun(key)));
            }
        }
        Some(lease)
    }

    /// Puts a task back, whatever its state: whoever held it holds it no more (R-UPDATE-3). Later than
    /// `pollTimeoutSeconds` after its first scheduling, the delay added, it ends at once instead (R-TIMEOUT-3).
    pub(super) fn postpone(&mut self, now: Instant, key: TaskKey, callback_after: Duration) {
        self.take_off(key);
        let until = now.saturating_add(callback_after);
        if let Some(task) = self.tasks.get_mut(&key) {
            task.state = State::Postponed { until };
            task.callback_after = callback_after;
            self.alarms.insert((until, Alarm::Queue(key)));
        }
        let over = self.poll_limit(key).is_some_and(|limit| limit <= now);
        if over && !self.is_held_up(Alarm::Unpolled(key)) {
            self.unpolled(now, key);
        } else if !over {
            self.watch_queue(key);
        }
    }

    /// R-TIMEOUT-3: until when a task may be SCHEDULED, or `None` for ever.
    fn poll_limit(&self, key: TaskKey) -> Option<Instant> {
        let task = self.tasks.get(&key)?;
        let timeout = self.definitions.get(task.definition)?.poll_timeout?;
        Some(task.scheduled.saturating_add(timeout).saturating_add(task.callback_after))
    }

    /// Looks at a task again when it has been SCHEDULED for too long.
    fn watch_queue(&mut self, key: TaskKey) {
        if let Some(limit) = self.poll_limit(key) {
            self.alarms.insert((limit, Alarm::Unpolled(key)));
        }
    }

    /// R-LEASE-2: a lease that ends unextended ends the task, and a retry has a new id.
    pub(super) fn lapse(&mut self, now: Instant, key: TaskKey) {
        let Some(State::Leased { worker, until }) = self.tasks.get(&key).map(|task| task.state) else {
            return;
        };
        if until <= now {
            self.effects.push(Effect::Lapsed { key, worker });
            self.end(now, key, End::NoResponse, true);
        }
    }

    /// R-TIMEOUT-1: `timeoutSeconds` counts from the first delivery, and nothing moves it.
    pub(super) fn overrun(&mut self, now: Instant, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        match task.state {
            State::Ended(_) => {}
            State::Leased { worker, .. } => self.time_out(now, key, worker, End::Overran),
            State::Queued | State::Postponed { .. } => self.time_out(now, key, u32::MAX, End::Overran),
        }
    }

    /// R-TIMEOUT-3: `pollTimeoutSeconds` count from the first scheduling, whatever has happened since. A task
    /// that is SCHEDULED then, in its queue or put off, ends.
    pub(super) fn unpolled(&mut self, now: Instant, key: TaskKey) {
        let waits = |task: &Task| matches!(task.state, State::Queued | State::Postponed { .. });
        if !self.tasks.get(&key).is_some_and(waits) {
            return;
        }
        match self.poll_limit(key) {
            Some(limit) if limit <= now => self.time_out(now, key, u32::MAX, End::NotPolled),
            // The definition was changed meanwhile, or the task put back with a longer delay.
            Some(_) => self.watch_queue(key),
            None => {}
        }
    }

    fn time_out(&mut self, now: Instant, key: TaskKey, worker: u32, end: End) {
        let task = self.tasks.get(&key).and_then(|task| self.definitions.get(task.definition));
        let Some(policy) = task.map(|definition| definition.timeout_policy) else { return };
        if policy == TimeoutPolicy::AlertOnly {
            return;
        }
        self.effects.push(Effect::Lapsed { key, worker });
        self.end(now, key, end, policy == TimeoutPolicy::Retry);
    }

    /// A task ends. With `again` the server retries it while it has retries left (R-RETRY-1).
    pub(super) fn end(&mut self, now: Instant, key: TaskKey, end: End, again: bool) {
        self.take_off(key);
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.state = State::Ended(end);
        self.open -= 1;
        let (definition, attempt) = (task.definition, task.attempt);
        let Some(rules) = self.definitions.get(definition) else { return };
        if !again || attempt >= rules.retries || self.keeps_retry(key) {
            return;
        }
        self.retry(now, key);
    }

    /// Makes the retry of a task that has ended.
    pub(super) fn retry(&mut self, now: Instant, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        let (definition, attempt) = (task.definition, task.attempt);
        let Some(rules) = self.definitions.get(definition) else { return };
        let mut delay = rules.delay_after(attempt);
        if !rules.retry_jitter.is_zero() {
            let most = u64::try_from(rules.retry_jitter.as_micros()).unwrap_or(u64::MAX);
            delay += Duration::from_micros(mix(self.setup.seed ^ self.made) % most.saturating_add(1));
        }
        let next = self.put_task(now, definition, Some(key), delay);
        if let Some(task) = self.tasks.get_mut(&key) {
            task.retried_as = Some(next);
        }
    }

    /// Takes a task out of its queue, or off the count of those in progress.
    fn take_off(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        let Some(definition) = self.definitions.get(task.definition) else { return };
        match task.state {
            State::Queued => {
                if let Some(waiting) = self.queues.get_mut(&definition.queue) {
                    waiting.retain(|waiting| *waiting != key);
                }
            }
            State::Leased { .. } => {
                let running = definition.limit.and_then(|limit| self.running.get_mut(&limit.group));
                if let Some(running) = running {
                    *running = running.saturating_sub(1);
                }
            }
            State::Postponed { .. } | State::Ended(_) => {}
        }
    }
}
