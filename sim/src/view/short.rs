//! Only state changes: a column for each entry of each worker's table.

use std::collections::BTreeMap;
use std::io::{self, Write};

use downbeat_core::machine::{Action, CallId, Input};

use super::{Cast, text, words};
use crate::event::Event;
use crate::record::Record;

/// With more entries than this in all, a line shows those of its own worker.
const WIDE: usize = 96;

#[derive(Default)]
struct Board {
    /// Each worker's entries.
    entries: Vec<Vec<char>>,
    /// A poll is in flight.
    polling: Vec<bool>,
    /// Calls in flight, and the entry that they are about.
    calls: BTreeMap<(u32, CallId), u16>,
}

/// Writes a line for each event that changes an entry or a poll, and for each that is not a worker's.
pub(super) fn write(record: &Record, cast: &Cast, out: &mut dyn Write) -> io::Result<()> {
    let entries: Vec<Vec<char>> =
        cast.players.iter().map(|player| vec!['.'; usize::from(player.capacity)]).collect();
    let wide = entries.iter().map(Vec::len).sum::<usize>() <= WIDE;
    let mut board = Board { polling: vec![false; entries.len()], entries, calls: BTreeMap::new() };
    writeln!(out, ". idle   r run   u update   ~ waits for a retry   e extend   s store   p poll in flight")?;
    let mut last = String::new();
    for (_, event) in record.events() {
        let (worker, what) = match &event {
            Event::Step { worker, input, action, .. } => {
                board.input(*worker, input);
                board.action(*worker, action);
                (Some(*worker), said(input, action))
            }
            Event::Started { worker, .. } => (Some(*worker), "starts".to_owned()),
            Event::Crashed { worker, .. } => {
                board.clear(*worker);
                (Some(*worker), "crashes".to_owned())
            }
            Event::Stored { .. } | Event::Kept { .. } | Event::Buried { .. } | Event::Server { .. } => {
                continue;
            }
            Event::Fault { .. } | Event::Healed { .. } => {
                writeln!(out, "{}", text::line(&event, &text::Names::new(cast)))?;
                continue;
            }
        };
        let shown = board.show(if wide { None } else { worker });
        let quiet = matches!(event, Event::Step { .. }) && shown == last;
        if !quiet {
            let name = worker.map_or_else(String::new, |worker| cast.name(worker).replace("worker ", "w"));
            writeln!(out, "{:>12}  {name:<4} {shown}  {what}", words::clock(event.at()))?;
        }
        last = shown;
    }
    Ok(())
}

fn said(input: &Input, action: &Action) -> String {
    match (input, action) {
        (Input::Tick, action) => words::action(action),
        (input, Action::Wait { .. }) => words::input(input),
        (input, action) => format!("{} -> {}", words::input(input), words::action(action)),
    }
}

impl Board {
    fn set(&mut self, worker: u32, index: u16, state: char) {
        let entries = self.entries.get_mut(worker as usize);
        if let Some(cell) = entries.and_then(|entries| entries.get_mut(usize::from(index))) {
            *cell = state;
        }
    }

    fn is(&self, worker: u32, index: u16, state: char) -> bool {
        self.entries.get(worker as usize).and_then(|entries| entries.get(usize::from(index))) == Some(&state)
    }

    fn poll(&mut self, worker: u32, polls: bool) {
        if let Some(polling) = self.polling.get_mut(worker as usize) {
            *polling = polls;
        }
    }

    fn clear(&mut self, worker: u32) {
        if let Some(entries) = self.entries.get_mut(worker as usize) {
            entries.fill('.');
        }
        self.poll(worker, false);
        self.calls.retain(|(of, _), _| *of != worker);
    }

    fn input(&mut self, worker: u32, input: &Input) {
        match input {
            Input::Replied { call, reply } => {
                let Some(index) = self.calls.remove(&(worker, *call)) else { return };
                if index == u16::MAX {
                    self.poll(worker, false);
                } else if self.is(worker, index, 'e') {
                    self.set(worker, index, 'r');
                } else if self.is(worker, index, 'u') || self.is(worker, index, 's') {
                    self.set(worker, index, if reply.is_ok() { '.' } else { '~' });
                }
            }
            Input::Finished { entry, .. } => self.set(worker, entry.index(), 'u'),
            Input::Tick
            | Input::Recovered { .. }
            | Input::Leased { .. }
            | Input::Token(_)
            | Input::Control(_) => {}
        }
    }

    fn action(&mut self, worker: u32, action: &Action) {
        let (call, index, state) = match action {
            Action::Run { entry, .. } => return self.set(worker, entry.index(), 'r'),
            Action::Discard { entry, .. } => return self.set(worker, entry.index(), '.'),
            Action::Stopped => return self.clear(worker),
            Action::Poll { call, .. } => {
                self.calls.insert((worker, *call), u16::MAX);
                return self.poll(worker, true);
            }
            Action::Extend { call, entry } => {
                let running = self.is(worker, entry.index(), 'r');
                (*call, entry.index(), running.then_some('e'))
            }
            Action::Update { call, entry, .. } => (*call, entry.index(), Some('u')),
            Action::Spill { call, entry, .. } => (*call, entry.index(), Some('s')),
            Action::GiveBack { .. }
            | Action::Ask { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Wait { .. } => return,
        };
        if let Some(state) = state {
            self.set(worker, index, state);
            self.calls.insert((worker, call), index);
        }
    }

    fn show(&self, only: Option<u32>) -> String {
        let all = self.entries.iter().zip(&self.polling).zip(0_u32..);
        let shown = all.filter(|(_, worker)| only.is_none_or(|only| only == *worker));
        let one = |((entries, polling), _): ((&Vec<char>, &bool), u32)| {
            let poll = if *polling { 'p' } else { ' ' };
            format!("{poll}|{}|", entries.iter().collect::<String>())
        };
        shown.map(one).collect::<Vec<_>>().join(" ")
    }
}
