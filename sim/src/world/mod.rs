//! A run: one queue of events in virtual time, many workers, one server, and whoever watches.

mod backend;
mod call;
mod deliver;
mod ending;
mod faults;
mod journal;
mod perform;
mod process;
mod queue;
mod unit;

use std::time::Duration;

use downbeat_core::machine::{
    CallId, Control, Entry, EntryId, Input, Instant, Instead, Kind, Machine, Policy, Sound,
};

use self::backend::Backend;
use self::call::Response;
use self::ending::Ending;
use self::faults::Faults;
use self::queue::Queue;
use self::unit::{ProcessState, Unit};
use crate::event::{Event, Watcher};
use crate::random::Random;
use crate::scenario::{FaultKind, Process, Scenario, Setting, machine_seed};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// When.
    pub at: Instant,
    /// What was not finished at the end, as a sentence, or `None` if everything was.
    pub pending: Option<String>,
    /// Steps of machines.
    pub steps: u64,
    /// Events of the world: steps are caused by them, and so are the server's deeds.
    pub events: u64,
    /// A watcher stopped it.
    pub stopped: bool,
    /// It was ended because more happened than can in a sound run; `pending` says what it was about.
    pub endless: bool,
    /// A step of a clone gave another action or state, at this time, for this worker.
    pub nondeterminism: Option<(Instant, u32)>,
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
enum WorldEvent {
    Start { worker: u32 },
    Drain { worker: u32, life: u32 },
    Alarm { worker: u32 },
    Arrive { worker: u32, life: u32, call: CallId },
    Serve { worker: u32, life: u32, call: CallId },
    Answer { worker: u32, life: u32, call: CallId, response: Response },
    Timeout { worker: u32, life: u32, call: CallId, lost: bool },
    Finish { worker: u32, life: u32, entry: EntryId, ending: Ending },
    Written { worker: u32, life: u32, entry: EntryId, ending: Ending },
    Told { worker: u32, life: u32, entry: EntryId, ending: Ending },
    Kill { worker: u32, life: u32, after: Duration },
    FinishAgain { worker: u32, life: u32, entry: EntryId },
    Saved { worker: u32, life: u32, call: CallId, entry: EntryId, kept: Option<Option<Instead>> },
    Resend { worker: u32 },
    Task { stream: usize },
    Server,
    FaultBegins { index: usize },
    FaultEnds { index: usize },
    Heal,
}

/// After this much quiet beyond the last obligation, a run is over.
const QUIET: Duration = Duration::from_secs(20);
/// Without an `end_at`, a run ends this long after `heal_at` at the latest, or as long as a task may take to end.
const LONGEST_TAIL: Duration = Duration::from_secs(3 * 3_600);
/// Events that a sound run may have: these, and so many for each worker and second.
const EVENTS: (u64, u64) = (1_000_000, 400);

/// A run of a scenario, with machines of a given kind: sound, or a mutant that an oracle has to catch.
pub struct World<'a, M = Sound> {
    scenario: &'a Scenario,
    now: Instant,
    queue: Queue<WorldEvent>,
    /// The workers, and behind them the hubs of the processes.
    units: Vec<Unit<M>>,
    /// The policy of each group, and the entries in its workers' tables.
    groups: Vec<(Policy, u16)>,
    processes: Vec<Process>,
    backend: Backend<'a>,
    faults: Faults<'a>,
    network: Random,
    code: Random,
    /// When the server has time for the next request, if its capacity is bounded.
    busy_until: Instant,
    server_alarm: Instant,
    healed: bool,
    streams_left: usize,
    /// Results in the stores of all workers.
    stored: usize,
    idle_since: Instant,
    steps: u64,
    check_clones: bool,
    nondeterminism: Option<(Instant, u32)>,
    stop: bool,
    watchers: Vec<&'a mut dyn Watcher>,
    /// What the driver does wrong.
    mistake: Option<DriverMistake>,
}

