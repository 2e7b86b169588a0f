//! One run of the firmware against a server: quiet, then each fault by itself, then many at once, then drained.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::bridge::Bridge;
use super::cases::{self, Case};
use super::drill;
use super::image::Sizes;
use super::model::Faults;
use super::qemu::{Board, End};
use super::table::{self, Row};
use crate::clock::{self, Stopwatch};
use crate::process::{Context, Failure};
use crate::real_server::api::Api;

/// Faults of all kinds together last for so many rounds; in each some workflows are started.
const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_millis(1_500);
/// So many more, where chance has left out a kind of damage.
const ROUNDS_MORE: u32 = 40;
/// The rounds in which the server cannot be reached.
const OUTAGE: std::ops::Range<u32> = 5..7;
/// Longer than the server holds a poll, shorter than the slow task runs.
const POLL_MAX: Duration = Duration::from_millis(1_500);
/// Retries of tasks: enough for each answer with a task in it that is lost.
const RETRIES: u32 = 12;

/// A server, the model or the real one.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The base of its API.
    pub(crate) url: String,
    pub(crate) api: Api,
    /// Faults of the server itself, where it can have them.
    pub(crate) faults: Option<Faults>,
    pub(crate) pace: Pace,
}

/// What differs between servers.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// How long all workflows of one part may take.
    patience: Duration,
    /// Of so many frames one is damaged. A task is some 20 frames, and one that is lost costs a lease.
    one_in: u32,
    /// How often the quiet part may be begun until all goes without a second try; as often a task may be tried again.
    quiet: u32,
}

impl Pace {
    /// The model gives a lapsed task away at once.
    pub(crate) const MODEL: Self = Self { patience: Duration::from_secs(120), one_in: 16, quiet: 1 };
    /// A real server looks for lapsed tasks every 30 s or so, and then waits before the retry. Fresh from its start, on
    /// a busy machine, it may take longer for an answer than the lease of 2 s, which costs the task in it a try.
    pub(crate) const REAL: Self = Self { patience: Duration::from_secs(300), one_in: 32, quiet: 3 };
}

/// The address in the base of an API, `http://127.0.0.1:PORT/api`.
pub(crate) fn address(url: &str) -> Result<SocketAddr, Failure> {
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    host.parse().context(|| format!("`{url}` has no address"))
}

/// Runs the image and gives the figures that it printed in the end.
pub(crate) fn run(image: &Path, server: &Server, workflows: u32) -> Result<Sizes, Failure> {
    cases::register(&server.api, server.pace.quiet)?;
    cases::register_workflow(&server.api)?;
    let bridge = Bridge::start(server.address, 4711)?;
    let mut board = Board::start(image, bridge.port)?;
    let ran = parts(server, &bridge, &mut board, workflows);
    println!("the line: {}", bridge.tally().line());
    ran.and_then(|()| figures(&board.console()))
        .map_err(|failure| Failure::new(format!("{failure}\nthe firmware's console:\n{}", board.console())))
}

fn parts(server: &Server, bridge: &Bridge, board: &mut Board, workflows: u32) -> Result<(), Failure> {
    let api = &server.api;
    quiet(server, bridge, board)?;

    cases::register(api, RETRIES)?;
    let mut rows = Vec::new();
    if let Some(faults) = &server.faults {
        let watch = Stopwatch::start();
        rows.extend(drill::tokens(faults, board)?);
        let (met, drilled) = drill::run(faults, api, bridge, board)?;
        rows.extend(met);
        wait_for(&drilled, server, board)?;
        drilled.iter().try_for_each(|case| case.check(api, false))?;
        told("each fault by itself", drilled.len(), &watch);
    }

    let watch = Stopwatch::start();
    let stormy = storm(server, bridge, board, workflows)?;
    wait_for(&stormy, server, board)?;
    stormy.iter().try_for_each(|case| case.check(api, false))?;
    told("many at once", stormy.len(), &watch);

    if let Some(faults) = &server.faults {
        let stats = faults.stats()?;
        println!("the server's own count: {}", stats["tasks"]);
        rows.push(Row::new("lease extended", 1, stats["requests"]["extend"].as_u64().unwrap_or(0)));
    }
    rows.extend(bridge.tally().rows().map(|(name, hits)| Row::new(name, 1, u64::from(hits))));
    table::judge(&rows)?;
    drain(server, bridge, board)
}

