//! What a driver cannot have written: a record that breaks the driver contract (docs/driver-contract.md).

use std::collections::{BTreeMap, BTreeSet};

use downbeat_core::machine::{Action, EntryId, Input, Instant};
use downbeat_core::record::Step;

use super::found::Misfit;
use crate::record::{Line, Record};

/// The first line that no driver writes.
///
/// Judged are records of a runner: the faults of a simulation include a driver that breaks the contract.
pub(super) fn check(record: &Record) -> Option<Misfit> {
    if record.header()?.scenario.is_some() {
        return None;
    }
    let mut driver = Driver::default();
    record.entries.iter().find_map(|entry| {
        let what = match &entry.line {
            Line::Header(header) => driver.segment(header.segment, header.epoch_ms),
            Line::Gap(_) => {
                driver = Driver { number: driver.number, epoch_ms: driver.epoch_ms, ..Driver::default() };
                None
            }
            Line::Step(step) => driver.step(step).err(),
            Line::Start { .. } | Line::Event(_) | Line::Violation { .. } => None,
        };
        what.map(|what| Misfit { line: entry.number, what })
    })
}

/// What a driver has been asked for and has not answered.
#[derive(Default)]
struct Driver {
    /// The record shows the run from its start.
    whole: bool,
    /// It must ask on with a tick at this time.
    asks_on: Option<Instant>,
    calls: BTreeSet<(Option<u32>, u64)>,
    /// Tasks whose end has not been told; those that were given up since may still end.
    runs: BTreeMap<(Option<u32>, u16), EntryId>,
    number: Option<u32>,
    epoch_ms: Option<u64>,
}

impl Driver {
    fn segment(&mut self, number: u32, epoch_ms: Option<u64>) -> Option<String> {
        let before = self.number.filter(|_| self.epoch_ms == epoch_ms);
        if before.is_none() {
            *self = Self { whole: number == 0, epoch_ms, ..Self::default() };
        }
        self.number = Some(number);
        let missing = before.is_some_and(|before| before + 1 != number);
        missing.then(|| format!("segment {number} follows segment {}", before.unwrap_or_default()))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        if let Some(at) = self.asks_on.take()
            && (step.w.is_some() || step.input != Input::Tick || step.t != at)
        {
            return Err("the driver has not asked on with a tick after the action before: a line is missing"
                .to_owned());
        }
        self.told(step)?;
        self.asked(step);
        // The answer to a task is for that task; the driver asks on when the call's answer is told to its end.
        let waits = matches!(step.action, Action::Wait { .. } | Action::Stopped);
        let leased = matches!(step.input, Input::Leased { .. } | Input::Recovered { .. });
        self.asks_on = (!waits && !leased).then_some(step.t);
        Ok(())
    }

    fn told(&mut self, step: &Step) -> Result<(), String> {
        match step.input {
            Input::Leased { call, .. } if self.whole && !self.calls.contains(&(step.w, call.to_bits())) => {
                Err(format!("a task comes with call {}, which is not open", call.to_bits()))
            }
            Input::Replied { call, .. } if !self.calls.remove(&(step.w, call.to_bits())) && self.whole => {
                Err(format!(
                    "call {} is answered, and it is not open: it was answered before, or never made",
                    call.to_bits()
                ))
            }
            Input::Finished { entry, .. } => {
                let run = self.runs.remove(&(step.w, entry.index()));
                if self.whole && run != Some(entry) {
                    return Err(format!(
                        "the end of a task in entry {} generation {} is told, and none runs there: it was told before, or never began",
                        entry.index(),
                        entry.generation()
                    ));
                }
                Ok(())
            }
            Input::Leased { .. }
            | Input::Recovered { .. }
            | Input::Replied { .. }
            | Input::Tick
            | Input::Token(_)
            | Input::Control(_) => Ok(()),
        }
    }

    fn asked(&mut self, step: &Step) {
        if let Some(call) = step.action.call() {
            self.calls.insert((step.to, call.to_bits()));
        }
        if let Action::Run { entry, .. } = step.action {
            self.runs.insert((step.to, entry.index()), entry);
        }
    }
}
