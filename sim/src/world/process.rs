//! Processes of many workers: a hub and its members start, stop and die together, and share clock, token and store.

use downbeat_core::machine::{
    Action, Control, Entry, Hub, HubAction, HubInput, Input, Instant, Kind, Machine, Member, Policy,
};

use super::unit::{BoxedHub, HubSeat, ProcessState, Unit};
use super::{World, WorldEvent};
use crate::event::HubStep;
use crate::scenario;
use crate::scenario::machine_seed;

impl<M: Kind> World<'_, M> {
    /// Makes a unit of each process, behind those of the workers, and plans their starts and drains.
    pub(super) fn plan_processes(&mut self, processes: &[scenario::Process]) {
        for process in processes {
            let Some(group) = self.scenario.processes.get(process.group) else { continue };
            let hub = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
            for (member, index) in process.members.iter().zip(0_u16..) {
                if let Some(unit) = self.unit_mut(*member) {
                    unit.seat = Some(HubSeat { hub, index });
                    unit.skew_ppm = group.clock_skew_ppm;
                }
            }
            let policy = Policy { authenticated: process.policy.authenticated, ..Policy::default() };
            self.units.push(Unit::new(self.groups.len(), group.clock_skew_ppm));
            self.groups.push((policy, 0));
            let later = group.stagger.get().saturating_mul(process.copy);
            self.put(
                Instant::ZERO.saturating_add(group.start_at.get() + later),
                WorldEvent::Start { worker: hub },
            );
            if let Some(drain) = group.drain_at {
                let at = Instant::ZERO.saturating_add(drain.get() + later);
                self.put(at, WorldEvent::Drain { worker: hub, life: 1 });
            }
        }
    }

    /// The process with this hub, if it is one.
    pub(super) fn process_of_hub(&self, hub: u32) -> Option<&scenario::Process> {
        let first = self.units.len().checked_sub(self.processes.len())?;
        self.processes.get((hub as usize).checked_sub(first)?)
    }

    /// The unit that a worker's process, clock, token and store belong to: its own, or its hub's.
    pub(super) fn host(&self, worker: u32) -> u32 {
        self.unit(worker).and_then(|unit| unit.seat).map_or(worker, |seat| seat.hub)
    }

    /// Starts a process with all its workers.
    pub(super) fn start_process(&mut self, hub: u32) {
        let (now, seed) = (self.now, self.scenario.seed);
        let Some(process) = self.process_of_hub(hub).cloned() else { return };
        if self.unit(hub).is_none_or(Unit::runs) {
            return;
        }
        let mut members = Vec::with_capacity(process.members.len());
        for worker in &process.members {
            let Some(unit) = self.unit(*worker) else { return };
            let Some((policy, capacity)) = self.groups.get(unit.group).copied() else { return };
            let table = vec![Entry::FREE; usize::from(capacity)].into_boxed_slice();
            let seed = machine_seed(seed, *worker, unit.life);
            let Ok(machine) = Machine::with_storage(table, policy, seed) else { return };
            members.push(Member::new(machine));
        }
        let Some(unit) = self.unit_mut(hub) else { return };
        let seed = machine_seed(seed, hub, unit.life);
        let Ok(made) = Hub::new(members.into_boxed_slice(), process.policy, seed) else { return };
        unit.begin_life(now, ProcessState::Hub(Box::new(made)));
        for worker in &process.members {
            if let Some(unit) = self.unit_mut(*worker) {
                unit.begin_life(now, ProcessState::Held);
            }
        }
        for worker in process.members.iter().copied().chain([hub]) {
            self.emit(&crate::event::Event::Started { at: now, worker });
        }
        self.recover(hub);
        for worker in &process.members {
            if self.unit(*worker).is_some_and(|unit| unit.paused) {
                self.step_and_drain(*worker, Input::Control(Control::Pause));
            }
        }
        self.step_and_drain(hub, Input::Tick);
        self.plan_resend(hub);
    }

    /// Ends the lives of a process and of all its workers.
    pub(super) fn end_lives(&mut self, host: u32) {
        let members = self.process_of_hub(host).map_or_else(Vec::new, |process| process.members.clone());
        let mut sent = Vec::new();
        for worker in members.into_iter().chain([host]) {
            if let Some(unit) = self.unit_mut(worker) {
                sent.extend(unit.flights.iter().filter_map(|(_, flight)| flight.request.given_back()));
                unit.end_life();
            }
        }
        // The journal was told before they were sent: they may have had effect, and are not sent again (S4).
        if let Some(unit) = self.unit_mut(host) {
            let before = unit.store.len();
            unit.store.retain(|stored| stored.ending.is_result() || !sent.contains(&stored.key));
            let dropped = before - unit.store.len();
            self.stored = self.stored.saturating_sub(dropped);
        }
    }

    /// One step of a hub: who has to do what. The clone must agree with the hub in action and state (S18).
    pub(super) fn step_hub(&mut self, worker: u32, input: Input) -> Option<(u32, Action)> {
        let (now, check) = (self.now, self.check_clones);
        let seat = self.unit(worker)?.seat;
        let hub = seat.map_or(worker, |seat| seat.hub);
        let told = match (seat, input) {
            (Some(seat), input) => HubInput::Worker { worker: seat.index, input },
            (None, Input::Replied { call, reply }) => HubInput::Refreshed { call, reply },
            (None, Input::Control(control)) => HubInput::Control(control),
            // Nothing else is told to a hub itself.
            (
                None,
                Input::Tick
                | Input::Recovered { .. }
                | Input::Leased { .. }
                | Input::Finished { .. }
                | Input::Token(_),
            ) => HubInput::Tick,
        };
        let back = if input == Input::Tick { Default::default() } else { self.faults.clock_back(hub) };
        let unit = self.unit_mut(hub)?;
        let local = unit.local(now).saturating_sub(back);
        let ProcessState::Hub(made) = &mut unit.process_state else { return None };
        let (answer, agrees) = checked(made, check, local, told);
        self.steps += 1;
        if !agrees {
            self.nondeterminism = Some((now, hub));
        }
        let (to, action) = match answer {
            HubAction::Worker { worker, action } => (Some(worker), action),
            HubAction::Refresh { call } => (None, Action::Refresh { call }),
            HubAction::Wait { until, why } => (None, Action::Wait { until, why }),
            HubAction::Stopped => (None, Action::Stopped),
        };
        let members = self.process_of_hub(hub).map(|process| &process.members);
        let to = to.and_then(|index| members.and_then(|members| members.get(usize::from(index))).copied());
        let told = seat.map(|_| worker);
        let step = HubStep { at: now, hub, local, told, input, to, action };
        self.emit_hub(&step);
        Some((to.unwrap_or(hub), action))
    }

    fn emit_hub(&mut self, step: &HubStep) {
        for watcher in &mut self.watchers {
            if !watcher.on_hub(step) {
                self.stop = true;
            }
        }
    }
}

fn checked<M: Kind>(hub: &mut BoxedHub<M>, check: bool, local: Instant, told: HubInput) -> (HubAction, bool) {
    let twin = check.then(|| hub.clone());
    let answer = hub.step(local, told);
    (answer, twin.is_none_or(|mut twin| twin.step(local, told) == answer && twin == *hub))
}
