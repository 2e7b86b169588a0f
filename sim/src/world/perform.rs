//! The driver: tells the machine what happened, and performs what it answers.

use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, EntryId, Fault, Input, Instant, Instead, Kind, Outcome, RecallReason,
    TaskKey,
};

use super::call::{Flight, Request};
use super::ending::Ending;
use super::unit::{HeldTask, ProcessState, Stored};
use super::{World, WorldEvent};
use crate::event::{Event, Report};
use crate::scenario::Journal;

/// How long a write to the store takes.
const SAVE: Duration = Duration::from_millis(2);
/// Each so many steps, a wait is asked for twice.
const EXTRA_TICK: u64 = 17;
/// A give-back that would arrive later than so long before its end is not sent.
const LATE: Duration = Duration::from_secs(1);
/// How soon a refused connection is known.
const REFUSED: Duration = Duration::from_millis(1);

impl<M: Kind> World<'_, M> {
    /// One step: who has to do what. The clone must agree with the machine in action and state (S18).
    pub(super) fn step(&mut self, worker: u32, input: Input) -> Option<(u32, Action)> {
        if matches!(self.unit(worker)?.process_state, ProcessState::Held | ProcessState::Hub(_)) {
            return self.step_hub(worker, input);
        }
        let (now, check) = (self.now, self.check_clones);
        let back = if input == Input::Tick { Duration::ZERO } else { self.faults.clock_back(worker) };
        let unit = self.unit_mut(worker)?;
        let local = unit.local(now).saturating_sub(back);
        let ProcessState::Alone(machine) = &mut unit.process_state else { return None };
        let twin = check.then(|| machine.clone());
        let action = machine.step(local, input);
        let agrees = twin.is_none_or(|mut twin| twin.step(local, input) == action && twin == *machine);
        self.steps += 1;
        if !agrees {
            self.nondeterminism = Some((now, worker));
        }
        self.emit(&Event::Step { at: now, worker, local, input, action });
        Some((worker, action))
    }

    /// Keeps the driver contract: an input, then ticks until the machine waits.
    pub(super) fn step_and_drain(&mut self, worker: u32, input: Input) {
        let mut answer = self.step(worker, input);
        let host = self.host(worker);
        // A sound machine waits after a few steps (S14); a mistaken one must not hang the simulator.
        for _ in 0..100_000 {
            match answer {
                None => return,
                Some((_, Action::Wait { until, .. })) => {
                    // A tick too many is harmless (S14); now and then there is one.
                    if self.steps.is_multiple_of(EXTRA_TICK) {
                        answer = self.step(host, Input::Tick);
                        continue;
                    }
                    let now = self.now;
                    let Some(unit) = self.unit_mut(host) else { return };
                    let at = until
                        .map(|local| unit.truly(local).max(now.saturating_add(Duration::from_micros(1))));
                    unit.wake = at;
                    if let Some(at) = at {
                        self.set_alarm(host, at);
                    }
                    return;
                }
                Some((_, Action::Stopped)) => return self.stopped(host),
                Some((worker, action)) => self.perform(worker, action),
            }
            if self.stop {
                return;
            }
            answer = self.step(host, Input::Tick);
        }
        self.stop = true;
    }

    fn stopped(&mut self, worker: u32) {
        let scenario = self.scenario;
        let restart = match self.process_of_hub(worker) {
            Some(process) => scenario.processes.get(process.group).and_then(|group| group.restart_after),
            None => self.unit(worker).and_then(|unit| scenario.workers.get(unit.group)?.restart_after),
        };
        self.end_lives(worker);
        let Some(unit) = self.unit_mut(worker) else { return };
        unit.drained = unit.draining && restart.is_none();
        if let Some(later) = restart {
            self.put(self.now.saturating_add(later.get()), WorldEvent::Start { worker });
        }
    }

    /// Performs an action of `worker`, other than an answer to `Leased`.
    pub(super) fn perform(&mut self, worker: u32, action: Action) {
        let held = |entry| self.unit(worker).and_then(|unit| unit.held(entry));
        let limit = self.limit(worker, &action);
        match action {
            Action::Poll { call, count, wait } => {
                self.send(worker, call, None, Request::Poll { count, wait }, limit)
            }
            Action::Refresh { call } => self.send(worker, call, None, Request::Token, limit),
            Action::Extend { call, entry } => {
                let held = held(entry);
                self.send_about(worker, call, held, limit, |held| Some(Request::Extend { key: held.key }));
            }
            Action::Ask { call, entry } => {
                let held = held(entry);
                self.send_about(worker, call, held, limit, |held| Some(Request::Question { key: held.key }));
            }
            Action::Update { call, entry, take_next, instead, .. } => {
                let held = held(entry);
                let instead_of = |ending: Ending| instead.map_or(ending, |why| ending.instead(why));
                if let Some(held) = held {
                    self.before_report(worker, held, instead.is_some());
                }
                self.send_about(worker, call, held, limit, |held| {
                    let ending = held.ending.map(instead_of)?;
                    Some(Request::Report { key: held.key, ending, take_next, instead: instead.is_some() })
                });
                self.after_report(worker);
            }
            Action::GiveBack { call, key } => {
                self.before_give_back(worker, key);
                self.send(worker, call, None, Request::GiveBack { key }, limit);
            }
            Action::Spill { call, entry, instead } => self.save(worker, call, entry, instead),
            Action::Recall { entry, why } => self.recall(worker, entry, why),
            Action::Adopt { entry, key } => self.adopt(worker, entry, key),
            Action::Discard { entry, why } => self.discard(worker, entry, why),
            Action::Run { entry, key } => self.run_code(worker, entry, key),
            Action::Ignore { .. } | Action::Lapsed { .. } | Action::Wait { .. } | Action::Stopped => {}
        }
    }

    /// How long the driver waits for the call of an action.
    fn limit(&self, worker: u32, action: &Action) -> Duration {
        let yields = if let Action::Update { entry, .. } = action {
            let held = self.unit(worker).and_then(|unit| unit.held(*entry));
            held.and_then(|held| held.ending).is_some_and(|ending| !ending.is_result())
        } else {
            false
        };
        self.policy(worker).map_or(Duration::ZERO, |policy| policy.time_limit(action, yields))
    }

    /// Running code is stopped. On a drain it gives its task back; else what it returns, a little later, is nobody's.
    fn recall(&mut self, worker: u32, entry: EntryId, why: RecallReason) {
        let drops = why != RecallReason::Drain;
        let later = if drops { Duration::from_millis(self.code.below(2_000)) } else { Duration::ZERO };
        let now = self.now;
        let Some(unit) = self.unit_mut(worker) else { return };
        let life = unit.life;
        if let Some(held) = unit.held_mut(entry) {
            held.dropped |= drops;
        }
        let ending = Ending::GIVE_BACK;
        self.put(now.saturating_add(later), WorldEvent::Finish { worker, life, entry, ending });
    }

    fn send_about(
        &mut self,
        worker: u32,
        call: CallId,
        held: Option<HeldTask>,
        limit: Duration,
        request: impl Fn(HeldTask) -> Option<Request>,
    ) {
        let entry = held.map(|held| held.entry);
        match held.and_then(request) {
            Some(request) => self.send(worker, call, entry, request, limit),
            // A mistaken machine asks for what it does not hold; the driver cannot send it.
            None => self.later_reply(worker, call, Fault::NotSent),
        }
    }

    /// A reply that comes without the server: the next event of this time.
    fn later_reply(&mut self, worker: u32, call: CallId, fault: Fault) {
        let Some(life) = self.unit(worker).map(|unit| unit.life) else { return };
        let response = super::call::Response::fault(fault);
        self.put(self.now.saturating_add(REFUSED), WorldEvent::Answer { worker, life, call, response });
    }

    /// A call leaves the worker, which waits for it so long.
    pub(super) fn send(
        &mut self,
        worker: u32,
        call: CallId,
        entry: Option<EntryId>,
        request: Request,
        limit: Duration,
    ) {
        let now = self.now;
        let token = self.unit(self.host(worker)).and_then(|host| host.token);
        let Some(unit) = self.unit_mut(worker) else { return };
        let deadline = now.saturating_add(limit);
        let entry = entry.filter(|_| matches!(request, Request::Report { .. }));
        let flight = Flight { request, deadline, token, entry };
        unit.flights.push((call.to_bits(), flight));
        let life = unit.life;
        self.travel(worker, life, call, &flight);
    }

    pub(super) fn run_code(&mut self, worker: u32, entry: EntryId, key: TaskKey) {
        let (lasts, ending) = self.backend.code(key, &mut self.code);
        let now = self.now;
        let Some(unit) = self.unit_mut(worker) else { return };
        unit.hold(HeldTask { entry, key, ending: None, writing: false, dropped: false });
        let life = unit.life;
        self.note_lease(worker, entry, key);
        self.put(now.saturating_add(lasts), WorldEvent::Finish { worker, life, entry, ending });
    }

    pub(super) fn finish(&mut self, worker: u32, life: u32, entry: EntryId, ending: Ending) {
        if !self.is_alive(worker, life) {
            return;
        }
        let Some(unit) = self.unit_mut(worker) else { return };
        let Some(held) = unit.held_mut(entry) else { return };
        if held.ending.is_some() || held.writing {
            return;
        }
        let dropped = held.dropped;
        if !dropped && ending.is_result() && self.journal_of(worker) == Journal::Finish {
            return self.write_first(worker, life, entry, ending);
        }
        self.tell(worker, life, entry, ending);
    }

    /// The machine is told that the code of an entry has ended.
    pub(super) fn tell(&mut self, worker: u32, life: u32, entry: EntryId, ending: Ending) {
        let Some(held) = self.unit_mut(worker).and_then(|unit| unit.held_mut(entry)) else { return };
        held.ending = Some(ending);
        held.writing = false;
        if let Some(later) = self.faults.finish_again(worker) {
            self.put(self.now.saturating_add(later), WorldEvent::FinishAgain { worker, life, entry });
        }
        let outcome = match ending.report {
            Report::Yield => Outcome::Yield { callback_after: ending.callback_after },
            Report::Completed | Report::Failed | Report::Terminal => Outcome::Final,
        };
        self.step_and_drain(worker, Input::Finished { entry, outcome });
    }

    /// A mistaken driver tells of an end twice; the machine must not care (S17).
    pub(super) fn finish_again(&mut self, worker: u32, life: u32, entry: EntryId) {
        if self.is_alive(worker, life) {
            self.step_and_drain(worker, Input::Finished { entry, outcome: Outcome::Final });
        }
    }

    pub(super) fn forget(&mut self, worker: u32, entry: EntryId) {
        if let Some(unit) = self.unit_mut(worker) {
            unit.let_go(entry);
        }
    }

    // ---------------------------------------------------------------- the store

    /// What goes to the store is the outcome, or the report that is to take its place.
    fn save(&mut self, worker: u32, call: CallId, entry: EntryId, instead: Option<Instead>) {
        let kept = !self.faults.store_is_full(worker);
        let Some(life) = self.unit(worker).map(|unit| unit.life) else { return };
        let kept = kept.then_some(instead);
        self.put(self.now.saturating_add(SAVE), WorldEvent::Saved { worker, life, call, entry, kept });
    }

    pub(super) fn saved(
        &mut self,
        worker: u32,
        life: u32,
        call: CallId,
        entry: EntryId,
        kept: Option<Option<Instead>>,
    ) {
        if !self.is_alive(worker, life) {
            return;
        }
        let held = self.unit(worker).and_then(|unit| unit.held(entry));
        let result = held.zip(kept).and_then(|(held, instead)| {
            let ending = held.ending?;
            Some((held.key, instead.map_or(ending, |why| ending.instead(why))))
        });
        let reply = match result {
            Some((key, ending)) => {
                let host = self.host(worker);
                if let Some(unit) = self.unit_mut(host) {
                    unit.unnote(key);
                    unit.store.push_back(Stored { worker, key, ending, until: Instant::FAR_FUTURE });
                    self.stored += 1;
                }
                self.emit(&Event::Stored { at: self.now, worker, key });
                self.forget(worker, entry);
                self.plan_resend(host);
                Ok(Answer::Done)
            }
            None => Err(CallError::new(Fault::Server)),
        };
        self.step_and_drain(worker, Input::Replied { call, reply });
    }

    /// The store's sender, one in a process: one call at a time, with a backoff of its own.
    pub(super) fn plan_resend(&mut self, worker: u32) {
        let now = self.now;
        let Some(failing) = self.policy(worker).map(|policy| policy.failing) else { return };
        let Some(unit) = self.unit_mut(worker) else { return };
        if unit.store.is_empty() || unit.resending || !unit.runs() {
            return;
        }
        unit.resending = true;
        let delay = failing.ceiling(unit.resend_failures);
        self.put(now.saturating_add(delay), WorldEvent::Resend { worker });
    }

    pub(super) fn resend(&mut self, worker: u32) {
        let now = self.now;
        let Some(unit) = self.unit_mut(worker) else { return };
        let Some(Stored { worker: of, key, ending, until }) =
            unit.store.front().copied().filter(|_| unit.runs())
        else {
            unit.resending = false;
            return;
        };
        if until <= now.saturating_add(LATE) {
            // It is too late to give it back: its lease is left.
            unit.store.pop_front();
            unit.resending = false;
            self.stored = self.stored.saturating_sub(1);
            return self.plan_resend(worker);
        }
        unit.resends += 1;
        let call = super::backend::resend_call(unit.resends);
        let policy = self.policy(of);
        let limit = policy.map_or(Duration::ZERO, |policy| {
            if ending.is_result() { policy.report_timeout } else { policy.call_timeout }
        });
        self.send(of, call, None, Request::Resend { key, ending }, limit);
    }
}
