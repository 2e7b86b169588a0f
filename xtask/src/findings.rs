//! What outside software does on valid input and few would guess: `findings/*.sh`, each tried anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::clock::Stopwatch;
use crate::process::{Context, Failure, command, root};

/// A script is ended after so many seconds; each is written to need less than 120.
const LIMIT_SECONDS: &str = "300";
/// A script's exit code where it saw another behaviour than the one it describes.
const CHANGED: i32 = 1;

/// Runs the findings named, else all of them, in the order of their names; fails if the behaviour of one has changed.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    let scripts = chosen(scripts(&root().join("findings"))?, args.names()?)?;
    let mut changed = Vec::new();
    for script in &scripts {
        let watch = Stopwatch::start();
        let (outcome, output) = attempt(script)?;
        println!("{:<14} {:<28} {:>6.1} s", outcome.label(), name(script), watch.seconds());
        if outcome != Outcome::Holds {
            output.lines().for_each(|line| println!("    {line}"));
        }
        if outcome == Outcome::Changed {
            changed.push(name(script));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let list = changed.join(", ");
    Err(Failure::new(format!("{list}: not what the script describes; read its head, then mend or remove it")))
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Holds,
    Changed,
    CouldNotRun,
}

impl Outcome {
    /// Reads an exit code; `None` is a signal. All but 0 and 1 say nothing about the behaviour.
    const fn from_code(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Holds,
            Some(CHANGED) => Self::Changed,
            _ => Self::CouldNotRun,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Holds => "ok",
            Self::Changed => "CHANGED",
            Self::CouldNotRun => "could not run",
        }
    }
}

/// Runs one script to its end and keeps what it prints.
fn attempt(script: &Path) -> Result<(Outcome, String), Failure> {
    let mut timeout = command("timeout");
    let output = timeout.arg(LIMIT_SECONDS).arg(script).stdin(std::process::Stdio::null()).output();
    let output = output.context(|| "`timeout` of coreutils could not be started".to_owned())?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((Outcome::from_code(output.status.code()), text))
}

/// The executable scripts of a folder, sorted by name.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).context(|| folder.display().to_string())? {
        let path = entry.context(|| folder.display().to_string())?.path();
        let mode = fs::metadata(&path).context(|| path.display().to_string())?.permissions().mode();
        if path.is_file() && path.extension().is_some_and(|end| end == "sh") && mode & 0o111 != 0 {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The scripts of these names, all if there are none; a name without its script is refused.
fn chosen(scripts: Vec<PathBuf>, names: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let wanted: Vec<&str> = names.iter().map(|word| word.strip_suffix(".sh").unwrap_or(word)).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !scripts.iter().any(|script| name(script) == **wanted))
    {
        let all: Vec<String> = scripts.iter().map(|script| name(script)).collect();
        return Err(Failure::new(format!("there is no finding `{unknown}`; there are: {}", all.join(" "))));
    }
    let is_wanted = |script: &PathBuf| wanted.is_empty() || wanted.contains(&name(script).as_str());
    Ok(scripts.into_iter().filter(is_wanted).collect())
}

/// A script's name without folder and ending.
fn name(script: &Path) -> String {
    script.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_of_one_alone_says_that_the_behaviour_has_changed() {
        let codes = [Some(0), Some(CHANGED), Some(2), Some(124), None];
        let labels = codes.map(|code| Outcome::from_code(code).label());
        assert_eq!(labels, ["ok", "CHANGED", "could not run", "could not run", "could not run"]);
    }

    #[test]
    fn names_choose_with_and_without_their_ending_and_an_unknown_one_is_refused() {
        let all = || vec![PathBuf::from("findings/a.sh"), PathBuf::from("findings/b.sh")];
        let of =
            |words: &[&str]| chosen(all(), &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]).unwrap(), all());
        assert_eq!(of(&["b.sh"]).unwrap(), of(&["b"]).unwrap());
        assert_eq!(of(&["b"]).unwrap(), [PathBuf::from("findings/b.sh")]);
        assert!(of(&["c"]).unwrap_err().to_string().contains("there are: a b"));
    }

    #[test]
    fn each_script_is_in_the_table_of_the_readme_and_nothing_else_is() {
        let folder = root().join("findings");
        let scripts: Vec<String> = scripts(&folder).unwrap().iter().map(|script| name(script)).collect();
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| ["));
        let listed: Vec<&str> = rows.filter_map(|row| row.split_once(']').map(|(name, _)| name)).collect();
        assert_eq!(listed, scripts);
    }
}
