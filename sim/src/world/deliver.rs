//! The way of a call: out through the network and its faults, into the server, and back.

use std::time::Duration;

use downbeat_core::machine::mutant::Mutant;
use downbeat_core::machine::{Action, CallError, CallId, Fault, Input, Instant, SlotId, TaskKey, TaskMeta};

use super::backend::Ticket;
use super::call::{Ask, Flight, Said};
use super::unit::{Inbox, Unit};
use super::{Coming, World};
use crate::scenario::{Arrival, FaultKind};

/// How soon a refused or reset connection is known.
const RESET: Duration = Duration::from_millis(1);
/// How much more than asked for an over-delivering server gives.
const SURPLUS: u16 = 4;

impl<M: Mutant> World<'_, M> {
    // ---------------------------------------------------------------- to the server

    /// A call is under way; the faults at this end decide whether it comes far.
    pub(super) fn travel(&mut self, worker: u32, life: u32, call: CallId, flight: &Flight) {
        let (ask, deadline) = (&flight.ask, flight.deadline);
        if self.faults.hits(FaultKind::Down, worker, ask).is_some() {
            self.answer_after(RESET, worker, life, call, Said::fault(Fault::NotSent));
        } else if self.faults.hits(FaultKind::Partition, worker, ask).is_some()
            || self.faults.hits(FaultKind::LostRequest, worker, ask).is_some()
        {
            self.put(deadline, Coming::Timeout { worker, life, call, lost: true });
        } else {
            let at = self.now.after(self.latency(worker, ask));
            self.plan_timeout(at, deadline, worker, life, call);
            self.put(at, Coming::Arrive { worker, life, call });
        }
    }

    fn latency(&mut self, worker: u32, ask: &Ask) -> Duration {
        let scenario = self.scenario;
        self.network.spread(&scenario.network.latency) + self.faults.delay(worker, ask)
    }

    fn answer_after(&mut self, later: Duration, worker: u32, life: u32, call: CallId, said: Said) {
        let at = self.now.after(later);
        if let Some(flight) = self.flight(worker, life, call) {
            self.plan_timeout(at, flight.deadline, worker, life, call);
        }
        self.put(at, Coming::Answer { worker, life, call, said });
    }

    /// What comes at or after the deadline comes too late for the worker. Most calls need no timeout in the queue.
    fn plan_timeout(&mut self, comes: Instant, deadline: Instant, worker: u32, life: u32, call: CallId) {
        if comes >= deadline && deadline >= self.now {
            self.put(deadline, Coming::Timeout { worker, life, call, lost: false });
        }
    }

    /// A call reaches the server.
    pub(super) fn arrive(&mut self, worker: u32, life: u32, call: CallId) {
        let Some(flight) = self.flight(worker, life, call) else { return };
        if self.faults.hits(FaultKind::Down, worker, &flight.ask).is_some() {
            self.answer_after(RESET, worker, life, call, Said::fault(Fault::Unknown));
            return;
        }
        if let Some(said) = self.turned_away(worker, &flight) {
            let latency = self.latency(worker, &flight.ask);
            self.answer_after(latency, worker, life, call, said);
            return;
        }
        if let Some(rate) = self.scenario.server.capacity_per_second.filter(|rate| *rate > 0) {
            let turn = self.busy_until.max(self.now);
            self.busy_until = turn.after(Duration::from_secs(1) / rate);
            if turn > self.now {
                self.plan_timeout(turn, flight.deadline, worker, life, call);
                self.put(turn, Coming::Serve { worker, life, call });
                return;
            }
        }
        self.serve(worker, life, call);
    }

    /// The server has time for a call.
    pub(super) fn serve(&mut self, worker: u32, life: u32, call: CallId) {
        let Some(flight) = self.flight(worker, life, call) else { return };
        let polls = matches!(flight.ask, Ask::Poll { .. });
        let surplus = polls && self.faults.hits(FaultKind::OverDeliver, worker, &flight.ask).is_some();
        let extra = if surplus { SURPLUS } else { 0 };
        let group = self.unit(worker).map_or(0, |unit| unit.group);
        let ticket = Ticket { worker, life, call };
        let said = self.backend.ask(self.now, group, ticket, flight.token, flight.ask, extra);
        self.emit_effects();
        if let Some(said) = said {
            self.leave(ticket, flight.ask, said);
        }
    }

    /// Errors that keep a call from having any effect.
    fn turned_away(&mut self, worker: u32, flight: &Flight) -> Option<Said> {
        let ask = &flight.ask;
        if matches!(ask, Ask::Token) && self.faults.hits(FaultKind::TokenDown, worker, ask).is_some() {
            return Some(Said::fault(Fault::Server));
        }
        for (kind, fault) in [
            (FaultKind::Unauthorized, Fault::Unauthorized),
            (FaultKind::Reject, Fault::Rejected),
            (FaultKind::Throttle, Fault::Throttled),
            (FaultKind::Error503, Fault::Server),
            (FaultKind::Error500, Fault::Server),
        ] {
            if let Some(plan) = self.faults.hits(kind, worker, ask) {
                let retry_after = plan.retry_after.map(|after| after.get());
                return Some(Said::Failed(CallError { fault, retry_after }));
            }
        }
        let poisoned = ask.result_of().is_some_and(|key| self.faults.poisons(worker, ask, key));
        poisoned.then(|| Said::fault(Fault::Server))
    }

    /// The server has something to say on its own: parked polls end, leases lapse, retries come.
    pub(super) fn server_wakes(&mut self) {
        let answers = self.backend.advance(self.now);
        self.emit_effects();
        for (ticket, tasks) in answers {
            // Only polls are parked, and what they asked for has been seen to.
            let ask = Ask::Poll { count: 0, wait: Duration::ZERO };
            self.leave(ticket, ask, Said::Tasks(tasks));
        }
    }

    // ---------------------------------------------------------------- from the server

    /// An answer leaves the server; the faults decide whether it arrives.
    fn leave(&mut self, ticket: Ticket, ask: Ask, mut said: Said) {
        let Ticket { worker, life, call } = ticket;
        if matches!(ask, Ask::Poll { .. }) && self.faults.hits(FaultKind::Duplicate, worker, &ask).is_some() {
            self.add_duplicate(worker, &mut said);
        }
        if self.faults.hits(FaultKind::LostAnswer, worker, &ask).is_some()
            || self.faults.hits(FaultKind::Partition, worker, &ask).is_some()
        {
            let deadline = self.flight(worker, life, call).map_or(self.now, |flight| flight.deadline);
            self.put(deadline, Coming::Timeout { worker, life, call, lost: true });
            return;
        }
        let latency = self.latency(worker, &ask);
        if self.faults.hits(FaultKind::Cut, worker, &ask).is_some() {
            self.answer_after(latency, worker, life, call, Said::fault(Fault::Unknown));
        } else if self.faults.hits(FaultKind::LateAnswer, worker, &ask).is_some() {
            let deadline = self.flight(worker, life, call).map_or(self.now, |flight| flight.deadline);
            let late = self.now.until(deadline.after(RESET)).max(latency);
            self.answer_after(late, worker, life, call, said);
        } else {
            self.answer_after(latency, worker, life, call, said);
        }
    }

    /// The server hands out again what this worker holds.
    fn add_duplicate(&self, worker: u32, said: &mut Said) {
        let running = self.unit(worker).and_then(Unit::running);
        if let (Said::Tasks(tasks), Some(held)) = (said, running) {
            tasks.push((held.key, self.backend.lease_of(held.key)));
        }
    }

    fn flight(&self, worker: u32, life: u32, call: CallId) -> Option<Flight> {
        let unit = self.unit(worker)?;
        let flight = unit.flight(call).filter(|_| unit.life == life);
        // A call of a process that has died since goes on: it is on the wire.
        flight.or_else(|| {
            unit.ghosts.iter().find(|(of, bits, _)| *of == life && *bits == call.to_bits()).map(|g| g.2)
        })
    }

    // ---------------------------------------------------------------- at the worker

    /// The worker gives a call up. Unless it is `lost` it goes on: it may still have its effect.
    pub(super) fn time_out(&mut self, worker: u32, life: u32, call: CallId, lost: bool) {
        let Some(unit) = self.unit_mut(worker) else { return };
        let waiting = unit.flight(call).filter(|_| unit.life == life);
        if let Some(flight) = waiting {
            unit.ghosts.push((life, call.to_bits(), flight));
            self.answer(worker, life, call, Said::fault(Fault::Unknown));
        }
        if lost {
            self.forget_ghost(worker, life, call);
        }
    }

    fn forget_ghost(&mut self, worker: u32, life: u32, call: CallId) {
        if let Some(unit) = self.unit_mut(worker) {
            unit.ghosts.retain(|(of, bits, _)| !(*of == life && *bits == call.to_bits()));
        }
    }

    pub(super) fn answer(&mut self, worker: u32, life: u32, call: CallId, said: Said) {
        if !self.is_alive(worker, life) {
            self.forget_ghost(worker, life, call);
            return;
        }
        let Some(unit) = self.unit_mut(worker) else { return };
        let flight = unit.land(call);
        if let (Some(flight), Said::Token(token)) = (&flight, &said) {
            debug_assert!(matches!(flight.ask, Ask::Token), "tokens answer refreshes");
            unit.token = Some(*token);
        }
        let slot = flight.and_then(|flight| flight.slot);
        match flight.map(|flight| flight.ask) {
            Some(Ask::Resend { key, .. }) => self.resent(worker, key, &said),
            Some(Ask::GiveBack { .. }) => {
                self.step_and_drain(worker, Input::Replied { call, reply: said.reply() });
                self.go_on_reading(worker);
            }
            Some(Ask::Poll { .. } | Ask::Report { .. } | Ask::Extend { .. } | Ask::Token) => {
                self.read(worker, call, slot, said);
            }
            // The worker gave this call up. A driver would drop what comes now; this one tells the machine of the
            // end, which must not care (S17), and of no tasks: their leases lapse (docs/driver-contract.md).
            None => {
                self.forget_ghost(worker, life, call);
                self.step_and_drain(worker, Input::Replied { call, reply: said.reply() });
            }
        }
    }

    /// Tells the machine an answer: its tasks one by one, then its end.
    fn read(&mut self, worker: u32, call: CallId, slot: Option<SlotId>, said: Said) {
        let end = said.reply();
        let tasks =
            if let Said::Tasks(tasks) = said { tasks.into() } else { std::collections::VecDeque::new() };
        if let Some(unit) = self.unit_mut(worker) {
            unit.inboxes.push(Inbox { call, tasks, end, slot, refusing: None });
        }
        self.go_on_reading(worker);
    }

    /// A refusal is sent, and answered, before the next task of the same answer is told (docs/driver-contract.md).
    fn go_on_reading(&mut self, worker: u32) {
        loop {
            let Some(unit) = self.unit_mut(worker) else { return };
            let waits = |inbox: &Inbox, flights: &[(u64, Flight)]| {
                inbox.refusing.is_some_and(|call| flights.iter().any(|(bits, _)| *bits == call.to_bits()))
            };
            let Some(at) = unit.inboxes.iter().position(|inbox| !waits(inbox, &unit.flights)) else { return };
            let Some(inbox) = unit.inboxes.get_mut(at) else { return };
            inbox.refusing = None;
            let call = inbox.call;
            match inbox.tasks.pop_front() {
                Some((key, lease)) => self.lease(worker, call, key, lease),
                None => {
                    let inbox = unit.inboxes.remove(at);
                    self.end_of_answer(worker, &inbox);
                }
            }
        }
    }

    fn lease(&mut self, worker: u32, call: CallId, key: TaskKey, lease: Duration) {
        let task = TaskMeta { key, response_timeout: Some(lease) };
        let Some((worker, action)) = self.step(worker, Input::Leased { call, task }) else { return };
        let inboxes = self.unit_mut(worker).map(|unit| &mut unit.inboxes);
        let inbox = inboxes.and_then(|inboxes| inboxes.iter_mut().find(|inbox| inbox.call == call));
        if let (Action::Refuse { call: refusal, .. }, Some(inbox)) = (action, inbox) {
            inbox.refusing = Some(refusal);
        }
        if !matches!(action, Action::Wait { .. } | Action::Stopped) {
            self.perform(worker, action);
        }
    }

    fn end_of_answer(&mut self, worker: u32, inbox: &Inbox) {
        self.step_and_drain(worker, Input::Replied { call: inbox.call, reply: inbox.end });
        if let Some(slot) = inbox.slot.filter(|_| inbox.end.is_ok()) {
            self.forget(worker, slot);
        }
    }

    fn resent(&mut self, worker: u32, key: TaskKey, said: &Said) {
        let host = self.host(worker);
        let Some(unit) = self.unit_mut(host) else { return };
        unit.resending = false;
        let done = match said {
            Said::Failed(error) => error.fault == Fault::Rejected,
            Said::Tasks(_) | Said::Done | Said::Token(_) | Said::NoAuth => true,
        };
        if done {
            let before = unit.store.len();
            unit.store.retain(|stored| stored.key != key);
            unit.resend_failures = 0;
            let sent = before - unit.store.len();
            self.stored = self.stored.saturating_sub(sent);
        } else {
            unit.resend_failures = unit.resend_failures.saturating_add(1);
            // The next one is tried first: one result that is never taken must not block the others.
            unit.store.rotate_left(1.min(unit.store.len()));
        }
        self.plan_resend(host);
    }

    // ---------------------------------------------------------------- tasks

    pub(super) fn plan_tasks(&mut self) {
        for (stream, tasks) in self.scenario.tasks.iter().enumerate() {
            let at = |span: crate::scenario::Span| Instant::ZERO.after(span.get());
            match &tasks.arrive {
                Arrival::Burst { at: when, count } => {
                    for _ in 0..*count {
                        self.plan_task(at(*when), stream);
                    }
                }
                Arrival::Trace { at: times } => {
                    for when in times {
                        self.plan_task(at(*when), stream);
                    }
                }
                Arrival::Steady { from, until, .. } | Arrival::Poisson { from, until, .. } => {
                    if from < until {
                        self.plan_task(at(*from), stream);
                    }
                }
            }
        }
    }

    fn plan_task(&mut self, at: Instant, stream: usize) {
        self.streams_left += 1;
        self.put(at, Coming::Task { stream });
    }

    pub(super) fn task_arrives(&mut self, stream: usize) {
        self.streams_left -= 1;
        self.backend.schedule(self.now, stream);
        self.emit_effects();
        let Some(tasks) = self.scenario.tasks.get(stream) else { return };
        let (gap, until) = match &tasks.arrive {
            Arrival::Steady { every, until, .. } => (every.get(), *until),
            Arrival::Poisson { every, until, .. } => {
                let mean = u64::try_from(every.get().as_micros()).unwrap_or(u64::MAX);
                (Duration::from_micros(self.code.exponential(mean).max(1)), *until)
            }
            Arrival::Burst { .. } | Arrival::Trace { .. } => return,
        };
        let next = self.now.after(gap);
        if next < Instant::ZERO.after(until.get()) {
            self.plan_task(next, stream);
        }
    }
}
