//! What the whole-system tests share: the files of the repository, as git knows them, and the words that it has retired.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Words that have meant several things, or that only this project knew, and what is said now (docs/glossary.md).
pub const RETIRED: [(&str, &str); 22] = [
    (concat!("ca", "nary"), "tampered"),
    (concat!("Com", "ing"), "WorldEvent"),
    (concat!("Cou", "rse"), "Lifecycle"),
    (concat!("Cr", "ew"), "Scheduler or Process"),
    (concat!("cr", "ew"), "scheduler or process"),
    (concat!("De", "sk"), "Slots"),
    (concat!("doc", "tored"), "tampered"),
    (concat!("Fa", "cts"), "TaskFacts or RecordHeader"),
    (concat!("Hub", "Page"), "HubModel"),
    (concat!("Hub", "State"), "BoxedHub"),
    (concat!("Ju", "ry"), "Oracles"),
    (concat!("ju", "ry"), "oracles"),
    (concat!("La", "ne"), "CallKind, Connection or Row"),
    (concat!("out", "box"), "store"),
    (concat!("Policy::", "seed"), "Policy::ruby_sdk"),
    (concat!("Ref", "use"), "GiveBack"),
    (concat!("Rules::", "Seed"), "Rules::RubySdk"),
    (concat!("Ru", "ling"), "Verdict"),
    (concat!("Se", "at"), "HubSeat"),
    (concat!("Si", "de"), "WorkerSlots"),
    (concat!("Slot", "Id"), "EntryId"),
    (concat!("Std", "Hub"), "BoxedHub"),
];

/// A text file of the repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// Its path from the root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl Source {
    /// Whether the path ends with one of these.
    #[must_use]
    pub fn is_one_of(&self, endings: &[&str]) -> bool {
        endings.iter().any(|ending| self.path.ends_with(ending))
    }

    /// The lines, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every file that git knows or would know and that is text, in the order of their paths.
///
/// # Panics
/// Without git, or outside a checkout: the tests that need the files cannot pass by seeing none.
#[must_use]
pub fn sources() -> Vec<Source> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").current_dir(root()).args(arguments).output();
    let Ok(listed) = listed else { panic!("`git` could not be started; tidy needs it to list the files") };
    assert!(listed.status.success(), "`git ls-files` failed: {}", String::from_utf8_lossy(&listed.stderr));
    let mut paths: Vec<String> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    let read = |path: String| {
        let text = std::fs::read_to_string(root().join(&path)).ok()?;
        Some(Source { path, text })
    };
    paths.into_iter().filter_map(read).collect()
}

/// Whether `word` stands in a line as a whole word, by itself or within a path.
#[must_use]
pub fn is_word(line: &str, word: &str) -> bool {
    let ends = |letter: Option<char>| !letter.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line.get(..at), line.get(at + word.len()..));
        ends(before.and_then(|text| text.chars().next_back()))
            && ends(after.and_then(|text| text.chars().next()))
    })
}

/// The Rust of the documents is compiled and run with the doc tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../docs/driver-contract.md")]
    struct DriverContract;

    #[doc = include_str!("../../docs/embedding.md")]
    struct Embedding;

    #[doc = include_str!("../../core/README.md")]
    struct Core;

    #[doc = include_str!("../../transport-std/README.md")]
    struct Library;

    #[doc = include_str!("../../server/README.md")]
    struct Server;

    #[doc = include_str!("../../transport-mock/README.md")]
    struct Mock;
}
