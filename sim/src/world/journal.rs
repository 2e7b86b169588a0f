//! The journal: what a driver with a store writes down so that a crash costs nothing, and what it does at its next start.

use std::time::Duration;

use downbeat_core::machine::{Action, CallId, EntryId, Input, Instant, Kind, Loss, TaskKey};

use super::call::{Request, Response};
use super::ending::Ending;
use super::unit::{HeldTask, Note, Noted, Stored};
use super::{DriverMistake, World, WorldEvent};
use crate::event::Event;
use crate::scenario::Journal;

/// The longest that a durable write takes, in microseconds.
const SYNC_MAX: u64 = 20_000;
/// The longest between a durable write and the machine's hearing of it, in microseconds.
const TELL_MAX: u64 = 2_000;

impl<M: Kind> World<'_, M> {
    /// When a worker's results are written to its store.
    pub(super) fn journal_of(&self, worker: u32) -> Journal {
        let group = self.unit(worker).and_then(|unit| self.scenario.workers.get(unit.group));
        group.map_or(Journal::Off, crate::scenario::Workers::journal)
    }

    /// A task has come: if its process dies, it is given back.
    pub(super) fn note_lease(&mut self, worker: u32, entry: EntryId, key: TaskKey) {
        if self.journal_of(worker) == Journal::Off {
            return;
        }
        let give_back_until = self.backend.give_back_until(key);
        let host = self.host(worker);
        if let Some(unit) = self.unit_mut(host) {
            unit.unnote(key);
            unit.journal.push(Noted { worker, key, entry, state: Note::Leased, give_back_until });
        }
    }

    /// The retry of a running task has come, which goes on for it.
    pub(super) fn adopt(&mut self, worker: u32, entry: EntryId, key: TaskKey) {
        let Some(held) = self.unit_mut(worker).and_then(|unit| unit.held_mut(entry)) else { return };
        let was = std::mem::replace(&mut held.key, key);
        let host = self.host(worker);
        let noted = self.unit_mut(host).and_then(|unit| unit.noted_mut(was)).map(|noted| noted.state);
        if let Some(unit) = self.unit_mut(host) {
            unit.unnote(was);
        }
        self.note_lease(worker, entry, key);
        if let Some(Note::Result(ending)) = noted {
            // Its code has ended meanwhile: the result is the retry's, and durable as such before the machine hears of it.
            self.write(worker, key, ending);
        }
    }

    /// The code of an entry has ended: its result is durable before the machine hears of it.
    pub(super) fn write_first(&mut self, worker: u32, life: u32, entry: EntryId, ending: Ending) {
        if self.dies_here(worker) {
            return;
        }
        if self.mistake == Some(DriverMistake::TellsBeforeWritten) {
            return self.tell(worker, life, entry, ending);
        }
        let sync = self.code.between(100, SYNC_MAX);
        if let Some(held) = self.unit_mut(worker).and_then(|unit| unit.held_mut(entry)) {
            held.writing = true;
        }
        self.put(
            self.now.saturating_add(Duration::from_micros(sync)),
            WorldEvent::Written { worker, life, entry, ending },
        );
    }

    /// The write has ended.
    pub(super) fn written(&mut self, worker: u32, life: u32, entry: EntryId, ending: Ending) {
        if !self.is_alive(worker, life) {
            return;
        }
        let Some(held) = self.unit(worker).and_then(|unit| unit.held(entry)) else { return };
        if !held.dropped {
            self.write(worker, held.key, ending);
        }
        if self.dies_here(worker) {
            return;
        }
        let later = Duration::from_micros(self.code.below(TELL_MAX));
        self.put(self.now.saturating_add(later), WorldEvent::Told { worker, life, entry, ending });
    }

    /// The machine hears of it.
    pub(super) fn told(&mut self, worker: u32, life: u32, entry: EntryId, ending: Ending) {
        if self.is_alive(worker, life) {
            self.tell(worker, life, entry, ending);
        }
    }

    /// Writes a result to the journal. A full store takes nothing: the driver goes on without.
    fn write(&mut self, worker: u32, key: TaskKey, ending: Ending) {
        if self.faults.store_is_full(worker) {
            return;
        }
        let host = self.host(worker);
        if let Some(noted) = self.unit_mut(host).and_then(|unit| unit.noted_mut(key)) {
            noted.state = Note::Result(ending);
            self.emit(&Event::Kept { at: self.now, worker, key });
        }
    }

    /// Whether an answer waits for a write: of a result whose first report has failed.
    pub(super) fn answer_waits(&mut self, worker: u32, life: u32, call: CallId, response: &Response) -> bool {
        let Some(flight) = self.unit(worker).and_then(|unit| unit.flight(call)) else { return false };
        let Request::Report { key, .. } = flight.request else { return false };
        if !matches!(response, Response::Failed(_)) {
            // It is accepted, and the journal says so only when the machine has heard of it.
            return self.dies_here(worker);
        }
        if self.journal_of(worker) != Journal::Failure {
            return false;
        }
        let held = flight.entry.and_then(|entry| self.unit(worker).and_then(|unit| unit.held(entry)));
        let Some(ending) = held.and_then(|held| held.ending).filter(Ending::is_result) else {
            return false;
        };
        let host = self.host(worker);
        let state = self.unit_mut(host).and_then(|unit| unit.noted_mut(key)).map(|noted| noted.state);
        let Some(entry) = flight.entry.filter(|_| state == Some(Note::Leased)) else { return false };
        if held.is_some_and(|held| held.writing) {
            // The write has taken its time.
            if let Some(held) = self.unit_mut(worker).and_then(|unit| unit.held_mut(entry)) {
                held.writing = false;
            }
            self.write(worker, key, ending);
            return self.dies_here(worker);
        }
        if let Some(held) = self.unit_mut(worker).and_then(|unit| unit.held_mut(entry)) {
            held.writing = true;
        }
        let at = self.now.saturating_add(Duration::from_micros(self.code.between(100, SYNC_MAX)));
        self.put(at, WorldEvent::Answer { worker, life, call, response: response.clone() });
        true
    }

    /// A report is about to leave. The journal says so before a yield does, which must not be given back a second time.
    pub(super) fn before_report(&mut self, worker: u32, held: HeldTask, instead: bool) {
        let yields = held.ending.is_some_and(|ending| !ending.is_result());
        let host = self.host(worker);
        match self.mistake {
            Some(DriverMistake::YieldUnnoted) => return,
            Some(DriverMistake::ForgetsWhenSent) if !yields => {
                if let Some(unit) = self.unit_mut(host) {
                    unit.unnote(held.key);
                }
                return;
            }
            _ => {}
        }
        if (yields || instead)
            && let Some(noted) = self.unit_mut(host).and_then(|unit| unit.noted_mut(held.key))
            && noted.state == Note::Leased
        {
            noted.state = Note::Yielding;
        }
    }

    /// A task is about to be given back that may be noted as in hand: it was delivered a second time. It must not be given back
    /// after a crash too.
    pub(super) fn before_give_back(&mut self, worker: u32, key: TaskKey) {
        let host = self.host(worker);
        if let Some(noted) = self.unit_mut(host).and_then(|unit| unit.noted_mut(key))
            && noted.state == Note::Leased
        {
            noted.state = Note::Yielding;
        }
    }

    /// A report has left.
    pub(super) fn after_report(&mut self, worker: u32) {
        let host = self.host(worker);
        if let Some(after) = self.faults.kills(worker)
            && let Some(life) = self.unit(host).map(|unit| unit.life)
        {
            self.put(self.now, WorldEvent::Kill { worker: host, life, after });
        }
    }

    /// A report was accepted: nothing is left to be done for its task. If it said that the task failed, in the place of a
    /// result, that is a dead letter.
    pub(super) fn settle(&mut self, worker: u32, entry: EntryId, instead: bool) {
        self.end_note(worker, entry);
        if instead {
            self.bury(worker, entry);
        }
        self.forget(worker, entry);
    }

    /// An outcome is given up. What an abort cuts off stays in the journal.
    pub(super) fn discard(&mut self, worker: u32, entry: EntryId, why: Loss) {
        if why != Loss::Aborted {
            self.end_note(worker, entry);
        }
        if matches!(why, Loss::Rejected | Loss::Refused) {
            self.bury(worker, entry);
        }
        self.forget(worker, entry);
    }

    fn bury(&mut self, worker: u32, entry: EntryId) {
        let held = self.unit(worker).and_then(|unit| unit.held(entry));
        let result = held.filter(|held| held.ending.is_some_and(|ending| ending.is_result()));
        if let Some(held) = result.filter(|_| self.policy(worker).is_some_and(|policy| policy.store)) {
            self.emit(&Event::Buried { at: self.now, worker, key: held.key });
        }
    }

    fn end_note(&mut self, worker: u32, entry: EntryId) {
        let Some(held) = self.unit(worker).and_then(|unit| unit.held(entry)) else { return };
        let host = self.host(worker);
        if let Some(unit) = self.unit_mut(host) {
            let own = |noted: &Noted| (noted.key, noted.entry, noted.worker) == (held.key, entry, worker);
            unit.journal.retain(|noted| !own(noted));
        }
    }

    /// A process has started: results in its journal are sent first, and tasks that it had in hand are given back, but for
    /// those that may have been.
    pub(super) fn recover(&mut self, host: u32) {
        let Some(unit) = self.unit_mut(host) else { return };
        let mut noted = std::mem::take(&mut unit.journal);
        if self.mistake == Some(DriverMistake::LeavesLeases) {
            noted.retain(|noted| noted.state != Note::Leased);
        }
        let mut back = Vec::new();
        for Noted { worker, key, state, give_back_until, entry: _ } in noted {
            let ending = match state {
                Note::Result(ending) => ending,
                Note::Leased => Ending::GIVE_BACK,
                Note::Yielding => continue,
            };
            let task = self.backend.again(self.now, key);
            match self.step(worker, Input::Recovered { task }) {
                Some((_, Action::Run { entry, .. })) => {
                    let held = HeldTask { entry, key, ending: None, writing: false, dropped: false };
                    let Some(unit) = self.unit_mut(worker) else { continue };
                    unit.hold(held);
                    let life = unit.life;
                    self.note_lease(worker, entry, key);
                    let host = self.host(worker);
                    if ending.is_result()
                        && let Some(noted) = self.unit_mut(host).and_then(|unit| unit.noted_mut(key))
                    {
                        noted.state = state;
                    }
                    back.push((worker, life, entry, ending));
                }
                // There is no room: the store's sender has it.
                _ => self.leave_to_sender(host, Stored { worker, key, ending, until: give_back_until }),
            }
        }
        for (worker, life, entry, ending) in back {
            self.told(worker, life, entry, ending);
        }
    }

    fn leave_to_sender(&mut self, host: u32, stored: Stored) {
        let Stored { worker, key, ending, until } = stored;
        let until = if ending.is_result() { Instant::FAR_FUTURE } else { until };
        let Some(unit) = self.unit_mut(host) else { return };
        unit.store.push_back(Stored { until, ..stored });
        self.stored += 1;
        if ending.is_result() {
            self.emit(&Event::Stored { at: self.now, worker, key });
        }
    }

    /// Whether the process dies at this step; then it is dead.
    fn dies_here(&mut self, worker: u32) -> bool {
        let host = self.host(worker);
        let Some(after) = self.faults.kills(worker) else { return false };
        self.kill(host, after);
        true
    }

    /// A process dies, and starts anew that much later.
    pub(super) fn kill(&mut self, host: u32, after: Duration) {
        if self.unit(host).is_some_and(super::unit::Unit::runs) {
            self.crash(host);
            self.put(self.now.saturating_add(after), WorldEvent::Start { worker: host });
        }
    }
}
