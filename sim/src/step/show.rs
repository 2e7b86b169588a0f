//! The state of machines, for people.

use std::fmt::Write as _;

use downbeat_core::machine::{Instant, Lifecycle, Outcome, Phase};

use crate::replay::{Boxed, Core};
use crate::view::{Cast, words};

/// The state of all workers.
pub(super) fn all(core: &Core, cast: &Cast) -> String {
    let hubs = core.hubs().list.iter().filter(|hub| core.hub(hub.number).is_some());
    let mut text: String = hubs.map(|hub| self::hub(core, cast, hub.number)).collect();
    for worker in core.workers() {
        text += &self::worker(core, cast, Some(worker));
    }
    if text.is_empty() { "no worker runs\n".to_owned() } else { text }
}

fn hub(core: &Core, cast: &Cast, number: u32) -> String {
    let name = cast.name(number);
    let Some(hub) = core.hub(number) else { return format!("{name}\n  does not run\n") };
    let token =
        hub.token_generation().map_or_else(|| "missing".to_owned(), |number| format!("number {number}"));
    format!(
        "{name}\n  calls in flight      {} of {}\n  token                {token}\n  link failures        {}\n",
        hub.calls_in_flight(),
        hub.policy().max_calls,
        hub.link_failures()
    )
}

/// The state of one worker, or of a hub.
pub(super) fn worker(core: &Core, cast: &Cast, worker: Option<u32>) -> String {
    let Some(worker) = worker else { return String::new() };
    if cast.is_hub(worker) {
        return hub(core, cast, worker);
    }
    let name = cast.name(worker);
    let Some(machine) = core.machine(worker) else { return format!("{name}\n  does not run\n") };
    let now = machine.snapshot();
    let mut text = format!("{name}\n");
    let mut row = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<20} {value}");
    };
    row("clock", words::clock(now.now));
    row("mode", lifecycle(now.lifecycle));
    row(
        "entries",
        format!("{} of {} held, {} running, room for {}", now.held, now.capacity, now.running, now.room),
    );
    let polling = if now.polling { ", a poll among them" } else { "" };
    row("calls in flight", format!("{} of {}{polling}", now.calls_in_flight, machine.policy().max_calls));
    row("calls made", now.calls_made.to_string());
    let gate = if now.poll_gate <= now.now {
        "open".to_owned()
    } else {
        format!("until {}: {}", words::clock(now.poll_gate), words::why(now.poll_gate_why))
    };
    row("poll gate", gate);
    row("empty polls", now.empty_polls.to_string());
    row("failed polls", now.failed_polls.to_string());
    row("link failures", now.link_failures.to_string());
    if machine.policy().authenticated || now.auth_failures > 0 {
        let token =
            if now.token_missing { "missing".to_owned() } else { format!("number {}", now.token_generation) };
        row("token", token);
        row("auth failures", now.auth_failures.to_string());
    }
    for held in machine.held_tasks() {
        let due = |what: &str, at: Option<Instant>| {
            at.map_or_else(String::new, |at| format!(", {what} {}", words::clock(at)))
        };
        let phase = match held.phase {
            Phase::Free => "free",
            Phase::Running => "running",
            Phase::Recalled => "recalled",
            Phase::Reporting => "reporting",
            Phase::Spent(_) => "given up",
        };
        let attempt =
            if held.attempt > 0 { format!(", {} reports failed", held.attempt) } else { String::new() };
        let again = match (held.phase, held.outcome) {
            (Phase::Reporting, Outcome::Yield { callback_after }) => {
                format!(", again in {}", words::span(callback_after))
            }
            _ => String::new(),
        };
        let what = words::task(held.key);
        let (report, lease) = (due("report due", held.report_due), due("lease due", held.lease_due));
        row(&words::entry(held.entry), format!("{what} {phase}{again}{attempt}{report}{lease}"));
    }
    text
}

fn lifecycle(lifecycle: Lifecycle) -> String {
    match lifecycle {
        Lifecycle::Open => "open".to_owned(),
        Lifecycle::Paused => "paused".to_owned(),
        Lifecycle::Draining { recall_at: None } => "draining".to_owned(),
        Lifecycle::Draining { recall_at: Some(at) } => format!("draining, recalls at {}", words::clock(at)),
        Lifecycle::Recalling { abort_at } => format!("recalling, aborts at {}", words::clock(abort_at)),
        Lifecycle::Aborted => "aborted".to_owned(),
        Lifecycle::Stopped => "stopped".to_owned(),
    }
}

/// What a worker waits for.
pub(super) fn why(core: &Core, cast: &Cast, worker: Option<u32>) -> String {
    let Some(worker) = worker else { return "of which worker? such as `why 1`\n".to_owned() };
    let hub_waits = |number: u32| {
        core.hub(number).map(|hub| waits(&format!("the {}", cast.name(number)), hub.deadline()))
    };
    if cast.is_hub(worker) {
        return hub_waits(worker).unwrap_or_else(|| format!("{} does not run\n", cast.name(worker)));
    }
    let name = cast.name(worker);
    let Some(machine) = core.machine(worker) else { return format!("{name} does not run\n") };
    let mut text = waits(&name, machine.deadline());
    text += &core.hubs().for_worker(worker).and_then(|hub| hub_waits(hub.number)).unwrap_or_default();
    for reason in reasons(machine) {
        let _ = writeln!(text, "  {reason}");
    }
    text
}

fn waits(name: &str, deadline: Option<(Instant, downbeat_core::machine::Why)>) -> String {
    match deadline {
        Some((at, why)) => format!("{name} wants to be woken at {}: {}\n", words::clock(at), words::why(why)),
        None => format!("{name} waits for an input: nothing comes due by itself\n"),
    }
}

/// What keeps a worker from polling.
fn reasons(machine: &Boxed) -> Vec<String> {
    let now = machine.snapshot();
    let mut found = Vec::new();
    if now.lifecycle != Lifecycle::Open {
        found.push(format!("no poll: {}", lifecycle(now.lifecycle)));
    }
    if now.polling {
        found.push("a poll is in flight, and there is never a second".to_owned());
    }
    if now.room == 0 {
        found.push("no poll: no free entry that is not promised".to_owned());
    }
    if now.calls_in_flight >= machine.policy().max_calls {
        found.push("no call: all lanes are in use".to_owned());
    }
    if now.token_missing {
        found.push("no call: a token is wanted and not there".to_owned());
    }
    if now.link_failures > 0 {
        found.push(format!(
            "one call at a time: the server was not reached {} times in a row",
            now.link_failures
        ));
    }
    if now.poll_gate > now.now {
        let (at, why) = (words::clock(now.poll_gate), words::why(now.poll_gate_why));
        found.push(format!("no poll before {at}: {why}"));
    }
    for held in machine.held_tasks().filter(|held| held.phase == Phase::Reporting && held.attempt > 0) {
        let due = held
            .report_due
            .map_or_else(|| "now on its way".to_owned(), |at| format!("due at {}", words::clock(at)));
        found.push(format!("the result of {} failed {} times, {due}", words::task(held.key), held.attempt));
    }
    found
}
