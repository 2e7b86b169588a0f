//! One line for each event, for terminals and for tests that keep a run as text.

use std::io::{self, Write};

use downbeat_core::machine::{Input, TaskKey};

use super::{Cast, words};
use crate::event::{Effect, Event};
use crate::record::{Line, Record};

/// Writes the whole record.
pub(super) fn write(record: &Record, cast: &Cast, out: &mut dyn Write) -> io::Result<()> {
    let names = Names::new(cast);
    for (_, event) in record.events() {
        writeln!(out, "{}", line(&event, &names))?;
    }
    for entry in &record.entries {
        if let Line::Violation { t, broken } = &entry.line {
            writeln!(out, "{:>12}  !!!  {}: {}", words::clock(*t), broken.rule, broken.what)?;
        }
    }
    Ok(())
}

/// Columns of workers' names.
pub(crate) struct Names<'a> {
    cast: &'a Cast,
}

impl<'a> Names<'a> {
    pub(crate) fn new(cast: &'a Cast) -> Self {
        Self { cast }
    }

    fn worker(&self, worker: u32) -> String {
        if self.cast.is_hub(worker) { self.cast.name(worker) } else { format!("w{worker}") }
    }
}

/// One event as a line.
pub(crate) fn line(event: &Event, names: &Names<'_>) -> String {
    let at = words::clock(event.at());
    let (who, what) = match event {
        Event::Step { worker, input, action, .. } => {
            let told = if *input == Input::Tick { String::new() } else { words::input(input) };
            (names.worker(*worker), format!("{told:<38} -> {}", words::action(action)))
        }
        Event::Started { worker, .. } => (names.worker(*worker), "starts".to_owned()),
        Event::Crashed { worker, .. } => (names.worker(*worker), "crashes".to_owned()),
        Event::Stored { worker, key, .. } => {
            (names.worker(*worker), format!("the result of {} is stored", words::task(*key)))
        }
        Event::Kept { worker, key, .. } => {
            (names.worker(*worker), format!("the result of {} is in the journal", words::task(*key)))
        }
        Event::Buried { worker, key, .. } => {
            (names.worker(*worker), format!("the result of {} is a dead letter", words::task(*key)))
        }
        Event::Server { effect: Effect::TokenIssued { worker }, .. } => {
            ("srv".to_owned(), format!("{} gets a token", names.worker(*worker)))
        }
        Event::Server { effect, .. } => ("srv".to_owned(), effect_words(effect)),
        Event::Fault { index, kind, begins, .. } => {
            let verb = if *begins { "begins" } else { "ends" };
            ("---".to_owned(), format!("fault {index} {verb}: {}", fault_name(*kind)))
        }
        Event::Healed { .. } => ("---".to_owned(), "no fault from here on".to_owned()),
    };
    format!("{at:>12}  {who:<4} {what}")
}

/// A kind of fault as scenarios write it.
pub(crate) fn fault_name(kind: crate::scenario::FaultKind) -> String {
    serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What the server did, in words.
pub(crate) fn effect_words(effect: &Effect) -> String {
    let name = |key: &TaskKey| words::task(*key);
    match effect {
        Effect::Scheduled { key, retry_of: None, .. } => format!("{} is scheduled", name(key)),
        Effect::Scheduled { key, retry_of: Some(of), .. } => {
            format!("{} is scheduled, a retry of {}", name(key), name(of))
        }
        Effect::Delivered { key, worker, lease, .. } => {
            format!("{} goes to w{worker} for {}", name(key), words::span(*lease))
        }
        Effect::Extended { key, worker, known: true } => {
            format!("w{worker} extends the lease of {}", name(key))
        }
        Effect::Extended { key, worker, known: false } => {
            format!("w{worker} extends the lease of {}, which is not in progress", name(key))
        }
        Effect::Cancelled { key, .. } => format!("the workflow of {} ends: it is over", name(key)),
        Effect::Lapsed { key, worker: u32::MAX } => format!("{} has waited too long, and ends", name(key)),
        Effect::Lapsed { key, worker } => format!("the lease of {} lapses at w{worker}", name(key)),
        Effect::Reported { key, worker, report, applied, .. } => {
            let effect = if *applied { "" } else { ", without effect" };
            format!("w{worker} reports {} {}{effect}", name(key), words::report(*report))
        }
        Effect::TokenIssued { worker } => format!("w{worker} gets a token"),
        Effect::Unauthorized { worker } => format!("w{worker} is unauthorized"),
    }
}
