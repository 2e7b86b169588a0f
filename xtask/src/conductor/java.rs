//! A Java that is new enough, and how the server is run on it.

use std::path::{Path, PathBuf};
use std::process::Command;

const OLDEST: u32 = 21;

/// Finds a Java of version 21 or newer: `CONDUCTOR_JAVA`, `JAVA_HOME`, the path, then `/usr/lib/jvm`.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("CONDUCTOR_JAVA").map(PathBuf::from);
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("java"));
    let candidates = named.into_iter().chain(home).chain(on_path).chain(installed());
    candidates
        .filter(|java| java.exists())
        .find(|java| version(java).is_some_and(|version| version >= OLDEST))
}

/// Every Java under `/usr/lib/jvm`, newest name last in the alphabet first.
fn installed() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/usr/lib/jvm") else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path().join("bin/java")).collect();
    all.sort();
    all.reverse();
    all
}

/// The first number in `version "25.0.1"`.
fn version(java: &Path) -> Option<u32> {
    let output = Command::new(java).arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) = text.split_once("version \"")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A Java for the server in `home`: a small heap, and the quick compiler alone, for it lives a minute or two.
pub(super) fn server(java: &Path, home: &Path) -> Command {
    let mut command = Command::new(java);
    command.args(JVM).arg("-XX:TieredStopAtLevel=1");
    let archive = home.join("app.jsa");
    if archive.exists() {
        command.arg(format!("-XX:SharedArchiveFile={}", archive.display())).arg("-Xshare:auto");
    }
    command
}

/// The settings that a class-data archive must share with the server that uses it.
pub(super) const JVM: [&str; 3] = ["-Xmx768m", "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED"];
