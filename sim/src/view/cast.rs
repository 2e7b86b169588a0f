//! Who is in a record, as views name them.

use crate::record::Record;
use crate::scenario::Scenario;

/// A worker as views name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Player {
    /// Its task type; of a hub, the name of its process, or `hub`.
    pub name: String,
    /// It is a hub.
    pub hub: bool,
    /// Tasks run at once.
    pub slots: u16,
    /// Entries in its table.
    pub capacity: u16,
}

/// What a view is told besides the events.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// A title.
    pub title: String,
    /// What the title does not say.
    pub subtitle: String,
    /// The seed.
    pub seed: u64,
    /// The workers by number, and behind them the hubs.
    pub players: Vec<Player>,
    /// The scenario, if there is one.
    pub scenario: Option<Scenario>,
}

impl Cast {
    /// Makes the cast of a record.
    #[must_use]
    pub fn from_record(record: &Record) -> Self {
        let Some(header) = record.header() else { return Self::default() };
        let groups = header.workers.iter();
        let mut players: Vec<Player> = groups
            .flat_map(|group| {
                let (name, slots) = (group.name.clone(), group.policy.concurrency);
                let player = Player { name, hub: false, slots, capacity: group.capacity };
                std::iter::repeat_n(player, group.count as usize)
            })
            .collect();
        let hub = |name: String| Player { name, hub: true, slots: 0, capacity: 0 };
        let processes = header.scenario.as_ref().map_or(&[][..], |scenario| &scenario.processes);
        players.extend(processes.iter().flat_map(|process| {
            (1..=process.count).map(|copy| match process.count {
                1 => hub(process.name.clone()),
                _ => hub(format!("{} {copy}", process.name)),
            })
        }));
        if header.hub.is_some() {
            players.push(hub("hub".to_owned()));
        }
        let (title, why) = match &header.scenario {
            Some(scenario) => (scenario.name.clone(), scenario.why.clone()),
            None => (record.name.clone(), format!("recorded by {}", header.program)),
        };
        let title = if title.is_empty() { format!("seed {}", header.seed) } else { title };
        Self { title, subtitle: why, seed: header.seed, players, scenario: header.scenario.clone() }
    }

    /// Returns a worker's name, such as `worker 2`; that of a hub is `hub`, or `hub 1` if there are several.
    #[must_use]
    pub fn name(&self, worker: u32) -> String {
        let hub = self.is_hub(worker);
        let first = self.players.iter().position(|player| player.hub).unwrap_or(0);
        match hub {
            true if self.players.len() > first + 1 => format!("hub {}", (worker as usize) - first),
            true => "hub".to_owned(),
            false => format!("worker {worker}"),
        }
    }

    /// Returns whether that number is a hub's.
    #[must_use]
    pub fn is_hub(&self, worker: u32) -> bool {
        self.players.get(worker as usize).is_some_and(|player| player.hub)
    }
}
