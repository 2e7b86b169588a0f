//! `cargo xtask ci --fast`: what one runs before each commit.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Done, Step, scripts_parse, sh, step};
use crate::process::{Context as _, Failure, capture, cargo, command, root, run, target};

pub(super) const STEPS: &[Step] = &[
    step("fmt", "the code is formatted", "run `cargo fmt --all`", super::fmt),
    step("scripts", "shell scripts parse", "`bash -n FILE` shows the line", scripts_parse),
    step("clippy", "lints of the packages that differ from the last commit", "fix what clippy names", clippy),
    step("test", "unit tests, the core's rules, tidy", "run that test alone", test),
    step("swarm", "10 s of seeds, every rule judged", "run the command that the report names", swarm),
];

/// Lints what was changed, or all where that is not known.
fn clippy() -> Result<Done, Failure> {
    let packages = changed()?;
    if packages.is_empty() {
        return Ok(Done::Skipped("no package differs from the last commit".into()));
    }
    let mut clippy = cargo();
    clippy.args(["clippy", "--locked", "--all-targets", "--all-features"]);
    for package in &packages {
        clippy.args(["-p", package]);
    }
    run(clippy.args(["--", "-D", "warnings"])).map(|()| Done::Passed)
}

fn test() -> Result<Done, Failure> {
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--locked", "--workspace", "--all-features", "--lib", "--bins"]);
    for name in rule_tests()? {
        tests.args(["--test", &name]);
    }
    run(&mut tests).map(|()| Done::Passed)
}

/// The core's test programs, and those of the house rules.
fn rule_tests() -> Result<Vec<String>, Failure> {
    let folder = root().join("core/tests");
    let files = std::fs::read_dir(&folder).context(|| format!("reading {}", folder.display()))?;
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.extend(["rooms".into(), "tidy".into()]);
    names.sort();
    Ok(names)
}

/// The simulator as the tests have built it.
fn swarm() -> Result<Done, Failure> {
    sh("build --quiet --locked --workspace --all-features --bin downbeat-sim")?;
    run(command(target().join("debug/downbeat-sim")).args(["swarm", "--for", "10s"])).map(|()| Done::Passed)
}

/// The packages of the workspace with files that differ from the last commit, or are new.
fn changed() -> Result<BTreeSet<String>, Failure> {
    let mut status = command("git");
    status.args(["status", "--porcelain", "--no-renames", "--untracked-files=all"]);
    let (ok, listing) = capture(&mut status)?;
    if !ok {
        return Err(Failure::new(format!("git could not tell what was changed: {listing}")));
    }
    listing.lines().filter_map(|line| line.get(3..)).filter_map(|file| package(Path::new(file))).collect()
}

/// The package that a file belongs to: that of the nearest `Cargo.toml` above it, if it is of this workspace.
fn package(file: &Path) -> Option<Result<String, Failure>> {
    // Packages outside the workspace have a lock file of their own.
    let folder = file.ancestors().skip(1).find(|folder| root().join(folder).join("Cargo.toml").is_file())?;
    if folder == Path::new("") || root().join(folder).join("Cargo.lock").is_file() {
        return None;
    }
    let manifest = root().join(folder).join("Cargo.toml");
    Some(std::fs::read_to_string(&manifest).context(|| format!("reading {}", manifest.display())).and_then(
        |text| name_in(&text).ok_or_else(|| Failure::new(format!("{} has no name", manifest.display()))),
    ))
}

fn name_in(manifest: &str) -> Option<String> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("name = "))?;
    Some(line.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_nearest_package_of_the_workspace() {
        let name = |file: &str| package(Path::new(file)).map(|name| name.map_err(|error| error.to_string()));
        assert_eq!(name("core/src/lib.rs"), Some(Ok("downbeat-core".to_owned())));
        assert_eq!(name("transport-std/tests/runner.rs"), Some(Ok("downbeat".to_owned())));
        assert_eq!(name("README.md"), None);
        assert_eq!(name("firmware/src/main.rs"), None);
    }

    #[test]
    fn the_rule_tests_are_found() {
        let names = rule_tests().unwrap();
        assert!(names.iter().any(|name| name == "refusals") && names.iter().any(|name| name == "tidy"));
    }
}
