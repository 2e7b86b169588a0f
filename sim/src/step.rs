//! A debugger for a run: forwards, backwards, to a condition, with a look into every machine.
//!
//! It works on a record, so that a simulated run and one of last night's production are stepped alike. Going back is
//! going forward again from the latest checkpoint.

mod command;
mod condition;
mod show;
mod time;

use std::io::{self, BufRead, Write};

use downbeat_core::machine::Instant;

use self::command::{Command, HELP, Until};
use self::condition::{Condition, worker_of};
use crate::record::{Entry, Line, Record};
use crate::replay::Core;
use crate::view::{Cast, EventNames, event_line, words};

/// Lines between two checkpoints.
const CHECKPOINT: usize = 1_000;

/// A run that is stepped.
pub struct Stepper<'a> {
    record: &'a Record,
    cast: Cast,
    /// How many lines have been applied.
    at: usize,
    core: Core,
    /// The state after every 1,000th line, as far as anybody has been.
    checkpoints: Vec<Core>,
    /// What `show` would have said before the latest line.
    before: String,
    breaks: Vec<Condition>,
}

impl<'a> Stepper<'a> {
    /// Stands before the first line.
    #[must_use]
    pub fn new(record: &'a Record) -> Self {
        let core = Core::new(record);
        Self {
            record,
            cast: Cast::from_record(record),
            at: 0,
            checkpoints: vec![core.clone()],
            core,
            before: String::new(),
            breaks: Vec::new(),
        }
    }

    /// Goes on to this line of the record.
    pub fn go_to(&mut self, number: usize) {
        let target = self.record.entries.partition_point(|entry| entry.number <= number);
        self.move_to(target);
    }

    /// Goes on to the last line that is not after this time.
    pub fn go_to_time(&mut self, at: Instant) {
        let late = |entry: &Entry| entry.line.at().is_some_and(|when| when > at);
        let target = self.record.entries.iter().position(late).unwrap_or(self.record.entries.len());
        self.move_to(target);
    }

    /// Reads commands until `quit` or the end of the input; `echo` repeats each, for an input that nobody types.
    ///
    /// # Errors
    /// Input or output failed.
    pub fn talk(&mut self, input: &mut dyn BufRead, out: &mut dyn Write, echo: bool) -> io::Result<()> {
        writeln!(out, "{}: {} lines; `help` lists the commands", self.cast.title, self.record.entries.len())?;
        self.tell_place(out)?;
        let mut text = String::new();
        loop {
            write!(out, "> ")?;
            out.flush()?;
            text.clear();
            if input.read_line(&mut text)? == 0 {
                return writeln!(out);
            }
            if echo {
                writeln!(out, "{}", text.trim())?;
            }
            match Command::parse(&text) {
                Ok(Command::Quit) => return Ok(()),
                Ok(command) => self.obey(command, out)?,
                Err(message) => writeln!(out, "{message}")?,
            }
        }
    }

    fn obey(&mut self, command: Command, out: &mut dyn Write) -> io::Result<()> {
        match command {
            Command::Help => write!(out, "{HELP}"),
            Command::Step(count) => {
                for _ in 0..count {
                    if !self.step() {
                        return writeln!(out, "the record ends here");
                    }
                    self.tell_line(out)?;
                }
                Ok(())
            }
            Command::Back(count) => {
                self.move_to(self.at.saturating_sub(count));
                self.tell_place(out)
            }
            Command::Run(until) => self.run(until, out),
            Command::To(time) => {
                self.go_to_time(time);
                self.tell_place(out)
            }
            Command::Break(condition) => {
                writeln!(out, "break {}: {condition}", self.breaks.len() + 1)?;
                self.breaks.push(condition);
                Ok(())
            }
            Command::Breaks => {
                for (number, condition) in self.breaks.iter().enumerate() {
                    writeln!(out, "break {}: {condition}", number + 1)?;
                }
                Ok(())
            }
            Command::Clear => {
                self.breaks.clear();
                Ok(())
            }
            Command::Show(worker) => out.write_all(self.show(worker).as_bytes()),
            Command::Diff => self.diff(out),
            Command::Why(worker) => {
                let worker = worker.or_else(|| self.worker_here());
                out.write_all(show::why(&self.core, &self.cast, worker).as_bytes())
            }
            Command::Quit => Ok(()),
        }
    }

    // ---------------------------------------------------------------- moving

