//! Inputs, answers, times and tasks in few words, the same in every view.

use std::fmt::Write as _;
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, EntryId, Fault, Input, Instant, Instead, Loss, Outcome,
    RecallReason, Reply, TaskKey, TokenNews, Why,
};

use crate::event::Report;

/// Writes a time as seconds with six digits: `16.059000`.
#[must_use]
pub fn clock(at: Instant) -> String {
    let micros = at.as_micros();
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Writes a time as people say it: `16.059 s`, and `0.000250 s` if milliseconds do not tell it.
#[must_use]
pub fn time(at: Instant) -> String {
    let micros = at.as_micros();
    if micros.is_multiple_of(1_000) {
        format!("{}.{:03} s", micros / 1_000_000, micros / 1_000 % 1_000)
    } else {
        format!("{} s", clock(at))
    }
}

/// Writes a length of time in its largest fitting unit: `7 s`, `1.5 s`, `250 ms`, `12 us`.
#[must_use]
pub fn span(length: Duration) -> String {
    let micros = length.as_micros();
    let (unit, name) = match micros {
        0 => return "0 s".to_owned(),
        1..1_000 => (1, "us"),
        1_000..1_000_000 => (1_000, "ms"),
        _ => (1_000_000, "s"),
    };
    let (whole, rest) = (micros / unit, micros % unit * 1_000 / unit);
    let mut text = whole.to_string();
    if rest > 0 {
        let _ = write!(text, ".{rest:03}");
        text.truncate(text.trim_end_matches('0').len());
    }
    format!("{text} {name}")
}

/// Returns a task's name in a view: the first eight digits of its id.
#[must_use]
pub fn task(key: TaskKey) -> String {
    let mut name = key.to_string();
    // Ids that were counted up differ at their end.
    if name.starts_with("00000000-0000-0000") {
        name.drain(..28);
    }
    name.truncate(8);
    name
}

/// Names a call: `#17`.
#[must_use]
pub fn call(call: CallId) -> String {
    format!("#{}", call.serial())
}

/// Names an entry: `entry 3`.
#[must_use]
pub fn entry(entry: EntryId) -> String {
    format!("entry {}", entry.index())
}

/// Returns what a machine was told.
#[must_use]
pub fn input(input: &Input) -> String {
    match input {
        Input::Tick => "tick".to_owned(),
        Input::Leased { call: by, task: meta } => {
            let lease = meta
                .response_timeout
                .map_or_else(|| "no lease".to_owned(), |lease| format!("lease {}", span(lease)));
            let retry = meta.retry_of.map_or_else(String::new, |of| format!(", the retry of {}", task(of)));
            let back = meta
                .give_back_within
                .map_or_else(String::new, |within| format!(", to be given back within {}", span(within)));
            format!("leased {} by {}, {lease}{retry}{back}", task(meta.key), call(*by))
        }
        Input::Recovered { task: meta } => format!("recovered {}", task(meta.key)),
        Input::Replied { call: to, reply: said } => format!("replied {} {}", call(*to), reply(said)),
        Input::Finished { entry: at, outcome } => match outcome {
            Outcome::Final => format!("finished {}", entry(*at)),
            Outcome::Yield { callback_after } => {
                format!("finished {}, again in {}", entry(*at), span(*callback_after))
            }
        },
        Input::Token(TokenNews::Fresh { generation }) => format!("token {generation}"),
        Input::Token(TokenNews::Missing) => "no token".to_owned(),
        Input::Control(decided) => control(*decided).to_owned(),
    }
}

/// Says what a machine answered.
#[must_use]
pub fn action(action: &Action) -> String {
    match action {
        Action::Run { entry: at, key } => format!("run {} in {}", task(*key), entry(*at)),
        Action::GiveBack { call: by, key } => format!("give_back {} by {}", task(*key), call(*by)),
        Action::Ignore { key } => format!("ignore {}", task(*key)),
        Action::Recall { entry: at, why } => match why {
            RecallReason::Drain => format!("recall {}", entry(*at)),
            RecallReason::Cancelled | RecallReason::Lapsed => {
                format!("recall {}: {}", entry(*at), recall(*why))
            }
        },
        Action::Lapsed { entry: at } => format!("lapsed {}", entry(*at)),
        Action::Adopt { entry: at, key } => format!("adopt {} in {}", task(*key), entry(*at)),
        Action::Ask { call: by, entry: at } => format!("ask {} about {}", call(*by), entry(*at)),
        Action::Refresh { call: by } => format!("refresh {}", call(*by)),
        Action::Extend { call: by, entry: at } => format!("extend {} {}", call(*by), entry(*at)),
        Action::Update { call: by, entry: at, attempt, take_next, instead: other } => {
            let again = if *attempt > 0 { format!(", {attempt} failed before") } else { String::new() };
            let next = if *take_next { ", take next" } else { "" };
            let other = other.map_or_else(String::new, |why| format!(", as failed: {}", instead(why)));
            format!("update {} {}{again}{next}{other}", call(*by), entry(*at))
        }
        Action::Poll { call: by, count, wait } => {
            let held = if wait.is_zero() { String::new() } else { format!(", wait {}", span(*wait)) };
            format!("poll {} for {count}{held}", call(*by))
        }
        Action::Spill { call: by, entry: at, instead: other } => {
            let other = other.map_or_else(String::new, |why| format!(", as failed: {}", instead(why)));
            format!("store {} {}{other}", call(*by), entry(*at))
        }
        Action::Discard { entry: at, why } => format!("discard {}: {}", entry(*at), loss(*why)),
        Action::Wait { until, why: reason } => match until {
            Some(at) => format!("wait until {}: {}", clock(*at), why(*reason)),
            None => format!("wait: {}", why(*reason)),
        },
        Action::Stopped => "stopped".to_owned(),
    }
}

/// Returns what a hub answered, and for which worker.
#[must_use]
pub fn hub_action(to: Option<u32>, answer: &Action) -> String {
    let whose = to.map_or_else(String::new, |worker| format!("worker {worker}: "));
    format!("{whose}{}", action(answer))
}

/// Returns how a call ended.
#[must_use]
pub fn reply(reply: &Reply) -> String {
    match reply {
        Ok(Answer::Done) => "ok".to_owned(),
        Ok(Answer::Token { .. }) => "with a token".to_owned(),
        Ok(Answer::TimedOut) => "the server has timed it out".to_owned(),
        Ok(Answer::Ended) => "the server has ended it".to_owned(),
        Ok(Answer::NoAuth) => "without a token: none is wanted".to_owned(),
        Err(CallError { fault: kind, retry_after: None }) => fault(*kind).to_owned(),
        Err(CallError { fault: kind, retry_after: Some(after) }) => {
            format!("{}, retry after {}", fault(*kind), span(*after))
        }
    }
}

/// Names a kind of failure.
#[must_use]
pub const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::NotSent => "not sent",
        Fault::Unknown => "no answer",
        Fault::Slow => "no answer in time",
        Fault::Forbidden => "403",
        Fault::Internal => "500",
        Fault::TooLarge => "413",
        Fault::Gone => "404: no such task",
        Fault::Unauthorized => "401",
        Fault::Throttled => "429",
        Fault::Server => "5xx",
        Fault::Rejected => "rejected",
        Fault::Unsupported => "no update-v2",
    }
}