/// A mistake of a driver with a journal, for the tests of the oracles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DriverMistake {
    /// The machine hears of a result before it is durable.
    TellsBeforeWritten,
    /// A result leaves the journal when its report is sent.
    ForgetsWhenSent,
    /// The journal is not told of a yield before it is sent.
    YieldUnnoted,
    /// Tasks that were in hand at a crash are left to their leases.
    LeavesLeases,
}

impl<'a, M: Kind> World<'a, M> {
    /// Sets a run up. The scenario must have passed its own check.
    #[must_use]
    pub fn new(scenario: &'a Scenario) -> Self {
        let processes = scenario.each_process();
        let first = u32::try_from(scenario.worker_count()).unwrap_or(u32::MAX);
        let hubs: Vec<(u32, &[u32])> =
            (first..).zip(processes.iter().map(|process| &*process.members)).collect();
        let faults = Faults::new(&scenario.faults, scenario.seed, &hubs);
        let mut world = Self {
            scenario,
            now: Instant::ZERO,
            queue: Queue::new(),
            units: Vec::new(),
            groups: Vec::new(),
            processes: Vec::new(),
            backend: Backend::new(scenario),
            faults,
            network: Random::stream(scenario.seed, 0x2e7),
            code: Random::stream(scenario.seed, 0xc0de),
            busy_until: Instant::ZERO,
            server_alarm: Instant::FAR_FUTURE,
            healed: false,
            streams_left: 0,
            stored: 0,
            idle_since: Instant::ZERO,
            steps: 0,
            check_clones: true,
            nondeterminism: None,
            stop: false,
            watchers: Vec::new(),
            mistake: None,
        };
        world.plan_workers();
        world.plan_processes(&processes);
        world.processes = processes;
        world.plan_tasks();
        world.plan_faults();
        world
    }

    /// Adds a watcher.
    pub fn watch(&mut self, watcher: &'a mut dyn Watcher) {
        self.watchers.push(watcher);
    }

    /// Has the driver make a mistake.
    pub fn mistake(&mut self, mistake: DriverMistake) {
        self.mistake = Some(mistake);
    }

    /// Sets whether each step is checked against a clone (S18); on by default.
    pub fn check_clones(&mut self, check: bool) {
        self.check_clones = check;
    }

    /// Runs to the end.
    pub fn run(mut self) -> Outcome {
        let end = self.end_at();
        let most = self.events_max(end);
        let mut events = 0;
        while let Some((at, coming)) = self.queue.take() {
            if at > end {
                self.now = end;
                break;
            }
            self.now = at;
            self.happen(coming);
            events += 1;
            if self.stop || self.nondeterminism.is_some() || events >= most || self.is_over() {
                break;
            }
        }
        Outcome {
            at: self.now,
            pending: self.pending(events >= most),
            steps: self.steps,
            events,
            stopped: self.stop,
            endless: events >= most,
            nondeterminism: self.nondeterminism,
        }
    }

    /// When the run ends at the latest.
    fn end_at(&self) -> Instant {
        let end = self.scenario.end_at.map(|end| end.get()).unwrap_or_else(|| {
            let bound = Setting::from_scenario(self.scenario).bounds.task_ends;
            self.scenario.heal_at.get().saturating_add(bound.max(LONGEST_TAIL))
        });
        Instant::ZERO.saturating_add(end)
    }

    /// How many events a sound run has at the most.
    fn events_max(&self, end: Instant) -> u64 {
        let (base, rate) = EVENTS;
        let workers = u64::try_from(self.units.len()).unwrap_or(u64::MAX);
        let seconds = end.as_micros() / 1_000_000 + 1;
        base.saturating_add(rate.saturating_mul(workers).saturating_mul(seconds))
    }

