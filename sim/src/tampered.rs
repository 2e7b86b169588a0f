//! Tampered records: a sound run, changed. Oracles that let it pass are asleep.

use downbeat_core::machine::{Action, Input, Loss, Sound};

use crate::event::{Event, Watcher};
use crate::oracle::{Oracles, Violation};
use crate::scenario::{Profile, Scenario, Setting, generate};
use crate::trial;

/// Ways to tamper with a record.
pub const TAMPERINGS: [&str; 4] =
    ["a lost result", "a poll inside its gate", "a run twice", "a wait without end"];

struct Tape(Vec<Event>);

impl Watcher for Tape {
    fn on(&mut self, event: &Event) -> bool {
        self.0.push(*event);
        true
    }
}

/// Tampers with a sound run in this way (by its place in [`TAMPERINGS`]) and lets the oracles judge it.
/// Returns `None` if they sleep.
#[must_use]
pub fn caught(way: usize) -> Option<Violation> {
    let scenario = generate(1, Profile::Calm);
    let mut tape = Tape(Vec::new());
    let _ = trial::run_unjudged::<Sound>(&scenario, &mut [&mut tape]);
    judge(&scenario, &tamper(tape.0, way))
}

fn judge(scenario: &Scenario, events: &[Event]) -> Option<Violation> {
    let mut oracles = Oracles::new(Setting::from_scenario(scenario));
    events.iter().find_map(|event| oracles.see(event).err())
}

fn tamper(events: Vec<Event>, way: usize) -> Vec<Event> {
    let mut done = false;
    let mut tampered = Vec::with_capacity(events.len() + 1);
    for event in events {
        let Event::Step { at, worker, local, input, action } = event else {
            tampered.push(event);
            continue;
        };
        let step = |input, action| Event::Step { at, worker, local, input, action };
        let changed = match (way, action) {
            _ if done => None,
            (0, Action::Update { entry, .. }) => {
                Some(vec![step(input, Action::Discard { entry, why: Loss::GaveUp })])
            }
            (1, Action::Wait { .. }) if matches!(input, Input::Replied { .. }) => {
                let call = downbeat_core::machine::CallId::from_bits(0xffff_ffff);
                Some(vec![step(input, Action::Poll { call, count: 1, wait: std::time::Duration::ZERO })])
            }
            (2, Action::Run { .. }) => Some(vec![event, event]),
            (3, Action::Wait { until: Some(_), why }) => {
                Some(vec![step(input, Action::Wait { until: None, why })])
            }
            _ => None,
        };
        done |= changed.is_some();
        tampered.extend(changed.unwrap_or_else(|| vec![event]));
    }
    tampered
}
