//! Inputs, answers, times and tasks in few words, the same in every view.

use std::fmt::Write as _;
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, Fault, Input, Instant, Loss, Outcome, Reply, SlotId, TaskKey,
    TokenNews, Why,
};

use crate::event::Report;

/// A time as seconds with six digits: `16.059000`.
#[must_use]
pub fn clock(at: Instant) -> String {
    let micros = at.as_micros();
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// A time as people say it: `16.059 s`, and `0.000250 s` where milliseconds do not tell it.
#[must_use]
pub fn time(at: Instant) -> String {
    let micros = at.as_micros();
    if micros.is_multiple_of(1_000) {
        format!("{}.{:03} s", micros / 1_000_000, micros / 1_000 % 1_000)
    } else {
        format!("{} s", clock(at))
    }
}

/// A length of time in its largest fitting unit: `7 s`, `1.5 s`, `250 ms`, `12 us`.
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

/// A task's name in a view: the first eight digits of its id.
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

/// A call: `#17`.
#[must_use]
pub fn call(call: CallId) -> String {
    format!("#{}", call.serial())
}

/// A slot: `slot 3`.
#[must_use]
pub fn slot(slot: SlotId) -> String {
    format!("slot {}", slot.index())
}

/// What a machine was told.
#[must_use]
pub fn input(input: &Input) -> String {
    match input {
        Input::Tick => "tick".to_owned(),
        Input::Leased { call: by, task: meta } => {
            let lease = meta
                .response_timeout
                .map_or_else(|| "no lease".to_owned(), |lease| format!("lease {}", span(lease)));
            format!("leased {} by {}, {lease}", task(meta.key), call(*by))
        }
        Input::Replied { call: to, reply: said } => format!("replied {} {}", call(*to), reply(said)),
        Input::Finished { slot: at, outcome } => match outcome {
            Outcome::Final => format!("finished {}", slot(*at)),
            Outcome::Yield { callback_after } => {
                format!("finished {}, again in {}", slot(*at), span(*callback_after))
            }
        },
        Input::Token(TokenNews::Fresh { generation }) => format!("token {generation}"),
        Input::Token(TokenNews::Missing) => "no token".to_owned(),
        Input::Control(decided) => control(*decided).to_owned(),
    }
}

/// What a machine answered.
#[must_use]
pub fn action(action: &Action) -> String {
    match action {
        Action::Run { slot: at, key } => format!("run {} in {}", task(*key), slot(*at)),
        Action::Refuse { call: by, key } => format!("refuse {} by {}", task(*key), call(*by)),
        Action::Ignore { key } => format!("ignore {}", task(*key)),
        Action::Recall { slot: at } => format!("recall {}", slot(*at)),
        Action::Refresh { call: by } => format!("refresh {}", call(*by)),
        Action::Extend { call: by, slot: at } => format!("extend {} {}", call(*by), slot(*at)),
        Action::Update { call: by, slot: at, attempt, take_next } => {
            let again = if *attempt > 0 { format!(", {attempt} failed before") } else { String::new() };
            let next = if *take_next { ", take next" } else { "" };
            format!("update {} {}{again}{next}", call(*by), slot(*at))
        }
        Action::Poll { call: by, count, wait } => {
            let held = if wait.is_zero() { String::new() } else { format!(", wait {}", span(*wait)) };
            format!("poll {} for {count}{held}", call(*by))
        }
        Action::Spill { call: by, slot: at } => format!("store {} {}", call(*by), slot(*at)),
        Action::Discard { slot: at, why } => format!("discard {}: {}", slot(*at), loss(*why)),
        Action::Wait { until, why: reason } => match until {
            Some(at) => format!("wait until {}: {}", clock(*at), why(*reason)),
            None => format!("wait: {}", why(*reason)),
        },
        Action::Stopped => "stopped".to_owned(),
    }
}

/// What a hub answered, and for which worker.
#[must_use]
pub fn hub_action(to: Option<u32>, answer: &Action) -> String {
    let whose = to.map_or_else(String::new, |worker| format!("worker {worker}: "));
    format!("{whose}{}", action(answer))
}

/// How a call ended.
#[must_use]
pub fn reply(reply: &Reply) -> String {
    match reply {
        Ok(Answer::Done) => "ok".to_owned(),
        Ok(Answer::Token { .. }) => "with a token".to_owned(),
        Ok(Answer::NoAuth) => "without a token: none is wanted".to_owned(),
        Err(CallError { fault: kind, retry_after: None }) => fault(*kind).to_owned(),
        Err(CallError { fault: kind, retry_after: Some(after) }) => {
            format!("{}, retry after {}", fault(*kind), span(*after))
        }
    }
}

/// A kind of failure.
#[must_use]
pub const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::NotSent => "not sent",
        Fault::Unknown => "no answer",
        Fault::Unauthorized => "401",
        Fault::Throttled => "429",
        Fault::Server => "5xx",
        Fault::Rejected => "rejected",
        Fault::Unsupported => "no update-v2",
    }
}

/// What a wait is for.
#[must_use]
pub const fn why(why: Why) -> &'static str {
    match why {
        Why::Empty => "the queue was empty",
        Why::Failing => "the last poll failed",
        Why::Unreachable => "the server cannot be reached",
        Why::Auth => "authorisation",
        Why::RetryAfter => "the server asked to be left alone",
        Why::Paused => "paused",
        Why::Full => "no free place",
        Why::Busy => "all lanes are in use",
        Why::InFlight => "a call is in flight",
        Why::Lease => "a lease is due",
        Why::Update => "a report is due",
        Why::Draining => "draining",
    }
}

/// A decision from outside.
#[must_use]
pub const fn control(control: Control) -> &'static str {
    match control {
        Control::Pause => "pause",
        Control::Resume => "resume",
        Control::Drain => "drain",
        Control::Abort => "abort",
    }
}

/// Why an outcome was given up.
#[must_use]
pub const fn loss(loss: Loss) -> &'static str {
    match loss {
        Loss::Rejected => "the server rejects it for good",
        Loss::Aborted => "aborted",
        Loss::UnsafeYield => "to repeat the yield is not safe any more",
        Loss::GaveUp => "four tries failed (the seed's rule)",
    }
}

/// What a report said, as the server names it.
#[must_use]
pub const fn report(report: Report) -> &'static str {
    match report {
        Report::Completed => "COMPLETED",
        Report::Failed => "FAILED",
        Report::Terminal => "FAILED_WITH_TERMINAL_ERROR",
        Report::Yield => "IN_PROGRESS",
    }
}
