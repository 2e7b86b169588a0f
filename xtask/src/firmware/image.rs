//! What the linker made: sizes, and symbols that must not be there.

use std::collections::BTreeMap;
use std::path::Path;

use crate::process::{Context, Failure, capture, command, on_path, root};

/// Growth that the ratchet lets pass, in percent.
const SLACK: u64 = 3;
const ALLOCATOR: [&str; 6] =
    ["__rust_alloc", "__rust_realloc", "__rust_dealloc", "__rdl_alloc", "__rg_alloc", "alloc::alloc"];

/// Sizes by name, in bytes.
pub(crate) type Sizes = BTreeMap<String, u64>;

/// What this machine lacks to look into an image.
pub(crate) fn missing() -> Option<String> {
    ["llvm-size", "llvm-nm"]
        .iter()
        .find(|tool| !on_path(tool))
        .map(|tool| format!("{tool} is missing: apt-get install llvm"))
}

/// Flash (code, constants, initial values) and static RAM (variables) of an image.
pub(crate) fn measure(image: &Path) -> Result<Sizes, Failure> {
    let (ok, text) = capture(command("llvm-size").arg("-A").arg(image))?;
    let sections: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.parse().ok()?))
        })
        .collect();
    let sum = |names: &[&str]| names.iter().filter_map(|name| sections.get(name)).sum::<u64>();
    if !ok || sum(&[".text"]) == 0 {
        return Err(Failure::new(format!("llvm-size could not read {}: {text}", image.display())));
    }
    let flash = sum(&[".vector_table", ".text", ".rodata", ".data", ".ARM.exidx", ".ARM.extab"]);
    let ram = sum(&[".data", ".bss", ".uninit"]);
    Ok(Sizes::from([("flash".to_owned(), flash), ("static_ram".to_owned(), ram)]))
}

/// Fails if the image holds a symbol of an allocator; `control` must hold one, else the look sees nothing.
pub(crate) fn has_no_allocator(image: &Path, control: &Path) -> Result<(), Failure> {
    if let Some(symbol) = allocator_in(image)? {
        return Err(Failure::new(format!("{} holds `{symbol}`: something allocates", image.display())));
    }
    if allocator_in(control)?.is_none() {
        return Err(Failure::new(format!(
            "no allocator was found in {}, which has one: the check sees nothing",
            control.display()
        )));
    }
    println!("no allocator symbol in the image; the control, a program of std, has one");
    Ok(())
}

fn allocator_in(image: &Path) -> Result<Option<String>, Failure> {
    let (ok, text) = capture(command("llvm-nm").arg("-C").arg(image))?;
    if !ok || text.lines().count() < 10 {
        return Err(Failure::new(format!("llvm-nm found no symbols in {}: {text}", image.display())));
    }
    let line = text.lines().find(|line| ALLOCATOR.iter().any(|name| line.contains(name)));
    Ok(line.and_then(|line| line.split_whitespace().last()).map(str::to_owned))
}

/// Prints sizes beside those of `firmware/sizes.toml`; fails where one grew by more than the slack.
pub(crate) fn ratchet(sizes: &Sizes, update: bool) -> Result<(), Failure> {
    let file = root().join("firmware/sizes.toml");
    if update {
        let lines: String = sizes.iter().map(|(name, size)| format!("{name} = {size}\n")).collect();
        return std::fs::write(&file, format!("{HEADER}{lines}")).context(|| file.display().to_string());
    }
    let text = std::fs::read_to_string(&file).context(|| file.display().to_string())?;
    let kept = parse(&text);
    let mut wrong = Vec::new();
    for (name, size) in sizes {
        let Some(limit) = kept.get(name) else {
            wrong.push(format!("{name} has no line in firmware/sizes.toml"));
            continue;
        };
        println!("{name:<14} {size:>7} bytes (kept: {limit})");
        if size * 100 > limit * (100 + SLACK) {
            wrong.push(format!("{name} grew from {limit} to {size} bytes, by more than {SLACK} %"));
        }
    }
    wrong.extend(
        kept.keys().filter(|name| !sizes.contains_key(*name)).map(|name| format!("{name} was not measured")),
    );
    if wrong.is_empty() {
        return Ok(());
    }
    let remedy =
        "save the bytes, or run `cargo xtask firmware --update-sizes` and give the reason in the commit";
    Err(Failure::new(format!("{}; {remedy}", wrong.join("; "))))
}

const HEADER: &str = "\
# Sizes of the firmware in bytes, with the compiler that CI installs. `cargo xtask firmware` fails where one grows by
# more than 3 %; `cargo xtask firmware --update-sizes` writes the present ones.
";

fn parse(text: &str) -> Sizes {
    let line = |line: &str| {
        let (name, size) = line.split('#').next()?.split_once('=')?;
        Some((name.trim().to_owned(), size.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}
