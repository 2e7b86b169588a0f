//! `cargo xtask firmware`: the core on a Cortex-M3 under QEMU.

mod bridge;
mod cases;
mod controls;
mod drill;
mod image;
pub(crate) mod model;
mod parts;
mod qemu;
pub(crate) mod run;
mod table;
pub(crate) mod toolchain;

use std::path::PathBuf;

use image::Sizes;
use run::{Pace, Server};
use toolchain::Toolchain;

use crate::args::Args;
use crate::ci::Done;
use crate::clock::Stopwatch;
use crate::conductor::{self, Backend};
use crate::process::{Failure, release_binary, root};
use crate::real_server::api::Api;

/// Workflows of the faulty part.
const WORKFLOWS: u32 = 60;
/// Likewise: the real server notices a lapsed lease late.
const WORKFLOWS_REAL: u32 = 30;
/// What docs/embedding.md promises; the linker keeps the flash, and static RAM and stack room together.
const FLASH_MAX: u64 = 48 * 1024;
const RAM_MAX: u64 = 12 * 1024;
const WORKER_4_MAX: u64 = 1152;

/// The command with its options.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    args.known(&["--workflows", "--simulator"], &["--real", "--update-sizes", "--build", "--parts"])?;
    let default = if args.has("--real") { WORKFLOWS_REAL } else { WORKFLOWS };
    let workflows = args.number("--workflows", default)?;
    if args.has("--build") {
        let toolchain = toolchain::prepare(toolchain::CORTEX_M3)?;
        return build(&toolchain).map(|image| println!("{}", image.display()));
    }
    if args.has("--parts") {
        let toolchain = toolchain::prepare(toolchain::CORTEX_M3)?;
        parts::flash(&build(&toolchain)?)?;
        return parts::ram(&toolchain);
    }
    let against = if args.has("--real") {
        Against::Real
    } else {
        Against::Model(
            args.value("--simulator")
                .map_or_else(|| release_binary("downbeat-sim"), |path| Ok(path.into()))?,
        )
    };
    check(workflows, &against, args.has("--update-sizes"))
}

/// The step of CI, or a loud word about what is missing.
pub(crate) fn step() -> Result<Done, Failure> {
    if let Some(lack) = [toolchain::missing(), image::missing(), qemu::missing()].into_iter().flatten().next()
    {
        return Ok(Done::Skipped(format!("{lack}; the firmware was neither built nor run")));
    }
    check(WORKFLOWS, &Against::Model(release_binary("downbeat-sim")?), false).map(|()| Done::Passed)
}

/// What the firmware works for.
enum Against {
    /// `downbeat-sim serve`, by this binary.
    Model(PathBuf),
    /// A real Conductor.
    Real,
}

fn check(workflows: u32, against: &Against, update: bool) -> Result<(), Failure> {
    if let Some(lack) = [image::missing(), qemu::missing()].into_iter().flatten().next() {
        return Err(Failure::new(lack));
    }
    let toolchain = toolchain::prepare(toolchain::CORTEX_M3)?;
    controls::flash_is_bounded(&toolchain)?;
    controls::overflow_ends(&toolchain)?;
    // All three lie in one place: the good one comes last.
    let image = build(&toolchain)?;
    image::has_no_allocator(&image, &std::env::current_exe().unwrap_or_default())?;
    let mut sizes = image::measure(&image)?;
    let watch = Stopwatch::start();
    let figures = match against {
        Against::Real => {
            let conductor = conductor::start(Backend::Sqlite, 0)?;
            println!("a real Conductor is at {}", conductor.url);
            let (address, api) = (run::address(&conductor.url)?, Api::new(&conductor.url));
            let server = Server { address, url: conductor.url.clone(), api, faults: None, pace: Pace::REAL };
            run::run(&image, &server, workflows)?
        }
        Against::Model(simulator) => {
            let (_model, server) = model::start(simulator, true)?;
            println!("downbeat-sim serve is at {}", server.url);
            run::run(&image, &server, workflows)?
        }
    };
    println!("ran for {:.1} s", watch.seconds());
    sizes.extend(figures.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())));
    promises(&sizes)?;
    image::ratchet(&sizes, update)
}

/// The figures of the console that the ratchet holds.
const KEPT: [&str; 4] = ["peak_stack", "session", "worker_4", "worker_8"];

/// Builds the firmware.
fn build(toolchain: &Toolchain) -> Result<PathBuf, Failure> {
    toolchain.build(&root().join("firmware"), &PACKAGE, &[SCRIPT], &KEYS)?;
    Ok(toolchain.program("downbeat-firmware"))
}

const PACKAGE: [&str; 4] = ["--package", "downbeat-firmware", "--bin", "downbeat-firmware"];
const SCRIPT: &str = "-Tlink.x";
/// Compiled in.
const KEYS: [(&str, &str); 2] = [("DOWNBEAT_KEY", model::KEY), ("DOWNBEAT_SECRET", model::SECRET)];

/// The sizes that the documents promise.
fn promises(sizes: &Sizes) -> Result<(), Failure> {
    let size = |name: &str| sizes.get(name).copied().unwrap_or(u64::MAX);
    let ram = size("static_ram").saturating_add(size("peak_stack"));
    let promised = [
        ("flash", size("flash"), FLASH_MAX),
        ("static RAM and peak stack", ram, RAM_MAX),
        ("Worker<4>", size("worker_4"), WORKER_4_MAX),
    ];
    for (name, bytes, limit) in promised {
        println!("{name:<26} {bytes:>6} of {limit} bytes");
        if bytes > limit {
            return Err(Failure::new(format!("{name}: {bytes} bytes, and {limit} are promised")));
        }
    }
    Ok(())
}
