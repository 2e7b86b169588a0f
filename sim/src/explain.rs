//! The story of one task, or of one entry, as sentences.

mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use downbeat_core::machine::TaskKey;

pub use self::story::Sentence;
use self::story::StoryBuilder;
use crate::event::{Effect, Event};
use crate::record::Record;
use crate::view::words;

/// A story.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Story {
    /// Whose.
    pub title: String,
    /// What happened, in order.
    pub sentences: Vec<Sentence>,
    /// How it came out, in one sentence.
    pub end: String,
}

/// Whose story is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Whose {
    /// A task: its id, the first digits of it, or `#3` for the third that the record tells of.
    Task(String),
    /// An entry of a worker.
    Entry(u32, u16),
}

/// Why there is no story.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unknown {
    /// No task is called so; some that are.
    Task(String, Vec<TaskKey>),
    /// Many tasks begin so.
    Ambiguous(String, Vec<TaskKey>),
    /// Nothing happened in that entry.
    Entry(u32, u16),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |keys: &[TaskKey]| {
            let names: Vec<String> = keys.iter().take(8).map(ToString::to_string).collect();
            names.join(", ")
        };
        match self {
            Self::Task(asked, keys) if keys.is_empty() => {
                write!(f, "there is no task `{asked}`: the record tells of no task at all")
            }
            Self::Task(asked, keys) => write!(
                f,
                "there is no task `{asked}`; ask for an id, its first digits, or #1 to #{}, such as {}",
                keys.len(),
                list(keys)
            ),
            Self::Ambiguous(asked, keys) => write!(f, "many tasks begin with `{asked}`: {}", list(keys)),
            Self::Entry(worker, entry) => write!(f, "nothing happened in entry {entry} of worker {worker}"),
        }
    }
}

impl std::error::Error for Unknown {}

/// Tells a story.
///
/// # Errors
/// The record knows nothing of whom is asked for.
pub fn explain(record: &Record, whose: &Whose) -> Result<Story, Unknown> {
    let mut teller = StoryBuilder::default();
    let mut kin = Kin::default();
    for (_, event) in record.events() {
        kin.on(&event);
        teller.on(&event);
    }
    let told = teller.finish();
    match whose {
        Whose::Task(asked) => {
            let key = kin.find(asked)?;
            let family = kin.family(key);
            let sentences: Vec<Sentence> =
                told.into_iter().filter(|sentence| family.contains(&sentence.task)).collect();
            let end = ending(&sentences);
            Ok(Story { title: format!("task {key}"), sentences, end })
        }
        Whose::Entry(worker, entry) => {
            let sentences: Vec<Sentence> =
                told.into_iter().filter(|sentence| sentence.place == Some((*worker, *entry))).collect();
            if sentences.is_empty() {
                return Err(Unknown::Entry(*worker, *entry));
            }
            let tasks: BTreeSet<TaskKey> = sentences.iter().map(|sentence| sentence.task).collect();
            let end = match tasks.len() {
                1 => "one task was here".to_owned(),
                many => format!("{many} tasks were here"),
            };
            Ok(Story { title: format!("entry {entry} of worker {worker}"), sentences, end })
        }
    }
}

fn ending(sentences: &[Sentence]) -> String {
    let count = |what: &str| sentences.iter().filter(|sentence| sentence.what.contains(what)).count();
    let (runs, reports) = (count(" runs it in "), count(" reports it"));
    let times = |n: usize| match n {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{n} times"),
    };
    // A server that has ended a task answers its reports as ever, and drops them.
    let lapsed = count("has lapsed by the clock") > 0;
    let how = if count("the server takes it as") > 0 {
        "its result was accepted"
    } else if lapsed && count("the report is accepted") > 0 {
        "its lease lapsed by the worker's clock; what it reported later may have been dropped"
    } else if count("the report is accepted") > 0 {
        "its result was accepted"
    } else if count("the server has ended its task") > 0 {
        "its outcome was dropped: the server had ended it"
    } else if count("gives it up") > 0 {
        "its result was given up"
    } else if count("stored") > 0 {
        "its result is stored"
    } else {
        "it had not ended when the record does"
    };
    format!("it ran {}, was reported {}, and {how}", times(runs), times(reports))
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The story of {}", self.title)?;
        let many = self.sentences.iter().map(|sentence| sentence.task).collect::<BTreeSet<_>>().len() > 1;
        for sentence in &self.sentences {
            let name = if many { format!("  {}", words::task(sentence.task)) } else { String::new() };
            let mut what = sentence.what.chars();
            let first = what.next().map_or(String::new(), |first| first.to_uppercase().collect());
            writeln!(f, "{:>14}{name}  {first}{}", words::time(sentence.at), what.as_str())?;
        }
        writeln!(f, "In short: {}.", self.end)
    }
}

/// Which tasks there are, in order, and which retries which.
#[derive(Default)]
struct Kin {
    order: Vec<TaskKey>,
    known: BTreeSet<TaskKey>,
    retry_of: BTreeMap<TaskKey, TaskKey>,
}

impl Kin {
    fn on(&mut self, event: &Event) {
        let key = match event {
            Event::Server { effect: Effect::Scheduled { key, retry_of, .. }, .. } => {
                if let Some(of) = retry_of {
                    self.retry_of.insert(*key, *of);
                }
                *key
            }
            Event::Step {
                input:
                    downbeat_core::machine::Input::Leased { task, .. }
                    | downbeat_core::machine::Input::Recovered { task },
                ..
            } => task.key,
            Event::Step { .. }
            | Event::Started { .. }
            | Event::Crashed { .. }
            | Event::Stored { .. }
            | Event::Kept { .. }
            | Event::Buried { .. }
            | Event::Server { .. }
            | Event::Fault { .. }
            | Event::Healed { .. } => return,
        };
        if self.known.insert(key) {
            self.order.push(key);
        }
    }

    fn find(&self, asked: &str) -> Result<TaskKey, Unknown> {
        let unknown = || Unknown::Task(asked.to_owned(), self.order.clone());
        if let Some(number) = asked.strip_prefix('#').and_then(|number| number.parse::<usize>().ok()) {
            return number.checked_sub(1).and_then(|at| self.order.get(at)).copied().ok_or_else(unknown);
        }
        let exact = TaskKey::from_id(asked);
        if self.known.contains(&exact) {
            return Ok(exact);
        }
        let wanted = asked.to_ascii_lowercase();
        let begins =
            |key: &&TaskKey| key.to_string().starts_with(&wanted) || words::task(**key).starts_with(&wanted);
        let found: Vec<TaskKey> = self.order.iter().filter(begins).copied().collect();
        match found.as_slice() {
            [] => Err(unknown()),
            [one] => Ok(*one),
            _ if wanted.is_empty() => Err(unknown()),
            _ => Err(Unknown::Ambiguous(asked.to_owned(), found)),
        }
    }

    /// The task with what it retries and what retries it.
    fn family(&self, key: TaskKey) -> BTreeSet<TaskKey> {
        let mut first = key;
        while let Some(of) = self.retry_of.get(&first) {
            first = *of;
        }
        let mut family = BTreeSet::from([first]);
        for key in &self.order {
            if self.retry_of.get(key).is_some_and(|of| family.contains(of)) {
                family.insert(*key);
            }
        }
        family
    }
}
