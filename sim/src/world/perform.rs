//! The driver: tells the machine what happened, and performs what it answers.

use std::time::Duration;

use downbeat_core::machine::mutant::Mutant;
use downbeat_core::machine::{Action, Answer, CallError, CallId, Fault, Input, Outcome, SlotId};

use super::call::{Ask, Flight};
use super::unit::{Body, Held, Stored, Verdict};
use super::{Coming, World};
use crate::event::{Event, Report};

/// How long a write to the store takes.
const SAVE: Duration = Duration::from_millis(2);
/// Each so many steps, a wait is asked for twice.
const EXTRA_TICK: u64 = 17;
/// How soon a refused connection is known.
const REFUSED: Duration = Duration::from_millis(1);

impl<M: Mutant> World<'_, M> {
    /// One step: who has to do what. The clone must agree with the machine in action and state (S18).
    pub(super) fn step(&mut self, worker: u32, input: Input) -> Option<(u32, Action)> {
        if matches!(self.unit(worker)?.body, Body::Held | Body::Hub(_)) {
            return self.step_hub(worker, input);
        }
        let (now, check) = (self.now, self.check_clones);
        let back = if input == Input::Tick { Duration::ZERO } else { self.faults.clock_back(worker) };
        let unit = self.unit_mut(worker)?;
        let local = unit.local(now).before(back);
        let Body::Alone(machine) = &mut unit.body else { return None };
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
                    let at = until.map(|local| unit.truly(local).max(now.after(Duration::from_micros(1))));
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
        let restart = match self.crew_of(worker) {
            Some(crew) => scenario.processes.get(crew.process).and_then(|process| process.restart_after),
            None => self.unit(worker).and_then(|unit| scenario.workers.get(unit.group)?.restart_after),
        };
        self.end_lives(worker);
        let Some(unit) = self.unit_mut(worker) else { return };
        unit.drained = unit.draining && restart.is_none();
        if let Some(later) = restart {
            self.put(self.now.after(later.get()), Coming::Start { worker });
        }
    }

    /// Performs an action of `worker`, other than an answer to `Leased`.
    pub(super) fn perform(&mut self, worker: u32, action: Action) {
        match action {
            Action::Poll { call, count, wait } => self.send(worker, call, None, Ask::Poll { count, wait }),
            Action::Refresh { call } => self.send(worker, call, None, Ask::Token),
            Action::Extend { call, slot } => {
                let held = self.unit(worker).and_then(|unit| unit.held(slot));
                self.send_about(worker, call, held, |held| Some(Ask::Extend { key: held.key }));
            }
            Action::Update { call, slot, take_next, .. } => {
                let held = self.unit(worker).and_then(|unit| unit.held(slot));
                self.send_about(worker, call, held, |held| {
                    held.verdict.map(|verdict| Ask::Report { key: held.key, verdict, take_next })
                });
            }
            Action::Refuse { call, key } => self.send(worker, call, None, Ask::GiveBack { key }),
            Action::Spill { call, slot } => self.save(worker, call, slot),
            Action::Recall { slot } => {
                let Some(life) = self.unit(worker).map(|unit| unit.life) else { return };
                let verdict = Verdict::GIVE_BACK;
                self.put(self.now, Coming::Finish { worker, life, slot, verdict });
            }
            Action::Discard { slot, .. } => self.forget(worker, slot),
            Action::Run { slot, key } => self.run_code(worker, slot, key),
            Action::Ignore { .. } | Action::Wait { .. } | Action::Stopped => {}
        }
    }

    fn send_about(
        &mut self,
        worker: u32,
        call: CallId,
        held: Option<Held>,
        ask: impl Fn(Held) -> Option<Ask>,
    ) {
        let slot = held.map(|held| held.slot);
        match held.and_then(ask) {
            Some(ask) => self.send(worker, call, slot, ask),
            // A mistaken machine asks for what it does not hold; the driver cannot send it.
            None => self.later_reply(worker, call, Fault::NotSent),
        }
    }

    /// A reply that comes without the server: the next event of this time.
    fn later_reply(&mut self, worker: u32, call: CallId, fault: Fault) {
        let Some(life) = self.unit(worker).map(|unit| unit.life) else { return };
        let said = super::call::Said::fault(fault);
        self.put(self.now.after(REFUSED), Coming::Answer { worker, life, call, said });
    }

    /// A call leaves the worker.
    pub(super) fn send(&mut self, worker: u32, call: CallId, slot: Option<SlotId>, ask: Ask) {
        let now = self.now;
        let Some(timeout) = self.policy(worker).map(|policy| policy.call_timeout) else { return };
        let token = self.unit(self.host(worker)).and_then(|host| host.token);
        let Some(unit) = self.unit_mut(worker) else { return };
        let deadline = now.after(ask.wait()).after(timeout);
        let slot = slot.filter(|_| matches!(ask, Ask::Report { .. }));
        let flight = Flight { ask, deadline, token, slot };
        unit.flights.push((call.to_bits(), flight));
        let life = unit.life;
        self.travel(worker, life, call, &flight);
    }

    pub(super) fn run_code(&mut self, worker: u32, slot: SlotId, key: downbeat_core::machine::TaskKey) {
        let (lasts, verdict) = self.backend.code(key, &mut self.code);
        let now = self.now;
        let Some(unit) = self.unit_mut(worker) else { return };
        unit.hold(Held { slot, key, verdict: None });
        let life = unit.life;
        self.put(now.after(lasts), Coming::Finish { worker, life, slot, verdict });
    }

    pub(super) fn finish(&mut self, worker: u32, life: u32, slot: SlotId, verdict: Verdict) {
        if !self.is_alive(worker, life) {
            return;
        }
        let Some(unit) = self.unit_mut(worker) else { return };
        let Some(held) = unit.held_mut(slot) else { return };
        if held.verdict.is_some() {
            return;
        }
        held.verdict = Some(verdict);
        if let Some(later) = self.faults.finish_again(worker) {
            self.put(self.now.after(later), Coming::FinishAgain { worker, life, slot });
        }
        let outcome = match verdict.report {
            Report::Yield => Outcome::Yield { callback_after: verdict.callback_after },
            Report::Completed | Report::Failed | Report::Terminal => Outcome::Final,
        };
        self.step_and_drain(worker, Input::Finished { slot, outcome });
    }

    /// A mistaken driver tells of an end twice; the machine must not care (S17).
    pub(super) fn finish_again(&mut self, worker: u32, life: u32, slot: SlotId) {
        if self.is_alive(worker, life) {
            self.step_and_drain(worker, Input::Finished { slot, outcome: Outcome::Final });
        }
    }

    pub(super) fn forget(&mut self, worker: u32, slot: SlotId) {
        if let Some(unit) = self.unit_mut(worker) {
            unit.let_go(slot);
        }
    }

    // ---------------------------------------------------------------- the store

    fn save(&mut self, worker: u32, call: CallId, slot: SlotId) {
        let kept = !self.faults.store_is_full(worker);
        let Some(life) = self.unit(worker).map(|unit| unit.life) else { return };
        self.put(self.now.after(SAVE), Coming::Saved { worker, life, call, slot, kept });
    }

    pub(super) fn saved(&mut self, worker: u32, life: u32, call: CallId, slot: SlotId, kept: bool) {
        if !self.is_alive(worker, life) {
            return;
        }
        let held = self.unit(worker).and_then(|unit| unit.held(slot));
        let result = held.and_then(|held| held.verdict.map(|verdict| (held.key, verdict)));
        let reply = match result.filter(|_| kept) {
            Some((key, verdict)) => {
                let host = self.host(worker);
                if let Some(unit) = self.unit_mut(host) {
                    unit.store.push_back(Stored { worker, key, verdict });
                    self.stored += 1;
                }
                self.emit(&Event::Stored { at: self.now, worker, key });
                self.forget(worker, slot);
                self.plan_resend(host);
                Ok(Answer::Done)
            }
            None => Err(CallError::new(Fault::Server)),
        };
        self.step_and_drain(worker, Input::Replied { call, reply });
    }

    /// The store's resender, one in a process: one call at a time, with a backoff of its own.
    pub(super) fn plan_resend(&mut self, worker: u32) {
        let now = self.now;
        let Some(failing) = self.policy(worker).map(|policy| policy.failing) else { return };
        let Some(unit) = self.unit_mut(worker) else { return };
        if unit.store.is_empty() || unit.resending || !unit.runs() {
            return;
        }
        unit.resending = true;
        let delay = failing.ceiling(unit.resend_failures);
        self.put(now.after(delay), Coming::Resend { worker });
    }

    pub(super) fn resend(&mut self, worker: u32) {
        let Some(unit) = self.unit_mut(worker) else { return };
        let Some(Stored { worker, key, verdict }) = unit.store.front().copied().filter(|_| unit.runs())
        else {
            unit.resending = false;
            return;
        };
        unit.resends += 1;
        let call = super::backend::resend_call(unit.resends);
        self.send(worker, call, None, Ask::Resend { key, verdict });
    }
}
