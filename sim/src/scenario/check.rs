//! What a scenario must keep beyond its types, and what a group's policy comes to.

mod processes;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use downbeat_core::machine::{self, Policy};

use super::generate::is_about_calls;
use super::limits::{
    BURST_MAX, CALL_TIME_MAX, LEASE_MIN, PERCENT_MAX, RETRIES_MAX, SKEW_MAX, SLOTS_MAX, TABLE_MAX,
    TASK_TIME_MAX, TASKS_MAX, TOKEN_LIFE_MIN, WORKERS_MAX,
};
use super::model::{Arrival, Fault, FaultKind, Scenario, Spread, Tasks, VERSION, Workers};
use super::policy::{Journal, OnLapse, PolicyChoice, Preset};
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

impl Scenario {
    /// Returns everything that is out of bounds; empty for a scenario that can be run.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found { problems: Vec::new(), scenario: self };
        found.whole();
        for (at, process) in self.processes.iter().enumerate() {
            found.process(&format!("processes[{at}]"), process);
        }
        for (at, group) in self.workers.iter().enumerate() {
            found.held(&format!("workers[{at}]"), group);
            found.workers(&format!("workers[{at}]"), group);
            found.times(&format!("workers[{at}]"), group);
            found.policy(&format!("workers[{at}].policy"), &format!("workers[{at}]"), group);
        }
        for (at, tasks) in self.tasks.iter().enumerate() {
            found.tasks(&format!("tasks[{at}]"), tasks);
            found.arrive(&format!("tasks[{at}].arrive"), &tasks.arrive);
        }
        for (at, fault) in self.faults.iter().enumerate() {
            found.fault(&format!("faults[{at}]"), fault);
            found.confined(&format!("faults[{at}]"), fault);
        }
        found.problems
    }
}

struct Found<'a> {
    problems: Vec<Problem>,
    scenario: &'a Scenario,
}