/// Returns what a wait is for.
#[must_use]
pub const fn why(why: Why) -> &'static str {
    match why {
        Why::Empty => "the queue was empty",
        Why::Failing => "the last poll failed",
        Why::Unreachable => "the server cannot be reached",
        Why::Auth => "authorisation",
        Why::RetryAfter => "the server asked to be left alone",
        Why::Paused => "paused",
        Why::Full => "no free entry",
        Why::Busy => "all lanes are in use",
        Why::InFlight => "a call is in flight",
        Why::Lease => "a lease is due",
        Why::Update => "a report is due",
        Why::Draining => "draining",
        Why::Limit => "a lease ends, or a result goes to the store",
        Why::Ask => "a running task is asked about",
    }
}

/// Returns why running code is stopped.
#[must_use]
pub const fn recall(why: RecallReason) -> &'static str {
    match why {
        RecallReason::Drain => "the drain's time is over",
        RecallReason::Cancelled => "the server has ended its task",
        RecallReason::Lapsed => "its lease is over",
    }
}

/// Returns why a report that the task failed takes the place of its outcome.
#[must_use]
pub const fn instead(why: Instead) -> &'static str {
    match why {
        Instead::TooLarge => "its result is too large (413)",
        Instead::Rejected => "the server rejects its outcome",
        Instead::Refused => "the server refuses its result again and again",
        Instead::PollTimeout => "it is too late to give it back",
    }
}

/// Names a decision from outside.
#[must_use]
pub const fn control(control: Control) -> &'static str {
    match control {
        Control::Pause => "pause",
        Control::Resume => "resume",
        Control::Drain => "drain",
        Control::Abort => "abort",
    }
}

/// Returns why an outcome was given up.
#[must_use]
pub const fn loss(loss: Loss) -> &'static str {
    match loss {
        Loss::Rejected => "the server rejects it for good",
        Loss::Aborted => "aborted",
        Loss::UnsafeYield => "to repeat the yield is not safe any more",
        Loss::Refused => "the server has refused it too often",
        Loss::Ended => "the server has ended its task",
        Loss::GaveUp => "four tries failed (the Ruby SDK's rule)",
    }
}

/// Returns what a report said, as the server names it.
#[must_use]
pub const fn report(report: Report) -> &'static str {
    match report {
        Report::Completed => "COMPLETED",
        Report::Failed => "FAILED",
        Report::Terminal => "FAILED_WITH_TERMINAL_ERROR",
        Report::Yield => "IN_PROGRESS",
    }
}