/// One workflow of each kind, without a fault: no more tries than the kind asks for.
fn quiet(server: &Server, bridge: &Bridge, board: &mut Board) -> Result<(), Failure> {
    let api = &server.api;
    for left in (0..server.pace.quiet).rev() {
        let watch = Stopwatch::start();
        let cases = cases::one_of_each(api)?;
        wait_for(&cases, server, board)?;
        // Each has ended once, even where that took more tries.
        cases.iter().try_for_each(|case| case.check(api, false))?;
        match cases.iter().try_for_each(|case| case.check(api, true)) {
            Ok(()) => {
                told("quiet", cases.len(), &watch);
                return Ok(());
            }
            Err(failure) if left == 0 => return Err(failure),
            Err(failure) => {
                println!("quiet, once more, because of a try too many: {failure}");
                println!("the line until then: {}", bridge.tally().line());
            }
        }
    }
    Ok(())
}

fn told(part: &str, count: usize, watch: &Stopwatch) {
    println!(
        "{part}: {count} workflows, each ended exactly once and as expected, after {:.1} s",
        watch.seconds()
    );
}

/// Faults of line and server together, and an outage in the middle, until every kind of damage was done.
fn storm(server: &Server, bridge: &Bridge, board: &mut Board, workflows: u32) -> Result<Vec<Case>, Failure> {
    bridge.damage(server.pace.one_in);
    server.faults.as_ref().map_or(Ok(()), Faults::storm)?;
    let mut cases = Vec::new();
    for round in 0..ROUNDS + ROUNDS_MORE {
        let undone = bridge.tally().rows().iter().any(|(_, hits)| *hits == 0);
        if round >= ROUNDS && !undone {
            break;
        }
        bridge.outage(OUTAGE.contains(&round));
        cases.extend(cases::mixed(&server.api, if round < ROUNDS { workflows / ROUNDS } else { 1 })?);
        rest(ROUND, board)?;
    }
    bridge.damage(0);
    if let Some(faults) = &server.faults {
        println!("of the faults in force together have hit: {}", faults.end()?);
    }
    Ok(cases)
}

/// A task is running when the word comes: it is finished and reported, and no other is taken.
fn drain(server: &Server, bridge: &Bridge, board: &mut Board) -> Result<(), Failure> {
    let (api, watch) = (&server.api, Stopwatch::start());
    let running = cases::slow(api)?;
    let patience = server.pace.patience;
    let taken = clock::wait_for(patience, Duration::from_millis(50), || match running.is_running(api) {
        Ok(false) => None,
        known => Some(known),
    });
    taken.unwrap_or_else(|| Err(Failure::new("the task that the drain waits for was not taken")))?;
    bridge.drain();
    // A poll may be in flight, and what it brings is run; after it there is no other.
    rest(POLL_MAX, board)?;
    let late = cases::slow(api)?;
    match board.wait(patience, || bridge.drain()) {
        Some(End::Well) => {}
        Some(end) => return Err(Failure::new(format!("the firmware ended: {end}{}", board.complaint()))),
        None => return Err(Failure::new("the firmware did not end after the drain")),
    }
    running.check(api, true)?;
    if late.has_ended(api)? || late.is_running(api)? {
        return Err(Failure::new("a task was taken after the drain"));
    }
    println!(
        "drained: the task that ran was reported, no other was taken, exit 0 after {:.1} s",
        watch.seconds()
    );
    Ok(())
}

fn wait_for(cases: &[Case], server: &Server, board: &mut Board) -> Result<(), Failure> {
    let (api, patience) = (&server.api, server.pace.patience);
    let mut open: Vec<&Case> = cases.iter().collect();
    let ended = clock::wait_for(patience, Duration::from_millis(200), || {
        if let Err(failure) = board.must_run() {
            return Some(Err(failure));
        }
        while let Some(last) = open.last() {
            match last.has_ended(api) {
                Ok(true) => open.pop(),
                Ok(false) => return None,
                Err(failure) => return Some(Err(failure)),
            };
        }
        Some(Ok(()))
    });
    ended.unwrap_or_else(|| {
        let checked = open.iter().map(|case| case.check(api, false)).find_map(Result::err);
        let told = checked.map_or_else(String::new, |failure| failure.to_string());
        Err(Failure::new(format!("not all workflows had ended after {} s; {told}", patience.as_secs())))
    })
}

/// Lets time pass while the firmware runs.
fn rest(time: Duration, board: &mut Board) -> Result<(), Failure> {
    clock::wait_for(time, Duration::from_millis(100), || board.must_run().err()).map_or(Ok(()), Err)
}

/// The lines `name = number` of the console.
fn figures(console: &str) -> Result<Sizes, Failure> {
    let figure = |line: &str| {
        let (name, number) = line.split_once(" = ")?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    let figures: Sizes = console.lines().filter_map(figure).collect();
    if figures.contains_key("peak_stack") {
        Ok(figures)
    } else {
        Err(Failure::new("the firmware printed no figures"))
    }
}
