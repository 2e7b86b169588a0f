//! From events to sentences.

use std::collections::BTreeMap;

use downbeat_core::machine::{
    Action, Answer, CallId, EntryId, Input, Instant, Instead, Outcome, Reply, TaskKey, TaskMeta,
};

use crate::event::{Effect, Event, Report};
use crate::view::words;

/// One sentence of a story.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sentence {
    /// When.
    pub at: Instant,
    /// Which task it is the story of.
    pub task: TaskKey,
    /// In which entry: the worker, and the index.
    pub place: Option<(u32, u16)>,
    /// What.
    pub what: String,
}

/// A call in flight: when it was sent, and what it is about.
#[derive(Clone, Copy)]
struct Flight {
    sent: Instant,
    about: About,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum About {
    Poll,
    Report(u16),
    Store(u16),
    Extend(u16),
    Question(u16),
    GiveBack(TaskKey),
    Token,
}

/// A task in an entry.
struct HeldTask {
    entry: EntryId,
    key: TaskKey,
    since: Instant,
    lease: Option<core::time::Duration>,
    finished: Option<Instant>,
    failed: Option<Instant>,
    tries: u32,
}

/// Tells.
#[derive(Default)]
pub(super) struct StoryBuilder {
    told: Vec<Sentence>,
    flights: BTreeMap<(u32, CallId), Flight>,
    held: BTreeMap<(u32, u16), HeldTask>,
    faults: BTreeMap<u32, String>,
}

impl StoryBuilder {
    pub(super) fn finish(self) -> Vec<Sentence> {
        self.told
    }

    fn say(&mut self, at: Instant, task: TaskKey, place: Option<(u32, u16)>, what: String) {
        self.told.push(Sentence { at, task, place, what });
    }

    pub(super) fn on(&mut self, event: &Event) {
        let at = event.at();
        match event {
            Event::Step { worker, input, action, .. } => {
                match input {
                    Input::Leased { call, task } => self.leased(at, *worker, *call, task, action),
                    Input::Replied { call, reply } => self.replied(at, *worker, *call, reply),
                    Input::Finished { entry, outcome } => self.finished(at, *worker, *entry, outcome),
                    Input::Recovered { task } => self.recovered(at, *worker, task, action),
                    Input::Tick | Input::Token(_) | Input::Control(_) => {}
                }
                self.action(at, *worker, action);
            }
            Event::Started { .. } | Event::Healed { .. } => {}
            Event::Crashed { worker, .. } => self.crashed(at, *worker),
            Event::Stored { worker, key, .. } => {
                self.say(
                    at,
                    *key,
                    None,
                    format!("worker {worker} has stored the result: it survives the process."),
                );
            }
            Event::Kept { worker, key, .. } => {
                let what = format!("worker {worker} has its result in the journal: it survives the process.");
                self.say(at, *key, None, what);
            }
            Event::Buried { worker, key, .. } => {
                let what = format!("worker {worker} files its result among the dead letters.");
                self.say(at, *key, None, what);
            }
            Event::Server { effect, .. } => self.effect(at, effect),
            Event::Fault { index, kind, begins, .. } => {
                if *begins {
                    self.faults.insert(*index, crate::view::fault_name(*kind));
                } else {
                    self.faults.remove(index);
                }
            }
        }
    }

    // ---------------------------------------------------------------- what a worker is told

