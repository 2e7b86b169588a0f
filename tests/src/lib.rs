//! What the whole-system tests share: the files of the repository, as git knows them.

use std::path::{Path, PathBuf};
use std::process::Command;

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