    /// Everything has ended, and it has been quiet for a while.
    fn is_over(&mut self) -> bool {
        if !self.healed || self.streams_left > 0 || self.backend.is_open() || self.stored > 0 {
            self.idle_since = self.now;
            return false;
        }
        self.scenario.end_at.is_none() && self.now.saturating_duration_since(self.idle_since) > QUIET
    }

    /// What is not finished, as a sentence.
    fn pending(&self, endless: bool) -> Option<String> {
        let what = self.backend.pending().or_else(|| {
            let stored = self.units.iter().position(|unit| !unit.store.is_empty());
            stored.map(|worker| {
                format!("worker {worker} has results in its store that the server has not taken")
            })
        });
        if endless {
            let rest = what.unwrap_or_else(|| "no task is open".to_owned());
            return Some(format!("more events than a sound run has; {rest}"));
        }
        what
    }

    fn happen(&mut self, coming: WorldEvent) {
        match coming {
            WorldEvent::Start { worker } => self.start(worker),
            WorldEvent::Drain { worker, life } => {
                if self.is_alive(worker, life) {
                    if let Some(unit) = self.unit_mut(worker) {
                        unit.draining = true;
                    }
                    self.step_and_drain(worker, Input::Control(Control::Drain));
                }
            }
            WorldEvent::Alarm { worker } => self.alarm(worker),
            WorldEvent::Arrive { worker, life, call } => self.arrive(worker, life, call),
            WorldEvent::Serve { worker, life, call } => self.serve(worker, life, call),
            WorldEvent::Answer { worker, life, call, response } => self.answer(worker, life, call, response),
            WorldEvent::Timeout { worker, life, call, lost } => self.time_out(worker, life, call, lost),
            WorldEvent::Finish { worker, life, entry, ending } => self.finish(worker, life, entry, ending),
            WorldEvent::Written { worker, life, entry, ending } => self.written(worker, life, entry, ending),
            WorldEvent::Told { worker, life, entry, ending } => self.told(worker, life, entry, ending),
            WorldEvent::Kill { worker, life, after } => {
                if self.is_alive(worker, life) {
                    self.kill(worker, after);
                }
            }
            WorldEvent::FinishAgain { worker, life, entry } => self.finish_again(worker, life, entry),
            WorldEvent::Saved { worker, life, call, entry, kept } => {
                self.saved(worker, life, call, entry, kept)
            }
            WorldEvent::Resend { worker } => self.resend(worker),
            WorldEvent::Task { stream } => self.task_arrives(stream),
            WorldEvent::Server => self.server_alarm_rings(),
            WorldEvent::FaultBegins { index } => self.fault_begins(index),
            WorldEvent::FaultEnds { index } => self.fault_ends(index),
            WorldEvent::Heal => self.heal(),
        }
        self.set_server_alarm();
    }

    // ---------------------------------------------------------------- plans

    fn plan_workers(&mut self) {
        let scenario = self.scenario;
        for (group, workers) in scenario.workers.iter().enumerate() {
            self.groups.push((scenario.policy_of(workers), workers.capacity()));
            for number in 0..u32::try_from(scenario.in_group(workers)).unwrap_or(u32::MAX) {
                let worker = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
                self.units.push(Unit::new(group, workers.clock_skew_ppm));
                let later = workers.stagger.get().saturating_mul(number);
                if workers.process.is_none() {
                    self.put(
                        Instant::ZERO.saturating_add(workers.start_at.get() + later),
                        WorldEvent::Start { worker },
                    );
                }
                if let Some(drain) = workers.drain_at {
                    let at = Instant::ZERO.saturating_add(drain.get() + later);
                    self.put(at, WorldEvent::Drain { worker, life: 1 });
                }
            }
        }
    }

