//! The binary `downbeat`: makes any executable a Conductor worker.

mod args;
mod check;
mod clock;
mod config;
mod demo;
mod dev;
mod duration;
mod example;
mod exec;
mod logs;
mod output;
mod run;
mod scratch;
mod store;

use std::process::ExitCode;

/// The runner's watchdog; it removes a directory, so it is careful about which.
fn watch(scratch: &std::path::Path) -> ExitCode {
    if !scratch::is_one(scratch) || !exec::is_piped() {
        output::error(&"only `downbeat run` starts `watch-commands`; nothing was done");
        return ExitCode::from(output::USAGE);
    }
    match exec::watch(scratch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn main() -> ExitCode {
    if let Some(scratch) = exec::is_watchdog(std::env::args_os().skip(1)) {
        return watch(&scratch);
    }
    args::main()
}
