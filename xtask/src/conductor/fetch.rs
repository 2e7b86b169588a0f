//! Fetches the published server once and prepares it for quick starts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Backend, java, last_lines, properties};
use crate::process::{Context, Failure, capture, command, root, run};

/// The directory of the unpacked server; fetched on the first call on this machine.
pub(super) fn server(java: &Path) -> Result<PathBuf, Failure> {
    let home = home()?;
    let parent = home.parent().unwrap_or(&home).to_path_buf();
    std::fs::create_dir_all(&parent).context(|| format!("making {}", parent.display()))?;
    // Two checks on one machine must not fetch into one place.
    let lock =
        File::create(parent.join("fetch.lock")).context(|| "making the lock of the cache".to_owned())?;
    lock.lock().context(|| "waiting for the lock of the cache".to_owned())?;
    if !is_ready(&home) {
        println!("first run on this machine: fetching the Conductor server (a minute or two)");
        fetch(java, &home)?;
    }
    Ok(home)
}

/// Whether a start needs no network.
pub(super) fn is_cached() -> bool {
    home().is_ok_and(|home| is_ready(&home))
}

fn is_ready(home: &Path) -> bool {
    home.join("ready").exists() && home.join("app/server.jar").exists()
}

fn fetch(java: &Path, home: &Path) -> Result<(), Failure> {
    drop(std::fs::remove_dir_all(home));
    let train = home.join("train");
    std::fs::create_dir_all(&train).context(|| format!("making {}", train.display()))?;
    let mut maven = command("mvn");
    maven.args(["-q", "-B", "-f"]).arg(root().join("tools/conductor-server/pom.xml")).arg("initialize");
    run(maven.arg(format!("-Dout={}", home.display())))?;
    let jar = home.join("server.jar");
    let mut unpack = Command::new(java);
    unpack
        .arg("-Djarmode=tools")
        .arg("-jar")
        .arg(&jar)
        .arg("extract")
        .arg("--destination")
        .arg(home.join("app"));
    let (ok, text) = capture(&mut unpack)?;
    if !ok {
        return Err(Failure::new(format!("{} could not be unpacked: {text}", jar.display())));
    }
    drop(std::fs::remove_file(&jar));
    record_classes(java, home, &train);
    drop(std::fs::remove_dir_all(&train));
    File::create(home.join("ready")).map(drop).context(|| format!("finishing {}", home.display()))
}

/// Starts the server once to record the classes that it loads. Without the archive starts are slow but right.
fn record_classes(java: &Path, home: &Path, train: &Path) {
    let mut record = Command::new(java);
    record.args(java::JVM).arg(format!("-XX:ArchiveClassesAtExit={}", home.join("app.jsa").display()));
    record.arg("-Dspring.context.exit=onRefresh").arg("-jar").arg(home.join("app/server.jar"));
    record.arg(properties(Backend::Sqlite)).arg("--server.port=0").current_dir(train);
    let log = home.join("train.log");
    let recorded = capture(&mut record).map(|(ok, text)| std::fs::write(&log, text).is_ok() && ok);
    if !matches!(recorded, Ok(true)) {
        println!("no class-data archive, so starts are slower:\n{}", last_lines(&log));
    }
}

/// `CONDUCTOR_CACHE`, else `~/.cache/conductor-server`, with the version that pom.xml names.
fn home() -> Result<PathBuf, Failure> {
    let pom = root().join("tools/conductor-server/pom.xml");
    let text = std::fs::read_to_string(&pom).context(|| pom.display().to_string())?;
    let version = text
        .split_once("<conductor.version>")
        .and_then(|(_, rest)| rest.split_once("</conductor.version>"))
        .map(|(version, _)| version.trim().to_owned())
        .ok_or_else(|| Failure::new(format!("{} names no conductor.version", pom.display())))?;
    let cache = std::env::var_os("CONDUCTOR_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/conductor-server")));
    cache.map(|cache| cache.join(version)).ok_or_else(|| {
        Failure::new("neither CONDUCTOR_CACHE nor HOME is set: there is no place for the server")
    })
}
