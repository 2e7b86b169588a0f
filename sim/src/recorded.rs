//! A run kept as a record, without a file between.

use crate::event::{Event, HubStep, Watcher};
use crate::mutants::Machines;
use crate::record::{Entry, Hubs, Line, Liner, Record, header};
use crate::scenario::Scenario;

impl Record {
    /// Makes the record of a run of a scenario, without a file between. All oracles judge it; the first
    /// broken rule ends it.
    #[must_use]
    pub fn from_run(scenario: &Scenario) -> Self {
        Self::from_run_with(Machines::SOUND, scenario)
    }

    /// Does as [`Record::from_run`] does, with machines of this kind.
    #[must_use]
    pub fn from_run_with(machines: Machines, scenario: &Scenario) -> Self {
        struct Keeper {
            entries: Vec<Entry>,
            liner: Liner,
        }

        impl Watcher for Keeper {
            fn on(&mut self, event: &Event) -> bool {
                let line = self.liner.line(event);
                self.entries.push(Entry { number: self.entries.len() + 1, line });
                true
            }

            fn on_hub(&mut self, step: &HubStep) -> bool {
                let line = self.liner.hub_line(step);
                self.entries.push(Entry { number: self.entries.len() + 1, line });
                true
            }
        }

        let header = header(scenario);
        let hubs = Hubs::from_header(&header);
        let first = Entry { number: 1, line: Line::Header(Box::new(header)) };
        let mut keeper = Keeper { entries: vec![first], liner: Liner::new(scenario) };
        let trial = machines.run(scenario, &mut [&mut keeper]);
        if let Some(violation) = &trial.violation {
            let line = Line::violation(violation);
            keeper.entries.push(Entry { number: keeper.entries.len() + 1, line });
        }
        Self { name: scenario.name.clone(), entries: keeper.entries, truncated: false, hubs }
    }
}
