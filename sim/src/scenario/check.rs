//! What a scenario must keep beyond its types, and what a group's policy comes to.

use std::fmt;
use std::time::Duration;

use downbeat_core::machine::Policy;

use super::generate::is_about_calls;
use super::model::{
    Arrival, Fault, FaultKind, PolicyChoice, Preset, Scenario, Spread, Tasks, VERSION, Workers,
};
use super::span::Span;

/// A value that is out of bounds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where: `workers[0].slots`.
    pub key: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// The most tasks that a scenario may schedule, so that a slip of the pen does not fill the memory.
const TASKS_MAX: u128 = 50_000_000;

/// The most tasks that may come at once: all of them are in memory together.
const BURST_MAX: u32 = 1_000_000;

/// The most workers of all groups together.
const WORKERS_MAX: u64 = 100_000;

impl Scenario {
    /// Everything that is out of bounds; empty for a scenario that can be run.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found(Vec::new());
        found.unless(self.version == VERSION, "version", || {
            format!("{} is not known; this program reads version {VERSION}", self.version)
        });
        found.unless(!self.workers.is_empty(), "workers", || {
            "at least one group of workers is needed".to_owned()
        });
        found.unless(self.end_at.is_none_or(|end| end >= self.heal_at), "end_at", || {
            format!("is before heal_at ({})", self.heal_at)
        });
        found.spread("network.latency", &self.network.latency);
        found.unless(self.server.capacity_per_second != Some(0), "server.capacity_per_second", || {
            "0 is not allowed; leave it out for a server without a limit".to_owned()
        });
        found.unless(!self.server.token_life.get().is_zero(), "server.token_life", || {
            "must be above zero".to_owned()
        });
        for (at, group) in self.workers.iter().enumerate() {
            found.workers(&format!("workers[{at}]"), group, self.server.auth);
        }
        for (at, tasks) in self.tasks.iter().enumerate() {
            found.tasks(&format!("tasks[{at}]"), tasks);
        }
        let count: u64 = self.workers.iter().map(|group| u64::from(group.count)).sum();
        found.unless(count <= WORKERS_MAX, "workers", || {
            format!("{count} workers in all groups together are not allowed; use at most {WORKERS_MAX}")
        });
        for (at, fault) in self.faults.iter().enumerate() {
            found.fault(&format!("faults[{at}]"), fault, count, self.heal_at);
        }
        found.0
    }
}

struct Found(Vec<Problem>);

impl Found {
    fn unless(&mut self, kept: bool, key: impl Into<String>, what: impl FnOnce() -> String) {
        if !kept {
            self.0.push(Problem { key: key.into(), what: what() });
        }
    }

    fn spread(&mut self, key: &str, spread: &Spread) {
        match spread {
            Spread::Fixed { .. } => {}
            Spread::Uniform { min, max } => {
                self.unless(min <= max, format!("{key}.max"), || format!("{max} is less than min ({min})"));
            }
            Spread::Exponential { mean, max } => {
                self.unless(mean <= max, format!("{key}.max"), || {
                    format!("{max} is less than mean ({mean})")
                });
            }
        }
    }

    fn workers(&mut self, key: &str, group: &Workers, auth: bool) {
        self.unless((1..=100_000).contains(&group.count), format!("{key}.count"), || {
            format!("{} is not allowed; use 1 to 100000", group.count)
        });
        self.unless((1..=64).contains(&group.slots), format!("{key}.slots"), || {
            format!("{} is not allowed; use 1 to 64", group.slots)
        });
        self.unless(!group.task.is_empty(), format!("{key}.task"), || "must not be empty".to_owned());
        self.unless(
            group.table.is_none_or(|table| table >= group.slots && table <= 1_024),
            format!("{key}.table"),
            || format!("use the slots ({}) up to 1024", group.slots),
        );
        self.unless(
            (-100_000..=100_000).contains(&group.clock_skew_ppm),
            format!("{key}.clock_skew_ppm"),
            || "use -100000 to 100000 (ten percent)".to_owned(),
        );
        if (1..=64).contains(&group.slots) {
            let checked = group.policy_for(auth).check(usize::from(group.capacity()));
            if let Err(error) = checked {
                let field = if error.field == "max_calls" { "lanes" } else { error.field };
                self.0.push(Problem {
                    key: format!("{key}.policy.{field}"),
                    what: format!("is out of bounds; it takes {}", error.allowed),
                });
            }
        }
    }

