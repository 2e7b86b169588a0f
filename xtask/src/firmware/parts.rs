//! What each part of the core costs in flash and in RAM, measured: for docs/embedding.md.

use std::collections::BTreeMap;
use std::path::Path;

use super::toolchain::{Toolchain, write};
use crate::process::{Context, Failure, capture, command, root};

/// The parts, and how the names of their functions begin. Of several the first in a name counts.
const PARTS: [(&str, &[&str]); 7] = [
    ("machine", &["downbeat_core::machine"]),
    ("wire", &["downbeat_core::wire"]),
    ("http", &["downbeat_core::http"]),
    ("drive", &["downbeat_core::drive", "downbeat_core::ports"]),
    ("typed input and output: serde-json-core", &["serde_json_core", "serde_core", "serde::"]),
    (
        "the firmware's own: board, line, tasks",
        &["downbeat_firmware", "downbeat_line", "cortex_m", "heapless"],
    ),
    ("Rust's core, 64-bit arithmetic, copying", &["core::", "compiler_builtins", "__aeabi", "mem"]),
];

/// Prints the bytes of flash by part: of functions by their names, what was inlined counted where it went.
pub(crate) fn flash(image: &Path) -> Result<(), Failure> {
    let (ok, text) = capture(command("llvm-nm").args(["-C", "-S"]).arg(image))?;
    if !ok {
        return Err(Failure::new(format!("llvm-nm could not read {}: {text}", image.display())));
    }
    let mut parts: BTreeMap<&str, u64> = BTreeMap::new();
    for (size, kind, name) in text.lines().filter_map(symbol) {
        if kind.eq_ignore_ascii_case("t") {
            *parts.entry(part(&name)).or_default() += size;
        }
    }
    let all = super::image::measure(image)?.get("flash").copied().unwrap_or(0);
    let functions: u64 = parts.values().sum();
    println!("flash by part, in bytes");
    for (name, _) in PARTS {
        println!("  {name:<42} {:>6}", parts.get(name).copied().unwrap_or(0));
    }
    println!(
        "  {:<42} {:>6}",
        "the rest: start, handlers, shared pieces",
        parts.get(REST).copied().unwrap_or(0)
    );
    println!("  {:<42} {:>6}", "constants, texts, vectors, gaps", all.saturating_sub(functions));
    println!("  {:<42} {all:>6}", "in all");
    Ok(())
}

const REST: &str = "";

/// `address size kind name`.
fn symbol(line: &str) -> Option<(u64, &str, String)> {
    let mut words = line.splitn(4, ' ');
    let (_, size, kind, name) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some((u64::from_str_radix(size, 16).ok()?, kind, name.replace("..", "::")))
}

fn part(name: &str) -> &'static str {
    let first = |needles: &[&str]| needles.iter().filter_map(|needle| name.find(needle)).min();
    let found = PARTS.iter().filter_map(|(part, needles)| Some((first(needles)?, *part))).min();
    found.map_or(REST, |(_, part)| part)
}

/// Types whose size is asked for, of the core on the firmware's machine.
const TYPES: [(&str, &str); 9] = [
    ("Worker<1>", "machine::Worker<1>"),
    ("Worker<2>", "machine::Worker<2>"),
    ("Worker<4>", "machine::Worker<4>"),
    ("Worker<8>", "machine::Worker<8>"),
    ("LeanWorker<2>", "machine::LeanWorker<2>"),
    ("LeanWorker<4>", "machine::LeanWorker<4>"),
    ("Session<2, 256>, LeanWorker<2> in it", "drive::Session<'static, 2, 256>"),
    ("Session<2, 512>", "drive::Session<'static, 2, 512>"),
    ("Session<4, 256>", "drive::Session<'static, 4, 256>"),
];

/// Prints the bytes of RAM that the core's own values take, by the symbols of a library that holds one of each.
pub(crate) fn ram(toolchain: &Toolchain) -> Result<(), Failure> {
    let package = toolchain.scratch("sizes");
    let core = root().join("core");
    let manifest = format!(
        "[package]\nname = \"sizes\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         downbeat-core = {{ path = {core:?} }}\n"
    );
    let one = |(at, (_, of)): (usize, &(&str, &str))| {
        format!(
            "#[unsafe(no_mangle)]\npub static SIZE_{at}: [u8; size_of::<downbeat_core::{of}>()] = [0; _];\n"
        )
    };
    let statics: String = TYPES.iter().enumerate().map(one).collect();
    write(&package.join("Cargo.toml"), &manifest)?;
    write(&package.join("src/lib.rs"), &format!("#![no_std]\n{statics}"))?;
    // The versions of the firmware: they are here already.
    let lock = root().join("firmware/Cargo.lock");
    std::fs::copy(&lock, package.join("Cargo.lock")).context(|| lock.display().to_string())?;
    let object = package.join("sizes.o");
    toolchain.object(&package, &object)?;
    let (_, text) = capture(command("llvm-nm").arg("-S").arg(&object))?;
    let sizes: BTreeMap<String, u64> =
        text.lines().filter_map(symbol).map(|(size, _, name)| (name, size)).collect();
    println!("RAM of the core's values on a 32-bit machine, in bytes");
    for (at, (name, _)) in TYPES.iter().enumerate() {
        let size = sizes.get(&format!("SIZE_{at}"));
        let size = size.ok_or_else(|| Failure::new(format!("{} does not hold {name}", object.display())))?;
        println!("  {name:<42} {size:>6}");
    }
    Ok(())
}
