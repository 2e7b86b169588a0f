//! The canary: a sound run, doctored. Oracles that let it pass are asleep.

use downbeat_core::machine::mutant::Sound;
use downbeat_core::machine::{Action, Input, Loss};

use crate::event::Event;
use crate::oracle::{Jury, Setting, Violation};
use crate::scenario::{Profile, Scenario, generate};
use crate::trial;
use crate::world::Watcher;

/// Ways to doctor a record.
pub const DOCTORINGS: [&str; 4] =
    ["a lost result", "a poll inside its gate", "a run twice", "a wait without end"];

struct Tape(Vec<Event>);

impl Watcher for Tape {
    fn on(&mut self, event: &Event) -> bool {
        self.0.push(*event);
        true
    }
}

/// Doctors a sound run in this way (by its place in [`DOCTORINGS`]) and lets the oracles judge it; `None`: they sleep.
#[must_use]
pub fn sing(way: usize) -> Option<Violation> {
    let scenario = generate(1, Profile::Calm);
    let mut tape = Tape(Vec::new());
    let _ = trial::run_unjudged::<Sound>(&scenario, &mut [&mut tape]);
    judge(&scenario, &doctor(tape.0, way))
}

fn judge(scenario: &Scenario, events: &[Event]) -> Option<Violation> {
    let mut jury = Jury::new(Setting::of(scenario));
    events.iter().find_map(|event| jury.see(event).err())
}

fn doctor(events: Vec<Event>, way: usize) -> Vec<Event> {
    let mut done = false;
    let mut doctored = Vec::with_capacity(events.len() + 1);
    for event in events {
        let Event::Step { at, worker, local, input, action } = event else {
            doctored.push(event);
            continue;
        };
        let step = |input, action| Event::Step { at, worker, local, input, action };
        let changed = match (way, action) {
            _ if done => None,
            (0, Action::Update { slot, .. }) => {
                Some(vec![step(input, Action::Discard { slot, why: Loss::GaveUp })])
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
        doctored.extend(changed.unwrap_or_else(|| vec![event]));
    }
    doctored
}
