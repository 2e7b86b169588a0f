//! A simulation's record says all that its run depends on: the run is done again, and must give the same lines.

use downbeat_core::machine::Sound;

use super::found::Misfit;
use crate::event::{Event, HubStep, Watcher};
use crate::record::{Entry, Line, Liner, Record};
use crate::scenario::Scenario;
use crate::trial;

/// The first line that the run, done again, does not have; `Err` says why it is not done again.
pub(super) fn compare(record: &Record) -> Result<Option<Misfit>, String> {
    let Some(header) = record.header() else { return Ok(None) };
    let Some(scenario) = &header.scenario else { return Ok(None) };
    let own = crate::record::header(scenario);
    if (&header.program, &header.commit) != (&own.program, &own.commit) {
        return Err(format!(
            "its scenario is not run again: the record is of {} `{}`, this program is {} `{}`",
            header.program, header.commit, own.program, own.commit
        ));
    }
    if *header != own {
        return Ok(Some(Misfit { line: 1, what: "the header does not fit its scenario".to_owned() }));
    }
    if let Some(problem) = scenario.problems().into_iter().next() {
        let what = format!("the header's scenario is none that can be run: {problem}");
        return Ok(Some(Misfit { line: 1, what }));
    }
    let mut rerun = Rerun::new(record, scenario);
    let _ = trial::run_unjudged::<Sound>(scenario, &mut [&mut rerun]);
    Ok(rerun.end(record))
}

struct Rerun<'r> {
    lines: &'r [Entry],
    next: usize,
    liner: Liner,
    misfit: Option<Misfit>,
}

impl<'r> Rerun<'r> {
    fn new(record: &'r Record, scenario: &Scenario) -> Self {
        Self { lines: &record.entries, next: 1, liner: Liner::new(scenario), misfit: None }
    }

    fn end(self, record: &Record) -> Option<Misfit> {
        let left = self.lines.get(self.next);
        let left = left.filter(|entry| !record.truncated && !matches!(entry.line, Line::Violation { .. }));
        self.misfit.or_else(|| {
            left.map(|entry| Misfit {
                line: entry.number,
                what: "the run of this scenario is over before this line".to_owned(),
            })
        })
    }
}

impl Watcher for Rerun<'_> {
    fn on(&mut self, event: &Event) -> bool {
        let line = self.liner.line(event);
        self.meet(&line)
    }

    fn on_hub(&mut self, step: &HubStep) -> bool {
        let line = self.liner.hub_line(step);
        self.meet(&line)
    }
}

impl Rerun<'_> {
    /// The next line of the run. Returns false if the record has another.
    fn meet(&mut self, line: &Line) -> bool {
        let text = || line.to_json().unwrap_or_default();
        self.misfit = match self.lines.get(self.next) {
            Some(entry) if entry.line == *line => {
                self.next += 1;
                return true;
            }
            // A run under judges ends with the first broken rule.
            Some(entry) if matches!(entry.line, Line::Violation { .. }) => None,
            Some(entry) => Some(Misfit {
                line: entry.number,
                what: format!("the run of this scenario has another line here: {}", text()),
            }),
            None => {
                let line = self.lines.last().map_or(0, |entry| entry.number) + 1;
                Some(Misfit { line, what: format!("the run of this scenario goes on: {}", text()) })
            }
        };
        false
    }
}