    fn leased(&mut self, at: Instant, worker: u32, call: CallId, task: &TaskMeta, action: &Action) {
        let sent = self.flights.get(&(worker, call)).map_or(at, |flight| flight.sent);
        let brought = match self.flights.get(&(worker, call)).map(|flight| flight.about) {
            Some(About::Report(_)) => "with the answer to its report",
            _ => "with poll",
        };
        let by = format!("{brought} {}, sent at {}", words::call(call), words::time(sent));
        let key = task.key;
        match action {
            Action::Run { entry, .. } => {
                let lease = task.response_timeout.map_or_else(String::new, |lease| {
                    let ends = words::time(sent.saturating_add(lease));
                    format!("; the lease of {} counts from then and ends at {ends}", words::span(lease))
                });
                let what =
                    format!("worker {worker} gets it {by}, and runs it in {}{lease}.", words::entry(*entry));
                let held = HeldTask {
                    entry: *entry,
                    key,
                    since: at,
                    lease: task.response_timeout,
                    finished: None,
                    failed: None,
                    tries: 0,
                };
                self.held.insert((worker, entry.index()), held);
                self.say(at, key, Some((worker, entry.index())), what);
            }
            Action::GiveBack { .. } => {
                self.say(
                    at,
                    key,
                    None,
                    format!("worker {worker} gets it {by}, has no entry for it, and gives it back."),
                );
            }
            Action::Ignore { .. } => {
                let what =
                    format!("worker {worker} gets it {by}, and holds it already: it forgets the second one.");
                self.say(at, key, None, what);
            }
            Action::Adopt { entry, .. } => {
                let what = format!(
                    "worker {worker} gets it {by}: it is the retry of what runs in {}, whose lease had lapsed; that run goes on for it.",
                    words::entry(*entry)
                );
                if let Some(held) = self.held.get_mut(&(worker, entry.index())) {
                    held.key = key;
                    held.lease = task.response_timeout;
                }
                self.say(at, key, Some((worker, entry.index())), what);
            }
            Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Ask { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => {
                self.say(at, key, None, format!("worker {worker} gets it {by}, and is past taking it."));
            }
        }
    }

    /// What an earlier life had in hand.
    fn recovered(&mut self, at: Instant, worker: u32, task: &TaskMeta, action: &Action) {
        let (key, lease) = (task.key, task.response_timeout);
        let Action::Run { entry, .. } = action else {
            let what =
                format!("worker {worker} had it in hand when its process died, and has no room for it.");
            return self.say(at, key, None, what);
        };
        let held = HeldTask { entry: *entry, key, since: at, lease, finished: None, failed: None, tries: 0 };
        self.held.insert((worker, entry.index()), held);
        let what = format!(
            "worker {worker} had it in hand when its process died, and takes it back in {}.",
            words::entry(*entry)
        );
        self.say(at, key, Some((worker, entry.index())), what);
    }

    fn replied(&mut self, at: Instant, worker: u32, call: CallId, reply: &Reply) {
        let Some(flight) = self.flights.remove(&(worker, call)) else { return };
        let (index, what) = match flight.about {
            About::Poll | About::Token => return,
            About::GiveBack(key) => {
                let how = self.outcome(reply, "is accepted", "failed");
                return self.say(at, key, None, format!("the give-back of worker {worker} {how}."));
            }
            About::Report(index) | About::Store(index) | About::Extend(index) | About::Question(index) => {
                let Some(held) = self.held.get(&(worker, index)) else { return };
                let how = self.outcome(reply, "is accepted", "failed");
                let waited = held.finished.map_or_else(String::new, |since| {
                    format!(
                        ", {} after its code had finished",
                        words::span(at.saturating_duration_since(since))
                    )
                });
                let ends = held.lease.map_or_else(String::new, |lease| {
                    format!(", and the lease ends at {}", words::time(flight.sent.saturating_add(lease)))
                });
                (
                    index,
                    match (flight.about, reply.is_ok()) {
                        (About::Report(_), true) => {
                            format!("the report is accepted{waited}; entry {index} is free.")
                        }
                        (About::Store(_), true) => {
                            format!("the result is stored{waited}; entry {index} is free.")
                        }
                        (About::Extend(_), true) => format!("the extension is accepted{ends}."),
                        (About::Question(_), true) => format!(
                            "the server answers: {}.",
                            match reply {
                                Ok(Answer::Ended) => "it has ended",
                                Ok(Answer::TimedOut) => "it has timed out",
                                _ => "it goes on",
                            }
                        ),
                        (About::Question(_), false) => format!("the question {how}."),
                        (About::Store(_), false) => format!("the store {how}."),
                        (About::Extend(_), false) => format!("the extension {how}."),
                        _ => format!("the report {how}."),
                    },
                )
            }
        };
        let Some(held) = self.held.get_mut(&(worker, index)) else { return };
        let key = held.key;
        if !matches!(flight.about, About::Extend(_) | About::Question(_)) {
            held.failed = Some(at);
            if reply.is_ok() {
                self.held.remove(&(worker, index));
            }
        }
        self.say(at, key, Some((worker, index)), what);
    }

    fn outcome(&self, reply: &Reply, good: &str, bad: &str) -> String {
        if reply.is_ok() {
            return good.to_owned();
        }
        let faults: Vec<&str> = self.faults.values().map(String::as_str).collect();
        let during = if faults.is_empty() {
            String::new()
        } else {
            format!(", while in force: {}", faults.join(", "))
        };
        format!("{bad}: {}{during}", words::reply(reply))
    }

    fn finished(&mut self, at: Instant, worker: u32, entry: EntryId, outcome: &Outcome) {
        let Some(held) = self.held.get_mut(&(worker, entry.index())).filter(|held| held.entry == entry)
        else {
            return;
        };
        held.finished = Some(at);
        let (key, ran) = (held.key, words::span(at.saturating_duration_since(held.since)));
        let what = match outcome {
            Outcome::Final => format!("its code finishes after {ran}."),
            Outcome::Yield { callback_after } => {
                format!(
                    "its code ends after {ran} and wants to be called again in {}.",
                    words::span(*callback_after)
                )
            }
        };
        self.say(at, key, Some((worker, entry.index())), what);
    }

    fn crashed(&mut self, at: Instant, worker: u32) {
        let gone: Vec<(u32, u16)> =
            self.held.range((worker, 0)..=(worker, u16::MAX)).map(|(place, _)| *place).collect();
        for place in gone {
            if let Some(held) = self.held.remove(&place) {
                let state =
                    if held.finished.is_some() { "with its result unreported" } else { "while it runs" };
                self.say(at, held.key, Some(place), format!("worker {worker} crashes {state}."));
            }
        }
        self.flights.retain(|(of, _), _| *of != worker);
    }

    // ---------------------------------------------------------------- what a worker answers

    fn action(&mut self, at: Instant, worker: u32, action: &Action) {
        let (call, about) = match action {
            Action::Poll { call, .. } => (*call, About::Poll),
            Action::Refresh { call } => (*call, About::Token),
            Action::GiveBack { call, key } => (*call, About::GiveBack(*key)),
            Action::Update { call, entry, take_next, instead, .. } => {
                self.update(at, worker, *call, *entry, *take_next, *instead);
                (*call, About::Report(entry.index()))
            }
            Action::Spill { call, entry, .. } => {
                self.about_entry(at, worker, *entry, |_| {
                    "its report failed too often, or for too long: it goes to the store.".to_owned()
                });
                (*call, About::Store(entry.index()))
            }
            Action::Extend { call, entry } => {
                let call_name = words::call(*call);
                self.about_entry(at, worker, *entry, |_| {
                    format!("worker {worker} extends its lease ({call_name}).")
                });
                (*call, About::Extend(entry.index()))
            }
            Action::Recall { entry, why } => {
                let why = words::recall(*why);
                return self.about_entry(at, worker, *entry, |_| format!("{why}: its code is recalled."));
            }
            Action::Lapsed { entry } => {
                return self.about_entry(at, worker, *entry, |_| {
                    format!("its lease has lapsed by the clock of worker {worker}: it is extended no more.")
                });
            }
            Action::Ask { call, entry } => {
                let call_name = words::call(*call);
                self.about_entry(at, worker, *entry, |_| {
                    format!("worker {worker} asks whether it is still wanted ({call_name}).")
                });
                (*call, About::Question(entry.index()))
            }
            Action::Discard { entry, why } => {
                let why = words::loss(*why);
                self.about_entry(at, worker, *entry, |_| format!("worker {worker} gives it up: {why}."));
                self.held.remove(&(worker, entry.index()));
                return;
            }
            Action::Run { .. }
            | Action::Adopt { .. }
            | Action::Ignore { .. }
            | Action::Wait { .. }
            | Action::Stopped => return,
        };
        self.flights.insert((worker, call), Flight { sent: at, about });
    }

    fn update(
        &mut self,
        at: Instant,
        worker: u32,
        call: CallId,
        entry: EntryId,
        take_next: bool,
        instead: Option<Instead>,
    ) {
        let (call, next) = (words::call(call), if take_next { ", and asks for the next task" } else { "" });
        let failed_instead = instead.map_or_else(String::new, |why| {
            format!(" as failed in its outcome's place: {}", words::instead(why))
        });
        self.about_entry(at, worker, entry, |held| {
            held.tries += 1;
            match held.failed.take() {
                None => format!("worker {worker} reports it{failed_instead} ({call}{next})."),
                Some(failed) => {
                    let (later, tries) = (words::span(at.saturating_duration_since(failed)), held.tries);
                    format!(
                        "worker {worker} reports it{failed_instead} again, {later} later: try {tries} ({call}{next})."
                    )
                }
            }
        });
    }

    fn about_entry(
        &mut self,
        at: Instant,
        worker: u32,
        entry: EntryId,
        what: impl FnOnce(&mut HeldTask) -> String,
    ) {
        let place = (worker, entry.index());
        let Some(held) = self.held.get_mut(&place).filter(|held| held.entry == entry) else { return };
        let (key, what) = (held.key, what(held));
        self.say(at, key, Some(place), what);
    }

    // ---------------------------------------------------------------- what the server does

    fn effect(&mut self, at: Instant, effect: &Effect) {
        let (key, what) = match effect {
            Effect::Scheduled { key, retry_of: None, .. } => (*key, "it is scheduled.".to_owned()),
            Effect::Scheduled { key, retry_of: Some(of), .. } => {
                (*key, format!("it is scheduled as the retry of {}.", words::task(*of)))
            }
            Effect::Delivered { key, worker, .. } => {
                (*key, format!("the server hands it to worker {worker}."))
            }
            Effect::Extended { key, worker, known: true } => {
                (*key, format!("the server extends the lease of worker {worker}."))
            }
            Effect::Extended { key, worker, known: false } => {
                (*key, format!("worker {worker} extends its lease, and the server has it not in progress."))
            }
            Effect::Cancelled { key, .. } => {
                (*key, "its workflow is terminated or restarted: the task is over.".to_owned())
            }
            Effect::Lapsed { key, worker: u32::MAX } => {
                (*key, "it is timed out while it waits: TIMED_OUT, and its workflow with it.".to_owned())
            }
            Effect::Lapsed { key, worker } => {
                (*key, format!("the lease of worker {worker} lapses: TIMED_OUT."))
            }
            Effect::Reported { key, worker, report, applied, call } => {
                let from = if call.is_none() { "the store of worker" } else { "worker" };
                let what = match (applied, report) {
                    (true, Report::Yield) => {
                        format!("the server puts it back into its queue, as {from} {worker} says.")
                    }
                    (true, _) => {
                        format!("the server takes it as {}, as {from} {worker} says.", words::report(*report))
                    }
                    (false, _) => {
                        format!(
                            "{from} {worker} says {}; the server has its end already.",
                            words::report(*report)
                        )
                    }
                };
                (*key, what)
            }
            Effect::TokenIssued { .. } | Effect::Unauthorized { .. } => return,
        };
        self.say(at, key, None, what);
    }
}
