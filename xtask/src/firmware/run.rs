//! One run of the firmware against a server: quiet, then damaged, then drained.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::bridge::Bridge;
use super::cases::{self, Case};
use super::image::Sizes;
use super::model::Faults;
use super::qemu::Board;
use crate::clock::{self, Stopwatch};
use crate::process::{Context, Failure};
use crate::real_server::api::Api;

/// How long all workflows of one part may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Faults last for so many rounds; in each some workflows are started.
const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_millis(1_500);
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
}

/// The address in the base of an API, `http://127.0.0.1:PORT/api`.
pub(crate) fn address(url: &str) -> Result<SocketAddr, Failure> {
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    host.parse().context(|| format!("`{url}` has no address"))
}

/// Runs the image and gives the figures that it printed in the end.
pub(crate) fn run(image: &Path, server: &Server, workflows: u32) -> Result<Sizes, Failure> {
    cases::register(&server.api, 1)?;
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
    let watch = Stopwatch::start();
    let quiet = cases::one_of_each(api)?;
    wait_for(&quiet, api, board)?;
    quiet.iter().try_for_each(|case| case.check(api, true))?;
    println!(
        "quiet: {} workflows, each ended once and as expected, after {:.1} s",
        quiet.len(),
        watch.seconds()
    );

    let watch = Stopwatch::start();
    cases::register(api, RETRIES)?;
    bridge.damage(true);
    server.faults.as_ref().map_or(Ok(()), Faults::begin)?;
    let mut faulty = Vec::new();
    for round in 0..ROUNDS {
        bridge.outage(OUTAGE.contains(&round));
        faulty.extend(cases::mixed(api, workflows / ROUNDS)?);
        rest(ROUND, board)?;
    }
    bridge.damage(false);
    if let Some(faults) = &server.faults {
        println!("the server's faults have hit: {}", faults.hits()?);
        faults.end()?;
    }
    wait_for(&faulty, api, board)?;
    faulty.iter().try_for_each(|case| case.check(api, false))?;
    println!(
        "faulty: {} workflows, each ended once and as expected, after {:.1} s",
        faulty.len(),
        watch.seconds()
    );
    if let Some(faults) = &server.faults {
        println!("the server's own count: {}", faults.stats()?["tasks"]);
    }
    let undone = bridge.tally().undone();
    if !undone.is_empty() {
        return Err(Failure::new(format!("the line was never damaged by {}", undone.join(", "))));
    }
    drain(server, bridge, board)
}

/// A task is running when the word comes: it is finished and reported, and no other is taken.
fn drain(server: &Server, bridge: &Bridge, board: &mut Board) -> Result<(), Failure> {
    let (api, watch) = (&server.api, Stopwatch::start());
    let running = cases::slow(api)?;
    let taken = clock::wait_for(PATIENCE, Duration::from_millis(50), || match running.is_running(api) {
        Ok(false) => None,
        known => Some(known),
    });
    taken.unwrap_or_else(|| Err(Failure::new("the task that the drain waits for was not taken")))?;
    bridge.drain();
    // A poll may be in flight, and what it brings is run; after it there is no other.
    rest(POLL_MAX, board)?;
    let late = cases::slow(api)?;
    match board.wait(PATIENCE, || bridge.drain()) {
        Some(0) => {}
        Some(code) => return Err(Failure::new(format!("the firmware ended with {code}"))),
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

fn wait_for(cases: &[Case], api: &Api, board: &mut Board) -> Result<(), Failure> {
    let mut open: Vec<&Case> = cases.iter().collect();
    let ended = clock::wait_for(PATIENCE, Duration::from_millis(200), || {
        if board.has_ended() {
            return Some(Err(Failure::new("the firmware ended before its time")));
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
        Err(Failure::new(format!("not all workflows had ended after {} s; {told}", PATIENCE.as_secs())))
    })
}

/// Lets time pass while the firmware runs.
fn rest(time: Duration, board: &mut Board) -> Result<(), Failure> {
    match clock::wait_for(time, Duration::from_millis(100), || board.has_ended().then_some(())) {
        None => Ok(()),
        Some(()) => Err(Failure::new("the firmware ended before its time")),
    }
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
