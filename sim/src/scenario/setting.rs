//! What the oracles may know before a run, and the bounds that they state.

use std::time::Duration;

use downbeat_core::machine::Policy;

use super::clock::Clocks;
use super::fleet::Hub;
use super::model::{FaultKind, Processes, Scenario, Spread, Tasks, Workers};
use super::policy::Journal;
use super::span::Span;

/// What every oracle may know before the run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Each worker's policy, by number over all groups.
    pub policies: Vec<Policy>,
    /// Each worker's table capacity.
    pub capacities: Vec<u16>,
    /// The processes of many workers.
    pub hubs: Vec<Hub>,
    /// Events of the server are among those shown.
    pub sees_server: bool,
    /// The server may hand a task out a second time without a lease.
    pub delivers_twice: bool,
    /// When each worker's results are written to its store.
    pub journals: Vec<Journal>,
    /// Stores may be full.
    pub stores_fill: bool,
    /// Calls may fail, or be lost.
    pub loses_calls: bool,
    /// What the workers' clocks must show, if that is known.
    pub clocks: Option<Clocks>,
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
    /// One call there and back, as the network is without a fault.
    pub round_trip: Duration,
}

/// A yielded task comes again at most this often, in the world of the simulator.
pub(crate) const YIELDS_MAX: u32 = 5;
/// Bounds in true time hold for clocks that are up to ten percent slow.
const SLOW_CLOCK: u32 = 12;

impl Setting {
    /// Reads what a scenario says.
    #[must_use]
    pub fn from_scenario(scenario: &Scenario) -> Self {
        let (mut policies, mut capacities, mut journals) = (Vec::new(), Vec::new(), Vec::new());
        for group in &scenario.workers {
            let (policy, count) = (scenario.policy_of(group), scenario.in_group(group));
            policies.extend((0..count).map(|_| policy));
            capacities.extend((0..count).map(|_| group.capacity()));
            journals.extend((0..count).map(|_| group.journal()));
        }
        let bounds = Bounds::new(scenario, &policies);
        let hubs = Hub::from_scenario(scenario);
        let delivers_twice = scenario.faults.iter().any(|fault| fault.kind == FaultKind::Duplicate);
        let stores_fill = scenario.faults.iter().any(|fault| fault.kind == FaultKind::StoreFull);
        let keeps = |kind| {
            matches!(
                kind,
                FaultKind::Kill
                    | FaultKind::Crash
                    | FaultKind::Pause
                    | FaultKind::Cancel
                    | FaultKind::Restart
                    | FaultKind::OverDeliver
            )
        };
        let loses_calls = scenario.server.auth || scenario.faults.iter().any(|fault| !keeps(fault.kind));
        let clocks = Some(Clocks::from_scenario(scenario));
        Self {
            policies,
            capacities,
            hubs,
            sees_server: true,
            delivers_twice,
            journals,
            stores_fill,
            loses_calls,
            clocks,
            bounds,
        }
    }

    /// Workers of a record, without a server to see.
    #[must_use]
    pub fn from_workers(workers: &[(Policy, u16)]) -> Self {
        let policies: Vec<Policy> = workers.iter().map(|(policy, _)| *policy).collect();
        let long = Duration::from_secs(u64::from(u32::MAX));
        let bounds = Bounds {
            settle: long,
            task_ends: long,
            result_accepted: long,
            drain_ends: long,
            token_had: long,
            round_trip: long,
        };
        let capacities = workers.iter().map(|(_, capacity)| *capacity).collect();
        let hubs = Vec::new();
        let journals = vec![Journal::Off; policies.len()];
        Self {
            policies,
            capacities,
            hubs,
            sees_server: false,
            delivers_twice: true,
            journals,
            stores_fill: true,
            loses_calls: true,
            clocks: None,
            bounds,
        }
    }

    /// Returns the same workers, some of them behind these hubs.
    #[must_use]
    pub fn behind(self, hubs: &[Hub]) -> Self {
        Self { hubs: hubs.to_vec(), ..self }
    }
}