    fn tasks(&mut self, key: &str, tasks: &Tasks) {
        self.spread(&format!("{key}.duration"), &tasks.duration);
        let whole = |span: Span| span.get().subsec_nanos() == 0;
        let timeout = tasks.response_timeout;
        self.unless(
            whole(timeout) && timeout.get() >= Duration::from_secs(1),
            format!("{key}.response_timeout"),
            || format!("{timeout} is not allowed; the server takes whole seconds, at least 1s"),
        );
        self.unless(whole(tasks.callback_after), format!("{key}.callback_after"), || {
            format!("{} is not allowed; the server takes whole seconds", tasks.callback_after)
        });
        if let Arrival::Burst { count, .. } = &tasks.arrive {
            self.unless(*count <= BURST_MAX, format!("{key}.arrive.count"), || {
                format!("{count} is not allowed; use at most {BURST_MAX}")
            });
        }
        if let Arrival::Steady { every, from, until } | Arrival::Poisson { every, from, until } =
            &tasks.arrive
        {
            self.unless(!every.get().is_zero(), format!("{key}.arrive.every"), || {
                "must be above zero".to_owned()
            });
            let length = until.get().saturating_sub(from.get()).as_micros();
            self.unless(
                every.get().is_zero() || length / every.get().as_micros().max(1) <= TASKS_MAX,
                format!("{key}.arrive.every"),
                || format!("makes more than {TASKS_MAX} tasks"),
            );
        }
    }

    fn fault(&mut self, key: &str, fault: &Fault, workers: u64, heal_at: Span) {
        self.unless((1..=100).contains(&fault.percent), format!("{key}.percent"), || {
            format!("{} is not allowed; use 1 to 100", fault.percent)
        });
        self.unless(fault.at < heal_at || heal_at.get().is_zero(), format!("{key}.at"), || {
            format!("{} is not before heal_at ({heal_at}), from where on there is no fault", fault.at)
        });
        self.unless(fault.calls.is_none() || is_about_calls(fault.kind), format!("{key}.calls"), || {
            "this kind of fault is not about single calls; leave it out".to_owned()
        });
        for (at, worker) in fault.workers.iter().flatten().enumerate() {
            self.unless(u64::from(*worker) < workers, format!("{key}.workers[{at}]"), || {
                format!(
                    "there is no worker {worker}; they are numbered from 0 to {}",
                    workers.saturating_sub(1)
                )
            });
        }
        let wants = matches!(
            fault.kind,
            FaultKind::Slow | FaultKind::ClockJump | FaultKind::ClockBack | FaultKind::FinishTwice
        );
        self.unless(wants == fault.by.is_some(), format!("{key}.by"), || {
            let verb = if wants { "is needed" } else { "has no meaning" };
            format!(
                "{verb} with this kind of fault (it goes with slow, clock_jump, clock_back and finish_twice)"
            )
        });
        let may_ask = matches!(fault.kind, FaultKind::Throttle | FaultKind::Error503);
        self.unless(fault.retry_after.is_none() || may_ask, format!("{key}.retry_after"), || {
            "goes with throttle and error503 alone".to_owned()
        });
    }
}

impl Workers {
    /// Places in each worker's table.
    #[must_use]
    pub fn capacity(&self) -> u16 {
        self.table.unwrap_or_else(|| self.slots.saturating_mul(2))
    }

    /// The policy of the group's workers, against a server that wants tokens or not.
    #[must_use]
    pub fn policy_for(&self, auth: bool) -> Policy {
        let choice = &self.policy;
        let mut policy = match choice.preset {
            Preset::Default => Policy { authenticated: auth, ..Policy::default() },
            Preset::Seed => Policy::seed(),
        };
        policy.concurrency = self.slots;
        choice.change(&mut policy);
        policy
    }
}

impl PolicyChoice {
    fn change(&self, policy: &mut Policy) {
        let set = |field: &mut Duration, choice: Option<Span>| {
            if let Some(span) = choice {
                *field = span.get();
            }
        };
        set(&mut policy.poll_interval, self.poll_interval);
        set(&mut policy.long_poll, self.long_poll);
        set(&mut policy.call_timeout, self.call_timeout);
        set(&mut policy.failing.cap, self.failing_cap);
        if let Some(limit) = self.drain_timeout {
            policy.drain_timeout = Some(limit.get());
        }
        policy.max_calls = self.lanes.unwrap_or(policy.max_calls);
        policy.take_next = self.take_next.unwrap_or(policy.take_next);
        policy.extend = self.extend.unwrap_or(policy.extend);
        policy.store = self.store.unwrap_or(policy.store);
    }
}
