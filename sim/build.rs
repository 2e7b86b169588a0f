//! Tells a release build which commit it is of (`DOWNBEAT_COMMIT`; empty outside git). Whoever builds outside git may
//! set that variable. A debug build is told nothing and asks git when it runs: each commit would build it anew.

use std::path::Path;

#[path = "src/commit.rs"]
mod commit;

fn main() {
    println!("cargo::rerun-if-env-changed=DOWNBEAT_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let Some(root) = Path::new(&manifest).parent() else { return };
    let told = std::env::var("DOWNBEAT_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = told.or_else(|| commit::checked_out(root)).unwrap_or_default();
    println!("cargo::rustc-env=DOWNBEAT_COMMIT={commit}");
    // A commit, a checkout or a reset changes these; an edit changes a source.
    for file in ["HEAD", "logs/HEAD"] {
        let path = commit::git(root, &["rev-parse", "--git-path", file]).map(|path| root.join(path));
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    for source in commit::SOURCES.into_iter().map(|source| root.join(source)).filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", source.display());
    }
}
