//! The commands that the documents show are commands that the binaries take.

use std::path::Path;

use crate::process::{Context, Failure, capture, command, release_binary, root};
use crate::scripts;

/// Takes every `downbeat …` and `downbeat-sim …` line of a fenced `sh` block and asks the binary for its help there:
/// an option or a subcommand that does not exist is refused before the help is given.
pub(crate) fn check() -> Result<(), Failure> {
    let (worker, simulator) = (release_binary("downbeat")?, release_binary("downbeat-sim")?);
    let mut wrong = Vec::new();
    let mut seen = 0_u32;
    for document in scripts::files(&["*.md"])? {
        let text =
            std::fs::read_to_string(root().join(&document)).context(|| document.display().to_string())?;
        for line in commands(&text) {
            let words = strip(&line);
            let Some((program, args)) = words.split_first() else { continue };
            let binary: &Path = if program == "downbeat" { &worker } else { &simulator };
            seen += 1;
            let (ok, answer) = capture(command(binary).args(args).arg("--help"))?;
            if !ok {
                wrong.push(format!("{}: `{line}`\n{answer}", document.display()));
            }
        }
    }
    println!("{seen} commands of the documents tried");
    if seen == 0 {
        return Err(Failure::new("README.md shows no command of the binaries in a fenced `sh` block"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
}

/// The lines of fenced `sh` blocks, continued lines joined.
fn commands(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    let mut held = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside && matches!(line.trim(), "```sh" | "```bash" | "```console");
            continue;
        }
        if !inside {
            continue;
        }
        let line = line.trim().trim_start_matches("$ ");
        if let Some(part) = line.strip_suffix('\\') {
            held.push_str(part);
        } else {
            lines.push(std::mem::take(&mut held) + line);
        }
    }
    lines
}

/// The words of a command up to ` -- COMMAND`, a comment, a pipe or a redirection, from the binary's name on.
fn strip(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let from_cargo = words.starts_with(&["cargo", "run"]);
    let Some(start) = words.iter().position(|word| match *word {
        "downbeat-cli" | "downbeat-sim" if from_cargo => true,
        "downbeat" | "downbeat-sim" => !from_cargo,
        _ => word.ends_with("/downbeat") || word.ends_with("/downbeat-sim"),
    }) else {
        return Vec::new();
    };
    let leads = words.iter().take(start).all(|word| from_cargo || word.contains('='));
    if !leads {
        return Vec::new();
    }
    let mut rest: Vec<&str> = words.iter().skip(start + 1).copied().collect();
    if from_cargo {
        let own = rest.iter().position(|word| *word == "--").map_or(rest.len(), |at| at + 1);
        rest = rest.split_off(own);
    }
    let end = rest.iter().position(|word| matches!(*word, "--" | "|" | ">" | "&" | "&&" | "#"));
    rest.truncate(end.unwrap_or(rest.len()));
    let program =
        if words.get(start).is_some_and(|word| word.ends_with("sim")) { "downbeat-sim" } else { "downbeat" };
    std::iter::once(program).chain(rest).map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
}
