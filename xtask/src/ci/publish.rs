//! What each published package shows to its users, and each of its features by itself.

use serde_json::Value;

use crate::process::{Failure, capture, cargo, run};

/// Files that every package has beside its sources.
const FILES: [&str; 3] = ["Cargo.toml", "LICENSE", "README.md"];
/// What crates.io shows of a package.
const SHOWN: [&str; 7] =
    ["description", "license", "repository", "readme", "keywords", "categories", "rust_version"];
/// What crates.io takes at most of keywords and of categories.
const WORDS_MAX: usize = 5;

/// Checks the metadata and the files of each published package, and packs them all without building them.
pub(super) fn check() -> Result<(), Failure> {
    let published = published()?;
    let wrong: Vec<String> = published.iter().flat_map(lacks).collect();
    if !wrong.is_empty() {
        return Err(Failure::new(wrong.join("\n")));
    }
    let names: Vec<&str> = published.iter().filter_map(|package| package["name"].as_str()).collect();
    for name in &names {
        let (ok, listing) = capture(cargo().args(["package", "--list", "--allow-dirty", "-p", name]))?;
        let missing = FILES.iter().find(|file| !listing.lines().any(|line| line == **file));
        if let (false, _) | (true, Some(_)) = (ok, missing) {
            let missing = missing.map_or_else(String::new, |file| format!("{file} is missing of "));
            return Err(Failure::new(format!("{name}: {missing}what would be published:\n{listing}")));
        }
    }
    let mut package = cargo();
    package.args(["package", "--locked", "--no-verify", "--allow-dirty"]);
    run(package.args(names.iter().flat_map(|name| ["-p", name])))
}

/// Checks each published package without its features, and with each of them by itself.
pub(super) fn features() -> Result<(), Failure> {
    for package in &published()? {
        let name = package["name"].as_str().unwrap_or_default();
        let features = package["features"].as_object().into_iter().flatten().map(|(feature, _)| feature);
        let features: Vec<&str> =
            features.map(String::as_str).filter(|feature| *feature != "default").collect();
        for feature in std::iter::once("").chain(features) {
            // Clippy, because RUSTFLAGS would have all dependencies built anew.
            let mut check = cargo();
            check.args(["clippy", "--quiet", "--locked", "--no-default-features", "-p", name]);
            if !feature.is_empty() {
                check.args(["--features", feature]);
            }
            run(check.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(())
}

/// The packages of the workspace that may be published, as `cargo metadata` has them.
fn published() -> Result<Vec<Value>, Failure> {
    let arguments = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let (ok, text) = capture(cargo().args(arguments))?;
    let metadata: Option<Value> = text.lines().find_map(|line| serde_json::from_str(line).ok());
    let Some(Value::Array(packages)) = metadata.filter(|_| ok).map(|metadata| metadata["packages"].clone())
    else {
        return Err(Failure::new(format!("`cargo metadata` failed:\n{text}")));
    };
    // `publish = false` is the empty list of registries.
    Ok(packages.into_iter().filter(|package| package["publish"].is_null()).collect())
}

/// What a package's manifest lacks of what its users see.
fn lacks(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty() || list.len() > WORDS_MAX,
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    let mut wrong: Vec<String> = SHOWN
        .iter()
        .filter(|key| empty(&package[**key]))
        .map(|key| format!("{name}: its Cargo.toml has no `{key}`, or more than {WORDS_MAX} of them"))
        .collect();
    let is_library =
        |target: &Value| target["kind"].as_array().is_some_and(|kind| kind.contains(&"lib".into()));
    let library = package["targets"].as_array().into_iter().flatten().any(is_library);
    if library && package["metadata"]["docs"]["rs"].is_null() {
        wrong.push(format!("{name}: its Cargo.toml does not say with which features docs.rs builds it"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_lacks_is_named() {
        let mut package = serde_json::json!({
            "name": "a", "description": "d", "license": "l", "repository": "r", "readme": "README.md",
            "keywords": ["k"], "categories": ["c"], "rust_version": "1.95", "targets": [{ "kind": ["bin"] }],
            "metadata": null,
        });
        assert_eq!(lacks(&package), [""; 0]);
        package["keywords"] = serde_json::json!(["1", "2", "3", "4", "5", "6"]);
        package["readme"] = Value::Null;
        package["targets"] = serde_json::json!([{ "kind": ["lib"] }]);
        let wrong = lacks(&package);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].contains("`readme`") && wrong[2].contains("docs.rs"), "{wrong:?}");
    }

    #[test]
    fn the_published_packages_are_those_that_are_meant() {
        let published = published().unwrap();
        let mut names: Vec<&str> = published.iter().filter_map(|package| package["name"].as_str()).collect();
        names.sort_unstable();
        let meant =
            ["downbeat", "downbeat-cli", "downbeat-core", "downbeat-mock", "downbeat-server", "downbeat-sim"];
        assert_eq!(names, meant);
    }
}
