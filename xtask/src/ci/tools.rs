//! Cargo's tools that steps need: one that is missing is installed, once.

use std::process::Stdio;

use super::Done;
use crate::process::{Failure, cargo, command, run, target};

/// Runs `cargo NAME ARGS…` after installing `cargo-NAME` if this machine lacks it; skipped where that cannot be done.
pub(super) fn cargo_tool(name: &str, args: &[&str]) -> Result<Done, Failure> {
    let program = format!("cargo-{name}");
    if !is_here(&program) {
        println!("{program} is not on this machine; installing it");
        // Built without optimisation: it runs for a second.
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", "--debug", &program]);
        if run(install.env("CARGO_TARGET_DIR", target().join("tools"))).is_err() {
            let why = format!("{program} could not be installed; try `cargo install --locked {program}`");
            return Ok(Done::Skipped(why));
        }
    }
    run(cargo().arg(name).args(args)).map(|()| Done::Passed)
}

/// Whether a component of the toolchain is here, or can be added by rustup.
pub(super) fn component(name: &str, program: &str) -> Result<(), Failure> {
    if is_here(program) {
        return Ok(());
    }
    println!("{name} is not in this toolchain; adding it");
    run(command("rustup").args(["component", "add", name])).map_err(|_| {
        Failure::new(format!(
            "{name} is missing and cannot be added; install it with your toolchain's package manager"
        ))
    })
}

fn is_here(program: &str) -> bool {
    let mut command = command(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