    fn plan_faults(&mut self) {
        let heal = Instant::ZERO.saturating_add(self.scenario.heal_at.get());
        for (index, fault) in self.scenario.faults.iter().enumerate() {
            let begins = Instant::ZERO.saturating_add(fault.at.get());
            if begins < heal {
                self.put(begins, WorldEvent::FaultBegins { index });
                self.put(begins.saturating_add(fault.lasts.get()).min(heal), WorldEvent::FaultEnds { index });
            }
        }
        self.put(heal, WorldEvent::Heal);
    }

    // ---------------------------------------------------------------- faults

    fn fault_begins(&mut self, index: usize) {
        let Some(fault) = self.faults.begin(index) else { return };
        self.note_fault(index, fault.kind, true);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds wait for calls to hit")]
        match fault.kind {
            FaultKind::RevokeTokens => self.backend.revoke_tokens(),
            FaultKind::Cancel | FaultKind::Restart => {
                let restarts = fault.kind == FaultKind::Restart;
                let (faults, percent) = (&mut self.faults, fault.percent);
                self.backend.cancel(self.now, restarts, || faults.draws(percent));
                self.emit_effects();
            }
            FaultKind::Pause => self.for_each_hit(index, |world, worker| {
                if let Some(unit) = world.unit_mut(worker) {
                    unit.paused = true;
                }
                world.step_and_drain(worker, Input::Control(Control::Pause));
            }),
            FaultKind::ClockJump => self.for_each_hit(index, |world, worker| {
                if let Some(unit) = world.unit_mut(worker) {
                    unit.jumped += fault.by.map_or(Duration::ZERO, |by| by.get());
                }
                world.step_and_drain(worker, Input::Tick);
            }),
            FaultKind::Crash => self.for_each_hit(index, Self::crash),
            FaultKind::Abort => self.for_each_hit(index, |world, worker| {
                let host = world.host(worker);
                if let Some(unit) = world.unit_mut(host) {
                    unit.aborted = unit.runs();
                }
                world.step_and_drain(worker, Input::Control(Control::Abort));
            }),
            _ => {}
        }
    }

    fn fault_ends(&mut self, index: usize) {
        let Some(fault) = self.faults.end(index) else { return };
        self.note_fault(index, fault.kind, false);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds leave nothing to undo")]
        match fault.kind {
            FaultKind::Pause => self.for_each_hit(index, |world, worker| {
                if let Some(unit) = world.unit_mut(worker) {
                    unit.paused = false;
                }
                world.step_and_drain(worker, Input::Control(Control::Resume));
            }),
            FaultKind::Crash | FaultKind::Abort => self.for_each_hit(index, |world, worker| {
                let host = world.host(worker);
                // Whoever aborted some workers of a process has to start it anew to have them back.
                if world
                    .unit(host)
                    .is_some_and(|unit| unit.aborted && matches!(unit.process_state, ProcessState::Hub(_)))
                {
                    world.crash(host);
                }
                if world.unit(host).is_some_and(|unit| !unit.runs() && !unit.drained) {
                    world.start(host);
                }
            }),
            _ => {}
        }
    }

    fn for_each_hit(&mut self, index: usize, mut then: impl FnMut(&mut Self, u32)) {
        for worker in 0..u32::try_from(self.units.len()).unwrap_or(u32::MAX) {
            // What hits a process as a whole is not told to each of its workers too.
            let whole = self.unit(worker).and_then(|unit| unit.seat);
            let whole = whole.is_some_and(|seat| self.faults.names(index, seat.hub));
            if self.faults.names(index, worker) && !whole {
                then(self, worker);
            }
        }
    }

    fn note_fault(&mut self, index: usize, kind: FaultKind, begins: bool) {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.emit(&Event::Fault { at: self.now, index, kind, begins });
    }

    fn heal(&mut self) {
        for index in self.faults.active().to_vec() {
            self.fault_ends(index);
        }
        self.healed = true;
        self.emit(&Event::Healed { at: self.now });
    }

    // ---------------------------------------------------------------- lives

