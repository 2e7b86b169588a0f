//! Writing the record of a simulated run.

use std::io::{self, Write};

use downbeat_core::record::{Group, VERSION};

use super::line::{Header, Line, Liner};
use crate::event::{Event, HubStep, Watcher};
use crate::oracle::Violation;
use crate::scenario::Scenario;

/// Writes everything that happens in a run. A failure to write ends the writing, not the run; [`Recorder::finish`]
/// tells it.
pub struct Recorder<W> {
    out: W,
    liner: Liner,
    result: io::Result<()>,
}

impl<W: Write> Recorder<W> {
    /// Begins a record of a run of this scenario.
    pub fn new(out: W, scenario: &Scenario) -> Self {
        let mut recorder = Self { out, liner: Liner::new(scenario), result: Ok(()) };
        recorder.write(&Line::Header(Box::new(header(scenario))));
        recorder
    }

    /// Notes that a rule was broken.
    pub fn violation(&mut self, violation: &Violation) {
        self.write(&Line::violation(violation));
    }

    /// Ends the record.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn finish(mut self) -> io::Result<W> {
        self.result?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, line: &Line) {
        if self.result.is_ok() {
            let text = line.to_json().map_err(io::Error::other);
            self.result = text.and_then(|text| writeln!(self.out, "{text}"));
        }
    }
}

impl<W: Write> Watcher for Recorder<W> {
    fn on(&mut self, event: &Event) -> bool {
        let line = self.liner.line(event);
        self.write(&line);
        true
    }

    fn on_hub(&mut self, step: &HubStep) -> bool {
        let line = self.liner.hub_line(step);
        self.write(&line);
        true
    }
}

/// The header of a simulated run.
pub(crate) fn header(scenario: &Scenario) -> Header {
    let workers = scenario.workers.iter().map(|group| Group {
        name: group.task.clone(),
        count: u32::try_from(scenario.in_group(group)).unwrap_or(u32::MAX),
        capacity: group.capacity(),
        policy: scenario.policy_of(group),
    });
    Header {
        downbeat_record: VERSION,
        program: concat!("downbeat-sim ", env!("CARGO_PKG_VERSION")).to_owned(),
        commit: crate::built::commit().to_owned(),
        segment: 0,
        seed: scenario.seed,
        epoch_ms: None,
        workers: workers.collect(),
        hub: None,
        scenario: Some(scenario.clone()),
    }
}