impl Found<'_> {
    fn unless(&mut self, kept: bool, key: impl Into<String>, what: impl FnOnce() -> String) {
        if !kept {
            self.problems.push(Problem { key: key.into(), what: what() });
        }
    }

    /// A bound on a length of time.
    fn at_most(&mut self, key: &str, span: Span, most: Duration) {
        self.unless(span.get() <= most, key, || {
            format!("{span} is not allowed; use at most {}", words(most))
        });
    }

    /// Nothing may be planned for after the run's end, if that is given.
    fn before_end(&mut self, key: &str, span: Span) {
        let end = self.scenario.end_at.filter(|end| span >= *end);
        if let Some(end) = end {
            self.unless(false, key, || format!("{span} is not before end_at ({end})"));
        }
    }

    fn name(&mut self, key: String, name: Option<&str>) {
        self.unless(name.is_none_or(|name| !name.trim().is_empty()), key, || "must not be empty".to_owned());
    }

    fn spread(&mut self, key: &str, spread: &Spread, most: Duration) {
        match spread {
            Spread::Fixed { of } => self.at_most(&format!("{key}.of"), *of, most),
            Spread::Uniform { min, max } => {
                self.unless(min <= max, format!("{key}.max"), || format!("{max} is less than min ({min})"));
                self.at_most(&format!("{key}.max"), *max, most);
            }
            Spread::Exponential { mean, max } => {
                self.unless(mean <= max, format!("{key}.max"), || {
                    format!("{max} is less than mean ({mean})")
                });
                self.at_most(&format!("{key}.max"), *max, most);
            }
        }
    }

    /// What is not about one group, stream or fault.
    fn whole(&mut self) {
        let it = self.scenario;
        self.unless(it.version == VERSION, "version", || {
            format!("{} is not known; this program reads version {VERSION}", it.version)
        });
        self.unless(!it.workers.is_empty(), "workers", || {
            "at least one group of workers is needed".to_owned()
        });
        // What is too much by itself is said there.
        let count = it.worker_count();
        let single = it.workers.iter().any(|group| group.count > WORKERS_MAX);
        self.unless(single || count <= u64::from(WORKERS_MAX), "workers", || {
            format!("{count} workers in all groups together are not allowed; use at most {WORKERS_MAX}")
        });
        let tasks = it.tasks.iter().map(|tasks| mean_count(&tasks.arrive)).fold(0, u64::saturating_add);
        let single = it.tasks.iter().any(|tasks| too_many_at_once(&tasks.arrive));
        self.unless(single || tasks <= TASKS_MAX, "tasks", || {
            format!("{tasks} tasks in all streams together are not allowed; use at most {TASKS_MAX}")
        });
        self.unless(it.end_at.is_none_or(|end| end >= it.heal_at), "end_at", || {
            format!("is before heal_at ({})", it.heal_at)
        });
        self.unless(it.end_at.is_none_or(|end| !end.get().is_zero()), "end_at", || {
            "must be above zero, or nothing happens".to_owned()
        });
        self.spread("network.latency", &it.network.latency, CALL_TIME_MAX);
        self.unless(it.server.capacity_per_second != Some(0), "server.capacity_per_second", || {
            "0 is not allowed; leave it out for a server without a limit".to_owned()
        });
        let life = it.server.token_life;
        self.unless(life.get() >= TOKEN_LIFE_MIN, "server.token_life", || {
            format!("{life} is not allowed; use at least {}", words(TOKEN_LIFE_MIN))
        });
    }

    fn workers(&mut self, key: &str, group: &Workers) {
        self.unless((1..=WORKERS_MAX).contains(&group.count), format!("{key}.count"), || {
            format!("{} is not allowed; use 1 to {WORKERS_MAX}", group.count)
        });
        self.unless((1..=SLOTS_MAX).contains(&group.slots), format!("{key}.slots"), || {
            format!("{} is not allowed; use 1 to {SLOTS_MAX}", group.slots)
        });
        self.name(format!("{key}.task"), Some(&group.task));
        self.name(format!("{key}.domain"), group.domain.as_deref());
        self.unless(
            group.table.is_none_or(|table| table >= group.slots && table <= TABLE_MAX),
            format!("{key}.table"),
            || format!("use the slots ({}) up to {TABLE_MAX}", group.slots),
        );
        self.skew(key, group.clock_skew_ppm);
    }

    fn skew(&mut self, key: &str, ppm: i64) {
        self.unless((-SKEW_MAX..=SKEW_MAX).contains(&ppm), format!("{key}.clock_skew_ppm"), || {
            format!("use -{SKEW_MAX} to {SKEW_MAX} (ten percent)")
        });
    }

    /// The times of a group's workers.
    fn times(&mut self, key: &str, group: &Workers) {
        let of = Times { count: group.count, start_at: group.start_at, stagger: group.stagger };
        self.lives(key, "worker", &of, group.drain_at, group.restart_after);
    }

    fn lives(&mut self, key: &str, what: &str, of: &Times, drain_at: Option<Span>, restart: Option<Span>) {
        self.before_end(&format!("{key}.start_at"), of.start_at);
        let later = of.stagger.get().saturating_mul(of.count.saturating_sub(1));
        let last = Span::new(of.start_at.get().saturating_add(later));
        if !of.stagger.get().is_zero() && self.scenario.end_at.is_some_and(|end| last >= end) {
            self.unless(false, format!("{key}.stagger"), || {
                format!("lets the last {what} start at {last}, which is not before end_at")
            });
        }
        if let Some(drain) = drain_at {
            self.before_end(&format!("{key}.drain_at"), drain);
            self.unless(drain >= of.start_at, format!("{key}.drain_at"), || {
                format!("{drain} is before start_at ({})", of.start_at)
            });
        }
        let aborts = self.scenario.faults.iter().any(|fault| fault.kind == FaultKind::Abort);
        let ends = drain_at.is_some() || aborts;
        self.unless(restart.is_none() || ends, format!("{key}.restart_after"), || {
            format!(
                "has no meaning without drain_at, or a fault `abort`: no {what} ends, so none starts anew"
            )
        });
    }

    fn policy(&mut self, key: &str, group_key: &str, group: &Workers) {
        let choice = &group.policy;
        for (field, span, most) in [
            ("poll_interval", choice.poll_interval, CALL_TIME_MAX),
            ("call_timeout", choice.call_timeout, CALL_TIME_MAX),
            ("failing_cap", choice.failing_cap, CALL_TIME_MAX),
            ("report_timeout", choice.report_timeout, CALL_TIME_MAX),
            ("store_after", choice.store_after, TASK_TIME_MAX),
            ("ask_interval", choice.ask_interval, TASK_TIME_MAX),
            ("drain_timeout", choice.drain_timeout, TASK_TIME_MAX),
        ] {
            if let Some(span) = span {
                self.at_most(&format!("{key}.{field}"), span, most);
            }
        }
        if !(1..=SLOTS_MAX).contains(&group.slots) {
            return;
        }
        let policy = self.scenario.policy_of(group);
        if let Err(error) = policy.check(usize::from(group.capacity())) {
            let key = match error.field {
                "max_calls" => format!("{key}.lanes"),
                "failing" => format!("{key}.failing_cap"),
                "concurrency" => format!("{group_key}.slots"),
                field => format!("{key}.{field}"),
            };
            self.unless(false, key, || format!("is out of bounds; it takes {}", error.allowed));
        }
        let way = match &self.scenario.network.latency {
            Spread::Fixed { of } => *of,
            Spread::Uniform { min, .. } => *min,
            Spread::Exponential { mean, .. } => *mean,
        };
        for (field, limit) in
            [("call_timeout", policy.call_timeout), ("report_timeout", policy.report_timeout)]
        {
            let answered = way.get().saturating_add(way.get()) < limit;
            self.unless(answered, format!("{key}.{field}"), || {
                let limit = Span::new(limit);
                format!(
                    "{limit} is too short for a network.latency of {way} each way: no call could be answered"
                )
            });
        }
    }

    fn tasks(&mut self, key: &str, tasks: &Tasks) {
        self.name(format!("{key}.task"), Some(&tasks.task));
        self.name(format!("{key}.domain"), tasks.domain.as_deref());
        self.spread(&format!("{key}.duration"), &tasks.duration, TASK_TIME_MAX);
        let timeout = tasks.response_timeout;
        self.unless(timeout.get() >= LEASE_MIN, format!("{key}.response_timeout"), || {
            format!("{timeout} is not allowed; use at least {}", words(LEASE_MIN))
        });
        for (field, span) in [
            ("response_timeout", timeout),
            ("callback_after", tasks.callback_after),
            ("retry_delay", tasks.retry_delay),
            ("poll_timeout", tasks.poll_timeout.unwrap_or(Span::new(LEASE_MIN))),
        ] {
            let key = format!("{key}.{field}");
            self.at_most(&key, span, TASK_TIME_MAX);
            self.unless(span.get().subsec_nanos() == 0, key, || {
                format!("{span} is not allowed; the server takes whole seconds")
            });
        }
        let waits = tasks.poll_timeout.is_none_or(|timeout| timeout.get() >= LEASE_MIN);
        self.unless(waits, format!("{key}.poll_timeout"), || {
            format!("use at least {}, or leave it out: a task may wait for ever then", words(LEASE_MIN))
        });
        self.unless(tasks.retries <= RETRIES_MAX, format!("{key}.retries"), || {
            format!("{} is not allowed; use 0 to {RETRIES_MAX}", tasks.retries)
        });
    }

    fn arrive(&mut self, key: &str, arrive: &Arrival) {
        match arrive {
            Arrival::Burst { at, count } => {
                self.unless((1..=BURST_MAX).contains(count), format!("{key}.count"), || {
                    format!("{count} is not allowed; use 1 to {BURST_MAX}")
                });
                self.before_end(&format!("{key}.at"), *at);
            }
            Arrival::Trace { at } => {
                let most = usize::try_from(BURST_MAX).unwrap_or(usize::MAX);
                self.unless((1..=most).contains(&at.len()), format!("{key}.at"), || {
                    format!("{} times are not allowed; use 1 to {BURST_MAX}", at.len())
                });
                for (number, at) in at.iter().enumerate() {
                    self.before_end(&format!("{key}.at[{number}]"), *at);
                }
            }
            Arrival::Steady { every, from, until } | Arrival::Poisson { every, from, until } => {
                self.unless(!every.get().is_zero(), format!("{key}.every"), || {
                    "must be above zero".to_owned()
                });
                self.unless(until > from, format!("{key}.until"), || {
                    format!("{until} is not after from ({from}): no task would come")
                });
                if let Some(end) = self.scenario.end_at.filter(|end| until > end) {
                    self.unless(false, format!("{key}.until"), || format!("{until} is after end_at ({end})"));
                }
            }
        }
    }

    fn fault(&mut self, key: &str, fault: &Fault) {
        let heal_at = self.scenario.heal_at;
        self.unless((1..=PERCENT_MAX).contains(&fault.percent), format!("{key}.percent"), || {
            format!("{} is not allowed; use 1 to {PERCENT_MAX}", fault.percent)
        });
        self.unless(fault.at < heal_at, format!("{key}.at"), || {
            format!("{} is not before heal_at ({heal_at}), from where on there is no fault", fault.at)
        });
        self.unless(!fault.lasts.get().is_zero(), format!("{key}.for"), || {
            "must be above zero, or nothing happens".to_owned()
        });
        let wants = matches!(
            fault.kind,
            FaultKind::Slow
                | FaultKind::SlowAnswer
                | FaultKind::ClockJump
                | FaultKind::ClockBack
                | FaultKind::FinishTwice
                | FaultKind::Kill
        );
        self.unless(wants == fault.by.is_some(), format!("{key}.by"), || {
            let verb = if wants { "is needed" } else { "has no meaning" };
            format!(
                "{verb} with this kind of fault (it goes with slow, slow_answer, clock_jump, clock_back, finish_twice and kill)"
            )
        });
        self.unless(fault.by.is_none_or(|by| !by.get().is_zero()), format!("{key}.by"), || {
            "must be above zero, or nothing happens".to_owned()
        });
        let may_ask = matches!(fault.kind, FaultKind::Throttle | FaultKind::Error503);
        self.unless(fault.retry_after.is_none() || may_ask, format!("{key}.retry_after"), || {
            "goes only with throttle and error503".to_owned()
        });
    }

    /// What a fault is confined to.
    fn confined(&mut self, key: &str, fault: &Fault) {
        self.unless(fault.calls.is_none() || is_about_calls(fault.kind), format!("{key}.calls"), || {
            "this kind of fault is not about single calls; leave it out".to_owned()
        });
        let empty = |list: Option<usize>| list == Some(0);
        let needless = || "is empty, so that nothing is hit; leave it out for all".to_owned();
        self.unless(!empty(fault.calls.as_ref().map(Vec::len)), format!("{key}.calls"), needless);
        self.unless(!empty(fault.workers.as_ref().map(Vec::len)), format!("{key}.workers"), needless);
        let (count, mut seen) = (self.scenario.worker_count(), BTreeSet::new());
        for (at, worker) in fault.workers.iter().flatten().enumerate() {
            let key = format!("{key}.workers[{at}]");
            self.unless(u64::from(*worker) < count, key.clone(), || {
                format!(
                    "there is no worker {worker}; they are numbered from 0 to {}",
                    count.saturating_sub(1)
                )
            });
            self.unless(seen.insert(*worker), key, || format!("worker {worker} is in the list already"));
        }
        let mut seen = BTreeSet::new();
        for (at, class) in fault.calls.iter().flatten().enumerate() {
            self.unless(seen.insert(*class), format!("{key}.calls[{at}]"), || {
                "is in the list already".to_owned()
            });
        }
    }
}

