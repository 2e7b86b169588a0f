//! The purity gate: nothing of `std` or `alloc` is in core's build.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{Context, Failure, capture, cargo, command, root, run, target};

/// Links tests/purity against core and runs it, then proves by the control that an allocator would have been seen.
pub(crate) fn check() -> Result<(), Failure> {
    let package = prepare()?;
    let features = features()?;
    println!("features: {}", features.join(" "));
    run(&mut build(&package, &features, false))?;
    let program = target().join("purity/debug/downbeat-purity");
    run(&mut command(&program))?;
    let image = std::fs::read(&program).context(|| program.display().to_string())?;
    // What the linker kept is what the program could call.
    if let Some(symbol) = ALLOCATOR.iter().find(|symbol| contains(&image, symbol.as_bytes())) {
        return Err(Failure::new(format!("{} holds the allocator's symbol {symbol}", program.display())));
    }
    println!(
        "linked and run without std and without an allocator; no allocator symbol in {} bytes",
        image.len()
    );
    let mut control = build(&package, &features, true);
    let (linked, text) = capture(&mut control)?;
    if linked {
        return Err(Failure::new("the control, which uses `Vec`, linked too: the gate sees nothing"));
    }
    if !text.contains("no global memory allocator found") {
        return Err(Failure::new(format!(
            "the control failed for another reason than its allocation:\n{text}"
        )));
    }
    println!("the control, which uses `Vec`, does not link, as it must not");
    Ok(())
}

const ALLOCATOR: [&str; 4] = ["__rust_alloc", "__rust_realloc", "__rdl_alloc", "__rg_alloc"];

/// Copies the package out of the tree, so that its lock file is the workspace's own and nothing is left behind.
fn prepare() -> Result<PathBuf, Failure> {
    let (from, to) = (root().join("tests/purity"), target().join("purity/package"));
    std::fs::create_dir_all(to.join("src")).context(|| format!("making {}", to.display()))?;
    copy(&root().join("Cargo.lock"), &to.join("Cargo.lock"))?;
    copy(&from.join("src/main.rs"), &to.join("src/main.rs"))?;
    let manifest = from.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).context(|| manifest.display().to_string())?;
    let core = root().join("core").display().to_string();
    let text = text.replace("../../core", &core);
    std::fs::write(to.join("Cargo.toml"), text).context(|| format!("writing {}", to.display()))?;
    Ok(to)
}

fn build(package: &Path, features: &[String], control: bool) -> Command {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--manifest-path"]).arg(package.join("Cargo.toml"));
    cargo.env("CARGO_TARGET_DIR", target().join("purity")).current_dir(package);
    let features = features.iter().map(String::as_str).chain(control.then_some("control"));
    cargo.args(["--features", &features.collect::<Vec<_>>().join(",")]);
    cargo
}

/// Every feature of core: none may bring std or an allocator.
fn features() -> Result<Vec<String>, Failure> {
    let (ok, text) = capture(cargo().args(["metadata", "--no-deps", "--format-version", "1", "--quiet"]))?;
    let json = text.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let metadata: Value =
        serde_json::from_str(json).context(|| "`cargo metadata` printed no JSON".to_owned())?;
    let packages = metadata.get("packages").and_then(Value::as_array).filter(|_| ok);
    let core = packages.and_then(|all| all.iter().find(|package| package["name"] == "downbeat-core"));
    let features = core.and_then(|core| core.get("features")).and_then(Value::as_object);
    let names =
        features.map(|features| features.keys().map(|name| format!("downbeat-core/{name}")).collect());
    names.ok_or_else(|| Failure::new("`cargo metadata` knows no package downbeat-core"))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::copy(from, to).map(drop).context(|| format!("copying {}", from.display()))
}

fn contains(image: &[u8], needle: &[u8]) -> bool {
    image.windows(needle.len()).any(|window| window == needle)
}
