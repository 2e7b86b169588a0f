//! What the oracles may know before a run, and the bounds that they state.

use std::time::Duration;

use downbeat_core::machine::Policy;

use crate::scenario::{Scenario, Span, Spread, Tasks};

/// What every oracle may know before the run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Each worker's policy, by number over all groups.
    pub policies: Vec<Policy>,
    /// Each worker's table capacity.
    pub capacities: Vec<u16>,
    /// Events of the server are among those shown.
    pub sees_server: bool,
    /// Bounds of liveness.
    pub bounds: Bounds,
}

/// How long things may take once no fault happens any more, in true time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Until every gate that a fault closed is open: a lost call's timeout, then the caps of all backoffs and the
    /// longest `Retry-After`.
    pub settle: Duration,
    /// L1: until a task ends, counted from its arrival or from the last fault.
    pub task_ends: Duration,
    /// L2: until a result is accepted, counted from its end or from the last fault.
    pub result_accepted: Duration,
    /// L4: until a drain without a time limit ends.
    pub drain_ends: Duration,
    /// L5: until a token is had.
    pub token_had: Duration,
}

/// A yielded task comes again at most this often, in the world of the simulator.
pub(crate) const YIELDS_MAX: u32 = 5;
/// Bounds in true time hold for clocks that are up to ten percent slow.
const SLOW_CLOCK: u32 = 12;

impl Setting {
    /// What a scenario says.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        let auth = scenario.server.auth;
        let (mut policies, mut capacities) = (Vec::new(), Vec::new());
        for group in &scenario.workers {
            let policy = group.policy_for(auth);
            policies.extend((0..group.count).map(|_| policy));
            capacities.extend((0..group.count).map(|_| group.capacity()));
        }
        let bounds = Bounds::of(scenario, &policies);
        Self { policies, capacities, sees_server: true, bounds }
    }

    /// Workers of a record, without a server to see.
    #[must_use]
    pub fn of_workers(workers: &[(Policy, u16)]) -> Self {
        let policies: Vec<Policy> = workers.iter().map(|(policy, _)| *policy).collect();
        let long = Duration::from_secs(u64::from(u32::MAX));
        let bounds = Bounds {
            settle: long,
            task_ends: long,
            result_accepted: long,
            drain_ends: long,
            token_had: long,
        };
        let capacities = workers.iter().map(|(_, capacity)| *capacity).collect();
        Self { policies, capacities, sees_server: false, bounds }
    }
}

impl Bounds {
    fn of(scenario: &Scenario, policies: &[Policy]) -> Self {
        let longest = |of: fn(&Policy) -> Duration| policies.iter().map(of).max().unwrap_or_default();
        let call = longest(|policy| policy.call_timeout + policy.long_poll) + latency(scenario);
        let failing = longest(|policy| policy.failing.cap);
        let auth = longest(|policy| policy.auth.cap);
        let update = longest(|policy| policy.update.iter().copied().max().unwrap_or_default());
        let asked = scenario.faults.iter().filter_map(|fault| fault.retry_after).max();
        let asked = asked.map_or(Duration::ZERO, |asked| asked.get().min(Duration::from_secs(300)) * 11 / 10);
        let back = scenario.faults.iter().filter(|fault| fault.kind == crate::scenario::FaultKind::ClockBack);
        let back = back.filter_map(|fault| fault.by).max().map_or(Duration::ZERO, Span::get);
        let busy = busy(scenario);
        let settle = slowed(call * 2 + failing * 2 + auth * 2 + asked * 2 + back) + busy;
        let result_accepted = slowed(settle + update + call * 2) + busy;
        let tasks = scenario.tasks.iter().map(|tasks| life(tasks, settle, update, call)).max();
        let queue = queue(scenario);
        let idle = longest(|policy| policy.poll_interval);
        let restart = scenario.workers.iter().filter_map(|group| group.restart_after).max();
        let start = scenario.workers.iter().map(|group| {
            group.start_at.get().max(group.drain_at.unwrap_or_default().get())
                + group.stagger.get().saturating_mul(group.count)
        });
        let absent = restart.unwrap_or_default().get() + start.max().unwrap_or_default();
        let run = scenario.tasks.iter().map(|tasks| most(&tasks.duration)).max().unwrap_or_default();
        Self {
            settle,
            task_ends: slowed(tasks.unwrap_or_default().saturating_add(queue) + idle) + absent + settle,
            result_accepted,
            drain_ends: run + result_accepted + settle,
            token_had: slowed(auth + asked + call * 2 + failing * 2) + settle,
        }
    }
}

fn slowed(length: Duration) -> Duration {
    length.saturating_mul(SLOW_CLOCK) / 10
}

fn latency(scenario: &Scenario) -> Duration {
    most(&scenario.network.latency).saturating_mul(2)
}

/// The longest that a spread gives.
fn most(spread: &Spread) -> Duration {
    match spread {
        Spread::Fixed { of } => of.get(),
        Spread::Uniform { max, .. } | Spread::Exponential { max, .. } => max.get(),
    }
}

/// What a server of bounded capacity may owe when it heals: every worker's calls of a timeout.
fn busy(scenario: &Scenario) -> Duration {
    let workers: u32 = scenario.workers.iter().map(|group| group.count).sum();
    let rate = scenario.server.capacity_per_second.filter(|rate| *rate > 0);
    rate.map_or(Duration::ZERO, |rate| Duration::from_secs(u64::from(workers) * 40 / u64::from(rate) + 60))
}

/// One task from its arrival to its end, with all its retries and yields, once there is a place for it.
fn life(tasks: &Tasks, settle: Duration, update: Duration, call: Duration) -> Duration {
    let run = most(&tasks.duration);
    let yields = (tasks.callback_after.get() + run + update + call) * (YIELDS_MAX + 1);
    let one = settle + tasks.response_timeout.get() + yields + update + tasks.retry_delay.get();
    one.saturating_mul(tasks.retries + 1)
}

/// All tasks that there can be, one after another over the slots that there are at the least.
fn queue(scenario: &Scenario) -> Duration {
    let slots: u32 = scenario.workers.iter().map(|group| u32::from(group.slots) * group.count).sum();
    let work = scenario.tasks.iter().map(|tasks| {
        let runs = tasks.arrive.count().saturating_mul(u64::from(tasks.retries + 1));
        let runs = u32::try_from(runs.saturating_mul(u64::from(YIELDS_MAX))).unwrap_or(u32::MAX);
        (most(&tasks.duration) + Duration::from_millis(200)).saturating_mul(runs)
    });
    work.fold(Duration::ZERO, Duration::saturating_add) / slots.max(1)
}