/// When equal workers, or processes, start.
struct Times {
    count: u32,
    start_at: Span,
    stagger: Span,
}

/// A limit, as files write it.
fn words(limit: Duration) -> String {
    Span::new(limit).to_string()
}

fn too_many_at_once(arrive: &Arrival) -> bool {
    matches!(arrive, Arrival::Burst { count, .. } if *count > BURST_MAX)
}

/// How many tasks come, on the average.
fn mean_count(arrive: &Arrival) -> u64 {
    match arrive {
        Arrival::Burst { .. } | Arrival::Trace { .. } => arrive.count(),
        Arrival::Steady { every, from, until } | Arrival::Poisson { every, from, until } => {
            let length = until.get().saturating_sub(from.get()).as_micros();
            u64::try_from(length / every.get().as_micros().max(1)).unwrap_or(u64::MAX).saturating_add(1)
        }
    }
}

impl Workers {
    /// Places in each worker's table.
    #[must_use]
    pub fn capacity(&self) -> u16 {
        self.table.unwrap_or_else(|| self.slots.saturating_mul(2))
    }

    /// Returns when their results are written to the store; `Off` if there is none.
    #[must_use]
    pub fn journal(&self) -> Journal {
        let stores = self.policy.store == Some(true) && self.policy.preset == Preset::Default;
        if stores { self.policy.journal.unwrap_or_default() } else { Journal::Off }
    }