    fn start(&mut self, worker: u32) {
        if self.process_of_hub(worker).is_some() {
            return self.start_process(worker);
        }
        let (now, seed) = (self.now, self.scenario.seed);
        let Some(unit) = self.unit(worker).filter(|unit| !unit.runs()) else { return };
        let Some((policy, capacity)) = self.groups.get(unit.group).copied() else { return };
        let table = vec![Entry::FREE; usize::from(capacity)].into_boxed_slice();
        let seed = machine_seed(seed, worker, unit.life);
        let Ok(machine) = Machine::with_storage(table, policy, seed) else { return };
        let Some(unit) = self.unit_mut(worker) else { return };
        unit.begin_life(now, ProcessState::Alone(machine));
        let paused = unit.paused;
        self.emit(&Event::Started { at: now, worker });
        self.recover(worker);
        if paused {
            self.step_and_drain(worker, Input::Control(Control::Pause));
        } else {
            self.step_and_drain(worker, Input::Tick);
        }
        self.plan_resend(worker);
    }

    fn crash(&mut self, worker: u32) {
        if !self.unit(worker).is_some_and(Unit::runs) {
            return;
        }
        self.end_lives(worker);
        let members = self.process_of_hub(worker).map_or_else(Vec::new, |process| process.members.clone());
        for worker in members.into_iter().chain([worker]) {
            self.emit(&Event::Crashed { at: self.now, worker });
        }
    }

    // ---------------------------------------------------------------- small things

    fn unit(&self, worker: u32) -> Option<&Unit<M>> {
        self.units.get(worker as usize)
    }

    fn unit_mut(&mut self, worker: u32) -> Option<&mut Unit<M>> {
        self.units.get_mut(worker as usize)
    }

    /// The policy of a worker, also while it does not run.
    fn policy(&self, worker: u32) -> Option<&Policy> {
        self.unit(worker).and_then(|unit| self.groups.get(unit.group)).map(|(policy, _)| policy)
    }

    fn is_alive(&self, worker: u32, life: u32) -> bool {
        self.unit(worker).is_some_and(|unit| unit.life == life && unit.runs())
    }

    fn put(&mut self, at: Instant, coming: WorldEvent) {
        self.queue.put(at.max(self.now), coming);
    }

    fn emit(&mut self, event: &Event) {
        for watcher in &mut self.watchers {
            if !watcher.on(event) {
                self.stop = true;
            }
        }
    }

    /// Hands on what the server did since the last time.
    fn emit_effects(&mut self) {
        for effect in self.backend.take_effects(self.now) {
            self.emit(&Event::Server { at: self.now, effect });
        }
    }

    fn set_server_alarm(&mut self) {
        let next = self.backend.next_deadline().map(|at| at.max(self.now));
        if let Some(at) = next.filter(|at| *at < self.server_alarm) {
            self.server_alarm = at;
            self.queue.put(at, WorldEvent::Server);
        }
    }

    /// Alarms that an earlier one has overtaken are void.
    fn server_alarm_rings(&mut self) {
        if self.server_alarm == self.now {
            self.server_alarm = Instant::FAR_FUTURE;
            self.server_wakes();
        }
    }

    /// A worker's latest wish to be woken counts; alarms that an earlier one has overtaken are void.
    fn alarm(&mut self, worker: u32) {
        let now = self.now;
        let Some(unit) = self.unit_mut(worker).filter(|unit| unit.alarm == now) else { return };
        unit.alarm = Instant::FAR_FUTURE;
        match unit.wake {
            Some(at) if at <= now => self.step_and_drain(worker, Input::Tick),
            Some(at) => self.set_alarm(worker, at),
            None => {}
        }
    }

    fn set_alarm(&mut self, worker: u32, at: Instant) {
        if let Some(unit) = self.unit_mut(worker).filter(|unit| at < unit.alarm) {
            unit.alarm = at;
            self.queue.put(at, WorldEvent::Alarm { worker });
        }
    }
}