    /// Applies the next line; whether there was one.
    fn step(&mut self) -> bool {
        let Some(entry) = self.record.entries.get(self.at) else { return false };
        self.before = show::worker(&self.core, &self.cast, self.subject_of(&entry.line));
        self.apply(entry);
        true
    }

    fn apply(&mut self, entry: &Entry) {
        let _ = self.core.apply(&entry.line);
        self.at += 1;
        if self.at.is_multiple_of(CHECKPOINT) && self.checkpoints.len() == self.at / CHECKPOINT {
            self.checkpoints.push(self.core.clone());
        }
    }

    fn move_to(&mut self, target: usize) {
        let record = self.record;
        let target = target.min(record.entries.len());
        // The last line is stepped, so that `diff` knows what was before.
        let before = target.saturating_sub(1);
        if before < self.at {
            let from = (before / CHECKPOINT).min(self.checkpoints.len() - 1);
            if let Some(core) = self.checkpoints.get(from) {
                self.core = core.clone();
                self.at = from * CHECKPOINT;
            }
        }
        while let Some(entry) = record.entries.get(self.at).filter(|_| self.at < before) {
            self.apply(entry);
        }
        if self.at < target {
            self.step();
        }
    }

    fn run(&mut self, until: Option<Until>, out: &mut dyn Write) -> io::Result<()> {
        let beyond = |entry: &Entry| match until {
            None => false,
            Some(Until::Line(number)) => entry.number > number,
            Some(Until::Time(time)) => entry.line.at().is_some_and(|at| at > time),
        };
        loop {
            if self.record.entries.get(self.at).is_some_and(beyond) {
                return self.tell_place(out);
            }
            if !self.step() {
                break;
            }
            let Some(entry) = self.record.entries.get(self.at - 1) else { break };
            let hit = self.breaks.iter().position(|condition| condition.holds(&entry.line));
            if let Some(number) = hit {
                writeln!(out, "break {}", number + 1)?;
                return self.tell_line(out);
            }
        }
        writeln!(out, "the record ends here")
    }

    // ---------------------------------------------------------------- telling

    fn here(&self) -> Option<&'a Entry> {
        self.record.entries.get(self.at.checked_sub(1)?)
    }

    fn worker_here(&self) -> Option<u32> {
        self.here().and_then(|entry| self.subject_of(&entry.line))
    }

    /// Whom a line is about: a worker, or a hub by its number.
    fn subject_of(&self, line: &Line) -> Option<u32> {
        let hub = || if let Line::Step(step) = line { self.record.hubs.for_step(step) } else { None };
        worker_of(line).or_else(|| hub().map(|hub| hub.number))
    }

    fn tell_place(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.at == 0 { writeln!(out, "before the first line") } else { self.tell_line(out) }
    }

    fn tell_line(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(entry) = self.here() else { return Ok(()) };
        let names = EventNames::new(&self.cast);
        match &entry.line {
            Line::Header(header) => {
                writeln!(out, "{:>6}  a segment begins: {}", entry.number, header.segment)
            }
            Line::Gap(gap) => writeln!(out, "{:>6}  {} steps are missing here", entry.number, gap.gap),
            Line::Violation { t, broken } => {
                writeln!(
                    out,
                    "{:>6} {:>12}  !!!  {}: {}",
                    entry.number,
                    words::clock(*t),
                    broken.rule,
                    broken.what
                )
            }
            Line::Step(_) | Line::Start { .. } | Line::Event(_) => {
                for event in self.record.events_of(entry) {
                    writeln!(out, "{:>6} {}", entry.number, event_line(&event, &names))?;
                }
                Ok(())
            }
        }
    }

    fn show(&self, worker: Option<u32>) -> String {
        match worker {
            Some(worker) => show::worker(&self.core, &self.cast, Some(worker)),
            None => show::all(&self.core, &self.cast),
        }
    }

    fn diff(&self, out: &mut dyn Write) -> io::Result<()> {
        let after = show::worker(&self.core, &self.cast, self.worker_here());
        let (before, after): (Vec<&str>, Vec<&str>) =
            (self.before.lines().collect(), after.lines().collect());
        let gone =
            before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {}", line.trim()));
        let come =
            after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {}", line.trim()));
        let changes: Vec<String> = gone.chain(come).collect();
        if changes.is_empty() {
            return writeln!(out, "nothing changed");
        }
        changes.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}
