//! `cargo xtask real-server`: a thousand workflows of a real Conductor, each brought to its expected end.

pub(crate) mod api;
mod kinds;
mod verdict;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use api::Api;
use kinds::Kind;
use verdict::Tally;
use workers::Workers;

use crate::args::Args;
use crate::ci::Done;
use crate::clock::{self, Stopwatch};
use crate::conductor::{self, Backend};
use crate::process::{Context, Failure, cargo, release_binary, run, target};

const WORKFLOWS: u32 = 1_000;
/// How long all workflows of one back end may take. The longest single one takes some 18 s.
const PATIENCE: Duration = Duration::from_secs(420);

/// The programs under test.
struct Binaries {
    downbeat: PathBuf,
    panicking: PathBuf,
}

/// One workflow that was started.
struct Started {
    kind: &'static Kind,
    number: u32,
    id: String,
}

/// The command with its options.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    args.known(&["--backend", "--workflows", "--downbeat", "--panicking"], &[])?;
    let backends = match args.value("--backend").unwrap_or("both") {
        "both" => vec![Backend::Sqlite, Backend::Redis],
        one => vec![Backend::parse(one)?],
    };
    let workflows = args.number("--workflows", WORKFLOWS)?;
    let binaries = binaries(args.value("--downbeat"), args.value("--panicking"))?;
    for backend in backends {
        check(backend, workflows, &binaries)?;
    }
    Ok(())
}

/// The step of CI: both back ends, or a loud word about what is missing.
pub(crate) fn step() -> Result<Done, Failure> {
    let lacks = [Backend::Sqlite, Backend::Redis].map(conductor::missing);
    if let Some(lack) = lacks.into_iter().flatten().next() {
        return Ok(Done::Skipped(format!("{lack}; nothing was tried against a real Conductor")));
    }
    let binaries = binaries(None, None)?;
    check(Backend::Sqlite, WORKFLOWS, &binaries)?;
    check(Backend::Redis, WORKFLOWS, &binaries)?;
    Ok(Done::Passed)
}

/// Builds what was not named.
fn binaries(downbeat: Option<&str>, panicking: Option<&str>) -> Result<Binaries, Failure> {
    let downbeat = downbeat.map_or_else(|| release_binary("downbeat"), |path| Ok(PathBuf::from(path)))?;
    let panicking = match panicking {
        Some(path) => PathBuf::from(path),
        None => {
            // The same features as `cargo test`, so that nothing is compiled again.
            run(cargo().args([
                "build",
                "--quiet",
                "--locked",
                "--workspace",
                "--all-features",
                "--examples",
            ]))?;
            target().join("debug/examples").join(workers::PANICKING_EXAMPLE)
        }
    };
    for path in [&downbeat, &panicking] {
        if !path.exists() {
            return Err(Failure::new(format!("there is no {}", path.display())));
        }
    }
    Ok(Binaries { downbeat, panicking })
}

fn check(backend: Backend, workflows: u32, binaries: &Binaries) -> Result<(), Failure> {
    println!("\nreal server, {} back end, {workflows} workflows", backend.name());
    let watch = Stopwatch::start();
    let server = conductor::start(backend, 0)?;
    println!("{:>7.1} s  server healthy at {}", watch.seconds(), server.url);
    let dir = target().join("real-server").join(format!("work-{}", backend.name()));
    drop(std::fs::remove_dir_all(&dir));
    std::fs::create_dir_all(dir.join("marks")).context(|| format!("making {}", dir.display()))?;
    let api = Api::new(&server.url);
    kinds::register(&api)?;
    let started = start_workflows(&api, workflows, &dir)?;
    println!("{:>7.1} s  {} workflows started", watch.seconds(), started.len());
    let mut workers = Workers::start(&server.url, &dir, binaries)?;
    let ended = wait_for_ends(&api, &started, &mut workers);
    println!(
        "{:>7.1} s  {}",
        watch.seconds(),
        if ended.is_ok() { "all workflows ended" } else { "given up" }
    );
    let mut tally = Tally::default();
    for workflow in &started {
        tally.add(workflow.kind, workflow.number, &api.workflow(&workflow.id)?);
    }
    let stopped = workers.stop();
    print!("{tally}");
    println!("{:>7.1} s  workers stopped, {} back end done", watch.seconds(), backend.name());
    tally.verdict()?;
    ended?;
    stopped
}

/// Starts the kinds mixed, so that all are under way at once.
fn start_workflows(api: &Api, workflows: u32, dir: &std::path::Path) -> Result<Vec<Started>, Failure> {
    let plan = kinds::plan(workflows);
    let threads = 4;
    let parts = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|part| {
                let mine: Vec<_> = plan.iter().copied().skip(part).step_by(threads).collect();
                scope.spawn(move || {
                    mine.into_iter().map(|(kind, number)| start_one(api, kind, number, dir)).collect()
                })
            })
            .collect();
        let joined = handles.into_iter().map(|handle| handle.join());
        joined.collect::<Vec<std::thread::Result<Vec<Result<Started, Failure>>>>>()
    });
    let mut started = Vec::new();
    for part in parts {
        let part = part.map_err(|_| Failure::new("a thread that started workflows panicked"))?;
        for one in part {
            started.push(one?);
        }
    }
    Ok(started)
}

fn start_one(api: &Api, kind: &'static Kind, number: u32, dir: &std::path::Path) -> Result<Started, Failure> {
    let marker = dir.join("marks").join(number.to_string());
    let id = api.start(kind.name, &kinds::input(number, &marker.display().to_string()))?;
    Ok(Started { kind, number, id })
}

fn wait_for_ends(api: &Api, started: &[Started], workers: &mut Workers) -> Result<(), Failure> {
    let mut open: Vec<&Started> = started.iter().collect();
    let end = clock::wait_for(PATIENCE, Duration::from_millis(500), || {
        if let Err(failure) = workers.check() {
            return Some(Err(failure));
        }
        while let Some(last) = open.last() {
            match api.has_ended(&last.id) {
                Ok(true) => open.pop(),
                Ok(false) => return None,
                Err(failure) => return Some(Err(failure)),
            };
        }
        Some(Ok(()))
    });
    end.unwrap_or_else(|| {
        let (seconds, first) = (PATIENCE.as_secs(), open.last().map_or("none", |last| last.kind.name));
        let most = open.len();
        Err(Failure::new(format!(
            "up to {most} workflows had not ended after {seconds} s, one of them {first}"
        )))
    })
}
