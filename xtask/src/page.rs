//! The simulator's page in a real browser: it opens, offline, and something is drawn.

use std::fs;

use crate::ci::Done;
use crate::process::{Context, Failure, capture, command, on_path, release_binary, root, run, target};

/// Names under which Chromium is installed.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// The page's own promise.
const PAGE_MAX: u64 = 1_000_000;
/// A blank picture of this size compresses to less.
const PICTURE_MIN: u64 = 30_000;

/// Runs a named scenario, has its page drawn by headless Chromium, and looks whether there is a picture.
pub(crate) fn check() -> Result<Done, Failure> {
    let page = target().join("page.html");
    let picture = target().join("page.png");
    let scenario = root().join("sim/scenarios/server-down-90s.toml");
    run(command(release_binary("downbeat-sim")?)
        .arg("run")
        .arg("--scenario")
        .arg(scenario)
        .arg("--html")
        .arg(&page))?;
    let size = fs::metadata(&page).context(|| page.display().to_string())?.len();
    if size >= PAGE_MAX {
        return Err(Failure::new(format!(
            "{} has {size} bytes; a page has less than {PAGE_MAX}",
            page.display()
        )));
    }
    let Some(browser) = BROWSERS.into_iter().find(|name| on_path(name)) else {
        return Ok(Done::Skipped(format!("no {} on PATH to draw the page", BROWSERS.join(", "))));
    };
    let _ = fs::remove_file(&picture);
    let mut draw = command(browser);
    draw.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,890"]);
    draw.arg(format!("--screenshot={}", picture.display()));
    draw.arg(format!("file://{}#t=100", page.display()));
    let (ok, words) = capture(&mut draw)?;
    let drawn = fs::metadata(&picture).map_or(0, |picture| picture.len());
    if !ok || drawn < PICTURE_MIN {
        return Err(Failure::new(format!("{browser} drew {drawn} bytes of {}:\n{words}", picture.display())));
    }
    println!("{} ({size} bytes) drawn as {} ({drawn} bytes)", page.display(), picture.display());
    Ok(Done::Passed)
}
