//! What the published programs are made of: no simulator, and none of its mistakes, in `downbeat`; no HTTP in the simulator.

use crate::process::{Failure, capture, cargo};

/// A package, what it is built with, and what may not be in its tree of features.
const TREES: [(&str, &[&str], &[&str]); 3] = [
    ("downbeat-cli", &[], &["downbeat-sim", "feature \"mutants\""]),
    ("downbeat", &[], &["downbeat-sim", "downbeat-server", "feature \"mutants\""]),
    ("downbeat-sim", &["--no-default-features"], &["hyper", "tokio"]),
];

pub(crate) fn check() -> Result<(), Failure> {
    for (package, options, unwanted) in TREES {
        let mut tree = cargo();
        tree.args(["tree", "--locked", "-p", package, "-e", "normal,features", "--prefix", "none"]);
        let (ok, text) = capture(tree.args(options))?;
        if !ok {
            return Err(Failure::new(format!("`cargo tree -p {package}` failed:\n{text}")));
        }
        if let Some(found) = found(&text, unwanted) {
            return Err(Failure::new(format!(
                "{package} is built with {found:?}; `cargo tree -p {package} -e normal,features` shows why"
            )));
        }
        println!("{package}: nothing of {}", unwanted.join(", "));
    }
    Ok(())
}

/// The first line with a package or a feature that is not wanted.
fn found<'a>(tree: &'a str, unwanted: &[&str]) -> Option<&'a str> {
    tree.lines().find(|line| {
        let package = line.split(' ').next().unwrap_or_default();
        unwanted.iter().any(|word| package == *word || (word.contains(' ') && line.contains(word)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_features_are_found_by_their_whole_names() {
        let tree =
            "downbeat-cli v0.1.0\ntokio-util v0.7.0\ndownbeat-core feature \"mutants\"\nhyper v1.0.0\n";
        assert_eq!(found(tree, &["tokio"]), None);
        assert_eq!(found(tree, &["hyper"]), Some("hyper v1.0.0"));
        assert_eq!(found(tree, &["feature \"mutants\""]), Some("downbeat-core feature \"mutants\""));
    }
}