    /// Returns the policy of the group's workers, against a server that wants tokens or not.
    #[must_use]
    pub fn policy_for(&self, auth: bool) -> Policy {
        let choice = &self.policy;
        let mut policy = match choice.preset {
            Preset::Default => Policy { authenticated: auth, ..Policy::default() },
            Preset::RubySdk => Policy::ruby_sdk(),
        };
        policy.concurrency = self.slots;
        choice.change(&mut policy);
        policy.journaled = self.journal() != Journal::Off;
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
        set(&mut policy.report_timeout, self.report_timeout);
        set(&mut policy.store_after, self.store_after);
        set(&mut policy.failing.cap, self.failing_cap);
        if let Some(limit) = self.drain_timeout {
            policy.drain_timeout = Some(limit.get());
        }
        if let Some(interval) = self.ask_interval {
            policy.ask_interval = Some(interval.get()).filter(|interval| !interval.is_zero());
        }
        match self.on_lapse {
            Some(OnLapse::Finish) => policy.on_lapse = machine::OnLapse::Finish,
            Some(OnLapse::Stop) => policy.on_lapse = machine::OnLapse::Stop,
            None => {}
        }
        policy.max_calls = self.lanes.unwrap_or(policy.max_calls);
        policy.take_next = self.take_next.unwrap_or(policy.take_next);
        policy.extend = self.extend.unwrap_or(policy.extend);
        policy.store = self.store.unwrap_or(policy.store);
    }
}
