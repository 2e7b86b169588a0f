//! The way of a call: out through the network and its faults, into the server, and back.

use std::time::Duration;

use downbeat_core::machine::{
    Action, CallError, CallId, EntryId, Fault, Input, Instant, Kind, TaskKey, TaskMeta,
};

use super::backend::Ticket;
use super::call::{Flight, Request, Response};
use super::ending::Ending;
use super::unit::{Inbox, Unit};
use super::{World, WorldEvent};
use crate::event::Event;
use crate::scenario::{Arrival, FaultKind};

/// How soon a refused or reset connection is known.
const RESET: Duration = Duration::from_millis(1);
/// How much more than asked for an over-delivering server gives.
const SURPLUS: u16 = 4;

impl<M: Kind> World<'_, M> {
    // ---------------------------------------------------------------- to the server

    /// A call is under way; the faults at this end decide whether it comes far.
    pub(super) fn travel(&mut self, worker: u32, life: u32, call: CallId, flight: &Flight) {
        let (request, deadline) = (&flight.request, flight.deadline);
        if self.faults.hits(FaultKind::Down, worker, request).is_some() {
            self.answer_after(RESET, worker, life, call, Response::fault(Fault::NotSent));
        } else if self.faults.hits(FaultKind::Partition, worker, request).is_some()
            || self.faults.hits(FaultKind::LostRequest, worker, request).is_some()
        {
            self.put(deadline, WorldEvent::Timeout { worker, life, call, lost: true });
        } else {
            let at = self.now.saturating_add(self.latency(worker, request));
            self.plan_timeout(at, deadline, worker, life, call);
            self.put(at, WorldEvent::Arrive { worker, life, call });
        }
    }

    fn latency(&mut self, worker: u32, request: &Request) -> Duration {
        let scenario = self.scenario;
        scenario.network.latency.draw(&mut self.network) + self.faults.delay(worker, request)
    }

    fn answer_after(&mut self, later: Duration, worker: u32, life: u32, call: CallId, response: Response) {
        let at = self.now.saturating_add(later);
        if let Some(flight) = self.flight(worker, life, call) {
            self.plan_timeout(at, flight.deadline, worker, life, call);
        }
        self.put(at, WorldEvent::Answer { worker, life, call, response });
    }

    /// What comes at or after the deadline comes too late for the worker. Most calls need no timeout in the queue.
    fn plan_timeout(&mut self, comes: Instant, deadline: Instant, worker: u32, life: u32, call: CallId) {
        if comes >= deadline && deadline >= self.now {
            self.put(deadline, WorldEvent::Timeout { worker, life, call, lost: false });
        }
    }

    /// A call reaches the server.
    pub(super) fn arrive(&mut self, worker: u32, life: u32, call: CallId) {
        let Some(flight) = self.flight(worker, life, call) else { return };
        if self.faults.hits(FaultKind::Down, worker, &flight.request).is_some() {
            self.answer_after(RESET, worker, life, call, Response::fault(Fault::Unknown));
            return;
        }
        if let Some(response) = self.turned_away(worker, &flight) {
            let latency = self.latency(worker, &flight.request);
            self.answer_after(latency, worker, life, call, response);
            return;
        }
        if let Some(rate) = self.scenario.server.capacity_per_second.filter(|rate| *rate > 0) {
            let turn = self.busy_until.max(self.now);
            self.busy_until = turn.saturating_add(Duration::from_secs(1) / rate);
            if turn > self.now {
                self.plan_timeout(turn, flight.deadline, worker, life, call);
                self.put(turn, WorldEvent::Serve { worker, life, call });
                return;
            }
        }
        self.serve(worker, life, call);
    }

    /// The server has time for a call.
    pub(super) fn serve(&mut self, worker: u32, life: u32, call: CallId) {
        let Some(flight) = self.flight(worker, life, call) else { return };
        let polls = matches!(flight.request, Request::Poll { .. });
        let surplus = polls && self.faults.hits(FaultKind::OverDeliver, worker, &flight.request).is_some();
        let extra = if surplus { SURPLUS } else { 0 };
        let group = self.unit(worker).map_or(0, |unit| unit.group);
        let ticket = Ticket { worker, life, call };
        let response = self.backend.request(self.now, group, ticket, flight.token, flight.request, extra);
        self.emit_effects();
        if let Some(response) = response {
            self.leave(ticket, flight.request, response);
        }
    }

    /// Errors that keep a call from having any effect.
    fn turned_away(&mut self, worker: u32, flight: &Flight) -> Option<Response> {
        let request = &flight.request;
        if matches!(request, Request::Token)
            && self.faults.hits(FaultKind::TokenDown, worker, request).is_some()
        {
            return Some(Response::fault(Fault::Server));
        }
        for (kind, fault) in [
            (FaultKind::Unauthorized, Fault::Unauthorized),
            (FaultKind::Reject, Fault::Rejected),
            (FaultKind::Throttle, Fault::Throttled),
            (FaultKind::Error503, Fault::Server),
            (FaultKind::Error500, Fault::Internal),
        ] {
            if let Some(plan) = self.faults.hits(kind, worker, request) {
                let retry_after = plan.retry_after.map(|after| after.get());
                // A 503, or the 502 of a proxy, which asks for nothing.
                let takes_none = kind == FaultKind::Error503 && retry_after.is_some();
                let fault = if takes_none { Fault::Throttled } else { fault };
                return Some(Response::Failed(CallError { fault, retry_after }));
            }
        }
        self.faults.refusal(worker, request).map(Response::fault)
    }

    /// The server has something to say on its own: parked polls end, leases lapse, retries come.
    pub(super) fn server_wakes(&mut self) {
        let answers = self.backend.advance(self.now);
        self.emit_effects();
        for (ticket, tasks) in answers {
            // Only polls are parked, and what they asked for has been seen to.
            let request = Request::Poll { count: 0, wait: Duration::ZERO };
            self.leave(ticket, request, Response::Tasks(tasks));
        }
    }

    // ---------------------------------------------------------------- from the server

    /// An answer leaves the server; the faults decide whether it arrives.
    fn leave(&mut self, ticket: Ticket, request: Request, mut response: Response) {
        let Ticket { worker, life, call } = ticket;
        if matches!(request, Request::Poll { .. })
            && self.faults.hits(FaultKind::Duplicate, worker, &request).is_some()
        {
            self.add_duplicate(worker, &mut response);
        }
        if self.faults.hits(FaultKind::LostAnswer, worker, &request).is_some()
            || self.faults.hits(FaultKind::Partition, worker, &request).is_some()
        {
            let deadline = self.flight(worker, life, call).map_or(self.now, |flight| flight.deadline);
            self.put(deadline, WorldEvent::Timeout { worker, life, call, lost: true });
            return;
        }
        let later = self.faults.hits(FaultKind::SlowAnswer, worker, &request).and_then(|fault| fault.by);
        let latency = self.latency(worker, &request) + later.map_or(Duration::ZERO, |by| by.get());
        if self.faults.hits(FaultKind::Cut, worker, &request).is_some() {
            self.answer_after(latency, worker, life, call, Response::fault(Fault::Unknown));
        } else if self.faults.hits(FaultKind::LateAnswer, worker, &request).is_some() {
            let deadline = self.flight(worker, life, call).map_or(self.now, |flight| flight.deadline);
            let late = deadline.saturating_add(RESET).saturating_duration_since(self.now).max(latency);
            self.answer_after(late, worker, life, call, response);
        } else {
            self.answer_after(latency, worker, life, call, response);
        }
    }

    /// The server hands out again what this worker holds.
    fn add_duplicate(&self, worker: u32, response: &mut Response) {
        let running = self.unit(worker).and_then(Unit::running);
        if let (Response::Tasks(tasks), Some(held)) = (response, running) {
            tasks.push(self.backend.again(self.now, held.key));
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
            self.answer(worker, life, call, Response::fault(Fault::Slow));
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

    pub(super) fn answer(&mut self, worker: u32, life: u32, call: CallId, response: Response) {
        if !self.is_alive(worker, life) {
            self.forget_ghost(worker, life, call);
            return;
        }
        if self.answer_waits(worker, life, call, &response) {
            return;
        }
        let Some(unit) = self.unit_mut(worker) else { return };
        let flight = unit.land(call);
        if let (Some(flight), Response::Token(token)) = (&flight, &response) {
            debug_assert!(matches!(flight.request, Request::Token), "tokens answer refreshes");
            unit.token = Some(*token);
        }
        let entry = flight.and_then(|flight| flight.entry);
        let instead = matches!(flight, Some(Flight { request: Request::Report { instead: true, .. }, .. }));
        match flight.map(|flight| flight.request) {
            Some(Request::Resend { key, ending }) => self.resent(worker, key, ending, &response),
            Some(Request::GiveBack { .. }) => {
                self.step_and_drain(worker, Input::Replied { call, reply: response.reply() });
                self.go_on_reading(worker);
            }
            Some(
                Request::Poll { .. }
                | Request::Report { .. }
                | Request::Extend { .. }
                | Request::Question { .. }
                | Request::Token,
            ) => {
                self.read(worker, call, (entry, instead), response);
            }
            // The worker gave this call up. A driver would drop what comes now. This one tells the machine of
            // the end, which must not care (S17), and of no tasks: their leases lapse
            // (docs/driver-contract.md).
            None => {
                self.forget_ghost(worker, life, call);
                self.step_and_drain(worker, Input::Replied { call, reply: response.reply() });
            }
        }
    }

    /// Tells the machine an answer: its tasks one by one, then its end.
    fn read(&mut self, worker: u32, call: CallId, about: (Option<EntryId>, bool), response: Response) {
        let (entry, instead) = about;
        let end = response.reply();
        let tasks = if let Response::Tasks(tasks) = response {
            tasks.into()
        } else {
            std::collections::VecDeque::new()
        };
        if let Some(unit) = self.unit_mut(worker) {
            unit.inboxes.push(Inbox { call, tasks, end, entry, instead, giving_back: None });
        }
        self.go_on_reading(worker);
    }

    /// A give-back is sent, and answered, before the next task of the same answer is told
    /// (docs/driver-contract.md).
    fn go_on_reading(&mut self, worker: u32) {
        loop {
            let Some(unit) = self.unit_mut(worker) else { return };
            let waits = |inbox: &Inbox, flights: &[(u64, Flight)]| {
                inbox.giving_back.is_some_and(|call| flights.iter().any(|(bits, _)| *bits == call.to_bits()))
            };
            let Some(at) = unit.inboxes.iter().position(|inbox| !waits(inbox, &unit.flights)) else { return };
            let Some(inbox) = unit.inboxes.get_mut(at) else { return };
            inbox.giving_back = None;
            let call = inbox.call;
            match inbox.tasks.pop_front() {
                Some(task) => self.lease(worker, call, task),
                None => {
                    let inbox = unit.inboxes.remove(at);
                    self.end_of_answer(worker, &inbox);
                }
            }
        }
    }

    fn lease(&mut self, worker: u32, call: CallId, task: TaskMeta) {
        let Some((worker, action)) = self.step(worker, Input::Leased { call, task }) else { return };
        let inboxes = self.unit_mut(worker).map(|unit| &mut unit.inboxes);
        let inbox = inboxes.and_then(|inboxes| inboxes.iter_mut().find(|inbox| inbox.call == call));
        if let (Action::GiveBack { call: give_back, .. }, Some(inbox)) = (action, inbox) {
            inbox.giving_back = Some(give_back);
        }
        if !matches!(action, Action::Wait { .. } | Action::Stopped) {
            self.perform(worker, action);
        }
    }

    fn end_of_answer(&mut self, worker: u32, inbox: &Inbox) {
        self.step_and_drain(worker, Input::Replied { call: inbox.call, reply: inbox.end });
        if let Some(entry) = inbox.entry.filter(|_| inbox.end.is_ok()) {
            self.settle(worker, entry, inbox.instead);
        }
    }

    fn resent(&mut self, worker: u32, key: TaskKey, ending: Ending, response: &Response) {
        let host = self.host(worker);
        let Some(unit) = self.unit_mut(host) else { return };
        unit.resending = false;
        let buried = matches!(response, Response::Failed(error) if
            ending.is_result() && matches!(error.fault, Fault::Rejected | Fault::TooLarge));
        let done = match response {
            // A give-back that may have had effect is not repeated.
            Response::Failed(error) if !ending.is_result() => !matches!(
                error.fault,
                Fault::NotSent | Fault::Unauthorized | Fault::Forbidden | Fault::Throttled
            ),
            Response::Failed(error) => matches!(error.fault, Fault::Rejected | Fault::TooLarge | Fault::Gone),
            Response::Tasks(_)
            | Response::Done
            | Response::Ended
            | Response::TimedOut
            | Response::Token(_)
            | Response::NoAuth => true,
        };
        if done {
            let before = unit.store.len();
            unit.store.retain(|stored| stored.key != key || stored.ending != ending);
            unit.resend_failures = 0;
            let sent = before - unit.store.len();
            self.stored = self.stored.saturating_sub(sent);
        } else {
            unit.resend_failures = unit.resend_failures.saturating_add(1);
            // The next one is tried first: one result that is never taken must not block the others.
            unit.store.rotate_left(1.min(unit.store.len()));
        }
        if buried {
            self.emit(&Event::Buried { at: self.now, worker, key });
        }
        self.plan_resend(host);
    }

    // ---------------------------------------------------------------- tasks

    pub(super) fn plan_tasks(&mut self) {
        for (stream, tasks) in self.scenario.tasks.iter().enumerate() {
            let at = |span: crate::scenario::Span| Instant::ZERO.saturating_add(span.get());
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
        self.put(at, WorldEvent::Task { stream });
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
        let next = self.now.saturating_add(gap);
        if next < Instant::ZERO.saturating_add(until.get()) {
            self.plan_task(next, stream);
        }
    }
}