impl Bounds {
    fn new(scenario: &Scenario, policies: &[Policy]) -> Self {
        let longest = |of: fn(&Policy) -> Duration| policies.iter().map(of).max().unwrap_or_default();
        let call = longest(|policy| policy.call_timeout.max(policy.report_timeout) + policy.long_poll)
            + latency(scenario);
        let failing = longest(|policy| policy.failing.cap);
        let auth = longest(|policy| policy.auth.cap);
        let update = longest(|policy| policy.update.iter().copied().max().unwrap_or_default());
        let asked = scenario.faults.iter().filter_map(|fault| fault.retry_after).max();
        let asked = asked.map_or(Duration::ZERO, |asked| asked.get().min(Duration::from_secs(300)) * 11 / 10);
        let back = scenario.faults.iter().filter(|fault| fault.kind == FaultKind::ClockBack);
        let back = back.filter_map(|fault| fault.by).max().map_or(Duration::ZERO, Span::get);
        let busy = busy(scenario);
        let settle = slowed(call * 2 + failing * 2 + auth * 2 + asked * 2 + back) + busy + turns(scenario);
        let result_accepted = slowed(settle + update + call * 2) + busy;
        let tasks = scenario.tasks.iter().map(|tasks| life(tasks, settle, update, call)).max();
        let queue = queue(scenario);
        let idle = longest(|policy| policy.poll_interval);
        let groups = scenario.workers.iter().map(|group| {
            (group.restart_after, group.start_at, group.drain_at, group.stagger.get() * group.count)
        });
        let processes = scenario.processes.iter().map(|process| {
            (process.restart_after, process.start_at, process.drain_at, process.stagger.get() * process.count)
        });
        let lives: Vec<_> = groups.chain(processes).collect();
        let restart = lives.iter().filter_map(|life| life.0).max();
        let start = lives
            .iter()
            .map(|(_, start, drain, stagger)| start.get().max(drain.unwrap_or_default().get()) + *stagger);
        let absent = restart.unwrap_or_default().get() + start.max().unwrap_or_default();
        let run = scenario.tasks.iter().map(|tasks| most(&tasks.duration)).max().unwrap_or_default();
        Self {
            settle,
            task_ends: slowed(tasks.unwrap_or_default().saturating_add(queue) + idle) + absent + settle,
            result_accepted,
            drain_ends: run + result_accepted + settle,
            round_trip: latency(scenario) + busy,
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
    let workers = scenario.worker_count();
    let rate = scenario.server.capacity_per_second.filter(|rate| *rate > 0);
    rate.map_or(Duration::ZERO, |rate| Duration::from_secs(workers * 40 / u64::from(rate) + 60))
}

/// How long a worker of a process waits for its turn: every entry of all its workers has a call before, on the lanes
/// that polls leave free.
fn turns(scenario: &Scenario) -> Duration {
    let one = latency(scenario) + Duration::from_millis(100);
    let wait = |process: &Processes| {
        let held = scenario.workers.iter().filter(|group| group.process.as_ref() == Some(&process.name));
        let entries: u32 = held.map(|group| group.count * u32::from(group.capacity() + 1)).sum();
        one * entries / u32::from(process.calls / 4).max(1)
    };
    scenario.processes.iter().map(wait).max().unwrap_or_default()
}

/// One task from its arrival to its end, with all its retries and yields, once there is an entry for it.
fn life(tasks: &Tasks, settle: Duration, update: Duration, call: Duration) -> Duration {
    let run = most(&tasks.duration);
    let yields = (tasks.callback_after.get() + run + update + call) * (YIELDS_MAX + 1);
    let one = settle + tasks.response_timeout.get() + yields + update + tasks.retry_delay.get();
    one.saturating_mul(tasks.retries + 1)
}

/// All tasks that there can be, one after another over the slots that there are at the least.
fn queue(scenario: &Scenario) -> Duration {
    let slots = |group: &Workers| u64::from(group.slots) * scenario.in_group(group);
    let slots: u64 = scenario.workers.iter().map(slots).sum();
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let work = scenario.tasks.iter().map(|tasks| {
        let runs = tasks.arrive.count().saturating_mul(u64::from(tasks.retries + 1));
        let runs = u32::try_from(runs.saturating_mul(u64::from(YIELDS_MAX))).unwrap_or(u32::MAX);
        (most(&tasks.duration) + Duration::from_millis(200)).saturating_mul(runs)
    });
    work.fold(Duration::ZERO, Duration::saturating_add) / slots.max(1)
}
