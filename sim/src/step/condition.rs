//! Where a run is to stop.

use std::fmt;

use downbeat_core::machine::{Action, Input, Instant, TaskKey};

use super::time::time;
use crate::event::{Effect, Event};
use crate::record::Line;

/// Words that must all hold for a line.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
enum Term {
    Word(String),
    Worker(u32),
    Task(String),
    From(Instant),
}

/// The words that stand for kinds of lines.
const WORDS: [&str; 23] = [
    "poll",
    "update",
    "run",
    "give_back",
    "ignore",
    "recall",
    "refresh",
    "extend",
    "spill",
    "discard",
    "wait",
    "stopped",
    "tick",
    "leased",
    "replied",
    "finished",
    "token",
    "control",
    "failed",
    "fault",
    "crash",
    "lapsed",
    "violation",
];

impl Condition {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let terms: Result<Vec<Term>, String> = text.split_whitespace().map(term).collect();
        let terms = terms?;
        if terms.is_empty() {
            return Err("break on what? such as `break update worker=1`; `help` lists the words".to_owned());
        }
        Ok(Self { text: text.to_owned(), terms })
    }

    pub(super) fn holds(&self, line: &Line) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Word(word) => is(line, word),
            Term::Worker(worker) => worker_of(line) == Some(*worker),
            Term::Task(id) => task_of(line).is_some_and(|key| key.to_string().starts_with(id.as_str())),
            Term::From(at) => line.at().is_some_and(|when| when >= *at),
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn term(text: &str) -> Result<Term, String> {
    if let Some(number) = text.strip_prefix("worker=") {
        return number.parse().map(Term::Worker).map_err(|_| format!("`{number}` is not a worker's number"));
    }
    if let Some(id) = text.strip_prefix("task=") {
        return Ok(Term::Task(id.to_ascii_lowercase()));
    }
    if let Some(at) = text.strip_prefix("t>=").or_else(|| text.strip_prefix("t>")) {
        return time(at).map(Term::From);
    }
    // The word it had before.
    let text = if text == "refuse" { "give_back" } else { text };
    if WORDS.contains(&text) {
        return Ok(Term::Word(text.to_owned()));
    }
    Err(format!("`{text}` is nothing to stop at; there are: {} worker=N task=ID t>=TIME", WORDS.join(" ")))
}

fn is(line: &Line, word: &str) -> bool {
    match line {
        Line::Step(step) => {
            step.action.name() == word
                || input_word(&step.input) == word
                || (word == "failed" && matches!(step.input, Input::Replied { reply: Err(_), .. }))
        }
        Line::Violation { .. } => word == "violation",
        Line::Event(Event::Crashed { .. }) => word == "crash",
        Line::Event(Event::Fault { .. }) => word == "fault",
        Line::Event(Event::Server { effect: Effect::Lapsed { .. }, .. }) => word == "lapsed",
        Line::Header(_) | Line::Gap(_) | Line::Start { .. } | Line::Event(_) => false,
    }
}

const fn input_word(input: &Input) -> &'static str {
    match input {
        Input::Tick => "tick",
        Input::Leased { .. } => "leased",
        Input::Recovered { .. } => "recovered",
        Input::Replied { .. } => "replied",
        Input::Finished { .. } => "finished",
        Input::Token(_) => "token",
        Input::Control(_) => "control",
    }
}

fn task_of(line: &Line) -> Option<TaskKey> {
    match line {
        Line::Step(step) => match (step.input, step.action) {
            (Input::Leased { task, .. }, _) => Some(task.key),
            (
                _,
                Action::Run { key, .. }
                | Action::Adopt { key, .. }
                | Action::GiveBack { key, .. }
                | Action::Ignore { key },
            ) => Some(key),
            _ => None,
        },
        Line::Event(Event::Server { effect, .. }) => match effect {
            Effect::Scheduled { key, .. }
            | Effect::Delivered { key, .. }
            | Effect::Extended { key, .. }
            | Effect::Lapsed { key, .. }
            | Effect::Cancelled { key, .. }
            | Effect::Reported { key, .. } => Some(*key),
            Effect::TokenIssued { .. } | Effect::Unauthorized { .. } => None,
        },
        Line::Event(Event::Stored { key, .. } | Event::Kept { key, .. } | Event::Buried { key, .. }) => {
            Some(*key)
        }
        Line::Header(_) | Line::Gap(_) | Line::Start { .. } | Line::Event(_) | Line::Violation { .. } => None,
    }
}

/// Whom a line is about.
pub(super) fn worker_of(line: &Line) -> Option<u32> {
    match line {
        Line::Step(step) => step.w.or(step.to),
        Line::Start { w, .. } => Some(*w),
        Line::Event(Event::Crashed { worker, .. }) => Some(*worker),
        Line::Header(_) | Line::Gap(_) | Line::Event(_) | Line::Violation { .. } => None,
    }
}
